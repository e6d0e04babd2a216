"""Where the code of each agent stands: the line of the user's at which it waits, or at which it has just done something.

A suspended coroutine can be asked for its frame, and so can a generator that yields the effects of a machine. Frames of this
package, of asyncio and of pytest say nothing to a user, and are passed over.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from pytest_convergence._engine.run.places import place_of
from pytest_convergence._engine.run.snapshots import NOT_OURS, frames_of
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence.errors import AgentError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.sim.tasks import WorldTask

__all__ = ["standpoints"]

_MOST_TASKS: Final = 4
"""Of one host, besides its program itself."""
_LOOP: Final = str(Path(asyncio.__file__).parent)


def standpoints(conduct: Conduct) -> dict[str, str]:
    """Return agent or host -> ``file:line in function: code``, for those whose own code is under way.

    A host's other tasks are named in parentheses. Of what has ended the run by raising it is told where it did.
    """
    active = _active()
    found = {}
    for name in conduct.session.agents:
        node = conduct.fabric.nodes[name]
        hosts = (conduct.cast.user_hosts.get(name), conduct.cast.hosts.get(name))
        task = conduct.cast.tasks.get(name)
        where = ""
        if active is not None and active[0] in hosts:
            where = place_of(active[1])
        elif task is not None and not task.done() and node.life.alive:
            where = place_of(_frames(task))
        if where:
            found[name] = where
    for name in conduct.session.hosts:
        found |= _of_host(conduct, name)
    return found


def _of_host(conduct: Conduct, name: str) -> dict[str, str]:
    error, life, main = conduct.ending.error, conduct.fabric.nodes[name].life, conduct.cast.tasks.get(name)
    if not life.alive:
        return {}
    found = {name: conduct.session.hosts[name].waits_at or ""}
    if isinstance(error, AgentError) and error.agent == name and error.__cause__ is not None:
        raised = place_of(list(traceback.walk_tb(error.__cause__.__traceback__)))
        found[name] = f"raised at {raised}" if raised else ""
    alike: Counter[tuple[str, str]] = Counter()
    for task in conduct.loop.live_tasks():
        if task.life is life and task is not main:
            alike[_name_of(task), place_of(_frames(task))] += 1
        elif task is main and not found[name]:
            found[name] = place_of(_frames(task))
    named: Counter[str] = Counter()
    for (function, place), number in list(alike.items())[:_MOST_TASKS]:
        named[function] += 1
        which = f"{number} × {function}" if number > 1 else function
        found[f"{name} ({which})" if named[function] == 1 else f"{name} ({which}, {named[function]})"] = place
    return {who: place for who, place in found.items() if place}


def _name_of(task: WorldTask) -> str:
    """The name of the innermost coroutine that is the task's own: what drives it from outside says nothing."""
    frames = [
        frame for frame, _ in frames_of(task.get_coro()) if not frame.f_code.co_filename.startswith(NOT_OURS)
    ]
    return frames[0].f_code.co_name if frames else task.get_name()


def _frames(task: asyncio.Task[Any]) -> list[tuple[FrameType, int]]:
    frames = list(frames_of(task.get_coro()))
    return [*frames, *_running(frames[-1][0])] if frames else []


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
