"""Where the code of each agent stands: the line of the user's at which it waits, or at which it has just done something.

A suspended coroutine can be asked for its frame, and so can a generator that yields the effects of a machine. Frames of this
package, of asyncio and of pytest say nothing to a user, and are passed over.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from pytest_convergence._engine.run.snapshots import NOT_OURS, frames_of
from pytest_convergence._engine.sim.machines import MachineHost

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["standpoints"]

_LONGEST_LINE: Final = 80
_LOOP: Final = str(Path(asyncio.__file__).parent)


def standpoints(conduct: Conduct) -> dict[str, str]:
    """Return agent -> ``file:line in function: code``, for those whose own code is under way."""
    active = _active()
    found = {}
    for name in conduct.session.agents:
        node = conduct.fabric.nodes[name]
        hosts = (conduct.cast.user_hosts.get(name), conduct.cast.hosts.get(name))
        task = conduct.cast.tasks.get(name)
        where = ""
        if active is not None and active[0] in hosts:
            where = _line(active[1])
        elif task is not None and not task.done() and node.life.alive:
            frames = list(frames_of(task.get_coro()))
            running = _running(frames[-1][0]) if frames else ()
            where = _line([*frames, *running])
        if where:
            found[name] = where
    return found


def _active() -> tuple[MachineHost, list[tuple[FrameType, int]]] | None:
    """Return the machine that reacts at present, and the frames of what yields its effects."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(_LOOP):
        host = frame.f_locals.get("self")
        if isinstance(host, MachineHost):
            frames = list(frames_of(frame.f_locals.get("effects")))
            if frames:
                return host, frames
        frame = frame.f_back
    return None


def _running(outer: FrameType) -> list[tuple[FrameType, int]]:
    """Return the frames of a coroutine that runs at present, from ``outer`` inwards; nothing for a suspended one."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame is not None:
        found.append((frame, frame.f_lineno))
        if frame is outer:
            return found[::-1]
        frame = frame.f_back
    return []


def _line(frames: list[tuple[FrameType, int]]) -> str:
    """Say where the innermost of the user's frames is; nothing if there is none."""
    own = [(frame, line) for frame, line in frames if not frame.f_code.co_filename.startswith(NOT_OURS)]
    if not own:
        return ""
    frame, line = own[-1]
    path = Path(frame.f_code.co_filename)
    try:
        shown = path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        shown = path.name
    code = linecache.getline(frame.f_code.co_filename, line).strip()
    code = code if len(code) <= _LONGEST_LINE else f"{code[: _LONGEST_LINE - 1]}…"
    return f"{shown}:{line} in {frame.f_code.co_qualname}: {code}"
