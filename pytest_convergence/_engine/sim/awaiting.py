"""What a task waits for, in words: its await chain, from its own coroutine down to what nobody has done yet.

1. The chain is followed through ``cr_await`` of coroutines, ``ag_await`` of asynchronous generators and ``gi_yieldfrom`` of
   generator-based awaitables. The small objects in between (of ``async for``, of futures) show what they hold only to the
   garbage collector, so it is asked.
2. A frame of the program is shown with its file, line and text. Of the frames of asyncio and of this package beneath it
   the first one is shown, which is what the program called; the others are no business of the program.
3. At the bottom is a future. If it is a task, or gathers some, their chains follow. Tasks that wait for each other are
   named.

Needs no debug mode of asyncio.
"""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
from collections.abc import Awaitable, Callable, Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.sim.driving import driven

__all__ = ["await_chain", "describe_await", "describe_stack", "held_by", "waits_in"]

_LINKS_AT_TOP: Final = 6
_LINKS_AT_BOTTOM: Final = 5
_MAX_FRAMES: Final = 2_000
_MAX_BRANCHES: Final = 4
_MAX_SOURCE: Final = 80
_OWN_PACKAGE: Final = __name__.partition(".")[0]
_AWAITED: Final = (asyncio.Future, CoroutineType, GeneratorType, AsyncGeneratorType)
_KINDS: Final = (
    (CoroutineType, "cr", "cr_await"),
    (AsyncGeneratorType, "ag", "ag_await"),
    (GeneratorType, "gi", "gi_yieldfrom"),
)
_ARROW: Final = " → "
_SHOWN_AS: Final = {"SimulatedAgent": "agent", "Session": "session"}
_LOOP_OVER_INBOX: Final = "Mailbox.__anext__"


def describe_await(awaited: Any) -> str:
    """Describe in one line what a task, coroutine or other awaitable waits for.

    For example ``client() at app.py:12: text = await queue.get() → Queue.get (asyncio/queues.py:158)``.
    """
    return _ARROW.join(await_chain(awaited))


def describe_stack(frame: FrameType) -> str:
    """Describe in one line where a thread stands: the program's frames, and what it called of the library."""
    frames = [frame]
    while frames[-1].f_back is not None:
        frames.append(frames[-1].f_back)
    links, inside_library = [], True
    for each in reversed(frames):
        library = _is_library(each)
        if not (library and inside_library):
            links.append(_describe_frame(each, each.f_code.co_qualname))
        inside_library = library
    return _ARROW.join(links[-_LINKS_AT_TOP:]) or "nothing that could be named"


def await_chain(awaited: Awaitable[Any] | AsyncGeneratorType[Any, Any]) -> list[str]:
    """Return the links of the chain, the outermost first; at least one."""
    links = list(_Walk().links(awaited)) or ["nothing that could be named"]
    hidden = len(links) - _LINKS_AT_TOP - _LINKS_AT_BOTTOM
    if hidden <= 1:
        return links
    return [*links[:_LINKS_AT_TOP], f"… ({hidden} more)", *links[-_LINKS_AT_BOTTOM:]]


class _Suspended(NamedTuple):
    """A coroutine, generator or asynchronous generator: where it stands, and what it awaits."""

    frame: FrameType | None
    state: str
    awaits: Any
    name: str


