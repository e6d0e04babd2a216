"""What each agent holds after each step: recorded for a report of the run, and at no other time.

1. After a step, only agents that may have changed are looked at: their count of steps, updates, writes and waiting
   messages tells. What did change since the last look is kept, as text.
2. Agents that are plain coroutines keep what they know in local variables. A suspended coroutine can be asked for its frame,
   so the line at which it waits and its variables are part of what it holds.
3. Looking must change nothing: the trace is left alone, the clock costs nothing meanwhile, and what a function of the user's
   raises is told in place of its value.
"""

from __future__ import annotations

import asyncio
import linecache
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.sim.awaiting import held_by, waits_in
from pytest_convergence._engine.sim.driving import driven
from pytest_convergence.errors import AgentError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["NOT_OURS", "Snapshot", "Snapshots", "frames_of"]

_MOST: Final = 50_000
_LONGEST: Final = 400
_MOST_FIELDS: Final = 40
_DEEPEST: Final = 20
NOT_OURS: Final = (str(Path(__file__).resolve().parents[2]), str(Path(asyncio.__file__).parent))
"""Where frames lie that say nothing to a user."""


class Snapshot(NamedTuple):
    """What changed in what an agent holds, by one step.

    Attributes:
        since: the index of the first event of that step, or of the next event if the step made none.
        at_ns: virtual nanoseconds.
        agent: whose it is.
        held: what is new or different, by ``section/name``.
        gone: what is no longer there.
    """

    since: int
    at_ns: int
    agent: str
    held: Mapping[str, str]
    gone: tuple[str, ...]


@final
class Snapshots:
    """Looks at the agents of one run after each step.

    Attributes:
        taken: the changes, oldest first.
        is_full: whether there were more than are kept.
    """

    __slots__ = ("_conduct", "_events", "_held", "_seen", "is_full", "taken")

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._events = 0
        self._seen: dict[str, tuple[int, ...]] = {}
        self._held: dict[str, dict[str, str]] = {name: {} for name in conduct.session.agents}
        self.taken: list[Snapshot] = []
        self.is_full = False

    def look(self) -> None:
        """A step was taken: keep what it changed."""
        if self._conduct.is_over:  # what is stopped at the end holds nothing any more
            return
        for name in self._held:
            seen = self._signs(name)
            if self._seen.get(name) != seen:
                self._seen[name] = seen
                self._take(name)
        trace = self._conduct.fabric.trace
        self._events = trace.dropped + len(trace)

    def _signs(self, name: str) -> tuple[int, ...]:
        """Numbers of which one differs after an agent has changed."""
        conduct = self._conduct
        node, agent = conduct.fabric.nodes[name], conduct.session.agents[name]
        mailbox = agent._mailbox
        return (
            node.lives,
            node.life.alive,
            node.life.steps,
            agent.state.version,
            sum(disk.writes for disk in node.disks.values()),
            0 if mailbox is None else len(mailbox.messages),
        )

    def _take(self, name: str) -> None:
        if len(self.taken) >= _MOST:
            self.is_full = True
            return
        conduct = self._conduct
        with conduct.world.unobserved():
            now = dict(self._fields(name) if conduct.fabric.nodes[name].life.alive else self._durable(name))
        before = self._held[name]
        self._held[name] = now
        held = {key: text for key, text in now.items() if before.get(key) != text}
        gone = tuple(key for key in before if key not in now)
        if held or gone:
            self.taken.append(Snapshot(self._events, conduct.world.now_ns, name, held, gone))

    def _fields(self, name: str) -> Iterator[tuple[str, str]]:
        conduct = self._conduct
        agent = conduct.session.agents[name]
        task = conduct.cast.tasks.get(name)
        error = conduct.ending.error
        if isinstance(error, AgentError) and error.agent == name and error.__cause__ is not None:
            yield "raised/error", text_of(error.__cause__, _LONGEST)
            yield from _of_frames("raised", agent, list(_raised_in(error.__cause__)))
        elif task is not None and not task.done():
            yield from _of_frames("waits", agent, list(frames_of(task.get_coro())))
        for section, ask in self._views(name):
            try:
                value = ask()
            except Exception as error:  # the user's own function
                value = error
            if value is not None:
                yield from _of_value(section, value)
        if agent.state.version:
            yield from _of_value("state", agent.state.as_dict())
        yield from self._durable(name)
        if agent._mailbox is not None and agent._mailbox.messages:
            yield "inbox/waiting", str(len(agent._mailbox.messages))

    def _durable(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield what a crash leaves, and what is still to be synced."""
        for channel, disk in self._conduct.fabric.nodes[name].disks.items():
            yield from _of_value("storage" if channel == "user" else f"storage ({channel})", disk.snapshot())

    def _views(self, name: str) -> Iterator[tuple[str, Any]]:
        """Yield what can be asked for a view, with its section."""
        conduct = self._conduct
        exposed = conduct.session.agents[name]._view
        if exposed is not None:
            yield "exposed", exposed
        host = conduct.cast.user_hosts.get(name)
        shows = None if host is None or host.machine is None else getattr(host.machine, "view", None)
        if shows is not None:
            yield "machine", shows

        def held_by_protocol() -> Any:
            view = conduct.cast.protocol_view(name)
            return None if view is None else view[0]

        yield "pattern", held_by_protocol


def _of_value(section: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield a value field by field, if it has any."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if not isinstance(value, Mapping):
        yield f"{section}/value", text_of(value, _LONGEST)
        return
    for key in list(value)[:_MOST_FIELDS]:
        yield f"{section}/{key if isinstance(key, str) else text_of(key, 80)}", text_of(value[key], _LONGEST)


def _of_frames(
    section: str, agent: object, frames: Sequence[tuple[FrameType, int]]
) -> Iterator[tuple[str, str]]:
    """Yield where the code of an agent stands, and its variables; of the functions of the user's that it is in."""
    frames = [(frame, line) for frame, line in frames if not frame.f_code.co_filename.startswith(NOT_OURS)]
    if not frames:
        return
    inner, line = frames[-1]
    path = inner.f_code.co_filename
    yield f"{section}/in", inner.f_code.co_qualname
    yield f"{section}/at", f"{Path(path).name}:{line}"
    yield f"{section}/line", linecache.getline(path, line).strip()[:_LONGEST]
    for depth, (frame, _) in enumerate(frames):
        section = "locals" if depth == 0 else f"locals of {frame.f_code.co_name}"
        for name, value in list(frame.f_locals.items())[:_MOST_FIELDS]:
            if value is not agent and not isinstance(value, ModuleType | FunctionType | type):
                yield f"{section}/{name}", text_of(value, _LONGEST)


def _raised_in(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def frames_of(coro: Any) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a suspended coroutine and of what it awaits, each with the line that it is at."""
    for _ in range(_DEEPEST):
        frame = (
            getattr(coro, "cr_frame", None)
            or getattr(coro, "gi_frame", None)
            or getattr(coro, "ag_frame", None)
        )
        if frame is None:
            coro = None if isinstance(coro, asyncio.Future) else held_by(coro)
            if coro is None:
                return
            continue
        yield frame, frame.f_lineno
        coro = (
            waits_in(coro, frame, "cr_await")
            or waits_in(coro, frame, "gi_yieldfrom")
            or waits_in(coro, frame, "ag_await")
            or driven(coro)
        )