@final
class _Walk:
    """One walk down; remembers the tasks that it has seen, since tasks can wait for each other."""

    __slots__ = ("_count", "_tasks")

    def __init__(self) -> None:
        self._count = 0
        self._tasks: list[asyncio.Future[Any]] = []

    def links(self, awaited: Any) -> Iterator[str]:
        """Yield the links from ``awaited`` down."""
        inside_library = _is_own(awaited)  # our own frames above the program are no business of it either
        called: FrameType | None = None
        while awaited is not None:
            if isinstance(awaited, asyncio.Task) and not self._tasks:
                # The task that was asked about: its own coroutine comes first.
                self._tasks.append(awaited)
                if awaited.done():
                    yield "nothing: it has ended"
                    return
                awaited = awaited.get_coro()
                inside_library = _is_own(awaited)
                continue
            if isinstance(awaited, asyncio.Future):
                yield from self._future(awaited, called)
                return
            suspended = _suspended(awaited)
            if suspended is None:
                awaited = held_by(awaited)
                continue
            self._count += 1
            if self._count > _MAX_FRAMES:
                return
            frame = suspended.frame
            if frame is None:
                yield f"{suspended.name}(), which has ended"
                return
            library = _is_library(frame)
            if not (library and inside_library):
                called = frame if library else None
                yield _describe_frame(frame, suspended.name)
            inside_library = library
            if suspended.state:
                yield suspended.state
                return
            awaited = suspended.awaits

    def _future(self, future: asyncio.Future[Any], called: FrameType | None) -> Iterator[str]:
        branches = _branches(future, called)
        if isinstance(future, asyncio.Task):
            yield self._task(future)
        elif branches is not None:
            yield from self._all(branches)
        elif called is None:
            yield "a future that nobody has resolved" if not future.done() else "a future, which is done"

    def _task(self, task: asyncio.Task[Any]) -> str:
        """Describe a task that is awaited, and what it awaits itself."""
        if task in self._tasks:
            return f"task {task.get_name()!r}, which waits for this one"
        self._tasks.append(task)
        return f"task {task.get_name()!r}, which waits in {_ARROW.join(self.links(task.get_coro()))}"

    def _all(self, branches: list[Any]) -> Iterator[str]:
        pending = [branch for branch in branches if not branch.done()]
        texts = [
            self._task(branch) if isinstance(branch, asyncio.Task) else _ARROW.join(self.links(branch))
            for branch in pending[:_MAX_BRANCHES]
        ]
        if len(pending) == 1:
            yield texts[0]
        elif pending:
            more = f" and {len(pending) - _MAX_BRANCHES} more" if len(pending) > _MAX_BRANCHES else ""
            yield f"{len(pending)} of them: " + ", ".join(f"[{text}]" for text in texts) + more


def _suspended(awaited: Any) -> _Suspended | None:
    """Look at a coroutine, generator or asynchronous generator; ``None`` for anything else."""
    for kind, prefix, awaits in _KINDS:
        if isinstance(awaited, kind):
            frame = getattr(awaited, f"{prefix}_frame")
            below = waits_in(awaited, frame, awaits) or driven(awaited)
            state = ""
            sleeps = getattr(awaited, "gi_suspended", False)  # by itself, as a loop over an inbox does
            if below is None and not sleeps:
                begun = getattr(awaited, f"{prefix}_running") or getattr(awaited, f"{prefix}_suspended", True)
                state = "it is running" if begun else "it has not begun"
            return _Suspended(frame, state, below, awaited.__qualname__)
    return None


def waits_in(awaited: Any, frame: FrameType | None, name: str) -> Any:
    """Return what a coroutine or generator awaits, by the name of the attribute; nothing while it runs.

    CPython 3.11 must not be asked while it runs: it takes what is behind the present instruction for the next one, finds a
    counter of its own there, and at some values of that reads a stack that is not there.
    """
    return None if frame is None or frame.f_back is not None else getattr(awaited, name, None)


def held_by(wrapper: Any) -> Any:
    """Return what an internal wrapper (``async_generator_asend``, ``coroutine_wrapper``, ``FutureIter``) holds."""
    return next((held for held in gc.get_referents(wrapper) if isinstance(held, _AWAITED)), None)


def _branches(future: asyncio.Future[Any], called: FrameType | None) -> list[Any] | None:
    """Return the futures that ``future`` stands for: those of a gather, a wait, or a task group."""
    children = getattr(future, "_children", None)
    if isinstance(children, list):
        return children
    shielded = _shielded(future)
    if shielded is not None:
        return [shielded]
    if called is None:
        return None
    name, variables = called.f_code.co_qualname, called.f_locals
    if name == "TaskGroup.__aexit__":
        return sorted(getattr(variables.get("self"), "_tasks", ()), key=_name_of)
    if name == "wait":
        return sorted(variables.get("fs") or (), key=_name_of)
    if name == "wait_for" and isinstance(variables.get("fut"), asyncio.Future):
        return [variables["fut"]]
    return None


def _shielded(future: asyncio.Future[Any]) -> Any:
    """Return the future behind an ``asyncio.shield``: known to the callback that ends the shield."""
    for entry in getattr(future, "_callbacks", None) or ():
        callback = entry[0]
        if getattr(callback, "__qualname__", "").startswith("shield."):
            cells = dict(zip(callback.__code__.co_freevars, callback.__closure__ or (), strict=False))
            return cells["inner"].cell_contents if "inner" in cells else None
    return None


def _name_of(future: Any) -> str:
    return future.get_name() if isinstance(future, asyncio.Task) else ""


# -- frames ------------------------------------------------------------------------------------------------------------


def _is_own(awaited: Any) -> bool:
    """Whether ``awaited`` is a coroutine of this package."""
    suspended = _suspended(awaited)
    return suspended is not None and suspended.frame is not None and _package(suspended.frame) == _OWN_PACKAGE


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_library(frame: FrameType) -> bool:
    """Whether ``frame`` is asyncio's or ours: what lies beneath it is no business of the program."""
    return _package(frame) in {"asyncio", _OWN_PACKAGE}


def _describe_frame(frame: FrameType, name: str) -> str:
    code = frame.f_code
    package = _package(frame)
    if package == _OWN_PACKAGE:
        if name == _LOOP_OVER_INBOX:
            return "agent.inbox"
        owner, dot, method = name.rpartition(".")
        return f"{_SHOWN_AS.get(owner, owner)}{dot}{method}{_arguments(frame)}"
    if package == "asyncio":
        known = _KNOWN.get(name)
        shown = known(frame) if known is not None else name
        return f"{shown} (asyncio/{os.path.basename(code.co_filename)}:{frame.f_lineno})"
    line = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
    if len(line) > _MAX_SOURCE:
        line = f"{line[: _MAX_SOURCE - 1]}…"
    place = f"{name}() at {_short_path(code.co_filename)}:{frame.f_lineno}"
    return f"{place}: {line}" if line else place


def _arguments(frame: FrameType) -> str:
    """Show the arguments of one of our methods that are short and were given."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    values = frame.f_locals
    shown = [
        f"{name}={values[name]!r}"
        for name in code.co_varnames[:count]
        if isinstance(values.get(name), str | int | float) and name != "self"
    ]
    return f"({', '.join(shown)})"


def _sleep(frame: FrameType) -> str:
    return f"asyncio.sleep({frame.f_locals.get('delay', '…')})"


def _wait_for(frame: FrameType) -> str:
    return f"asyncio.wait_for(timeout={frame.f_locals.get('timeout')})"


def _wait(frame: FrameType) -> str:
    return f"asyncio.wait of {len(frame.f_locals.get('fs') or ())}"


def _group(frame: FrameType) -> str:
    return "the end of a TaskGroup"


_KNOWN: Final[dict[str, Callable[[FrameType], str]]] = {
    "sleep": _sleep,
    "wait_for": _wait_for,
    "wait": _wait,
    "TaskGroup.__aexit__": _group,
}


def _short_path(filename: str) -> str:
    """Show a path below the working directory relatively, and any other by its last two parts."""
    here = os.path.join(os.getcwd(), "")
    if filename.startswith(here):
        return filename[len(here) :]
    return os.path.join(*filename.rsplit(os.sep, 2)[-2:])
