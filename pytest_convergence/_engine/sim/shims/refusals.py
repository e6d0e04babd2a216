"""What cannot be simulated is refused, loudly: threads, processes, signals, sockets, file descriptors that wait.

The refusal names what the program called, the line of the program that called it, and what to do instead. Calls that only
let time pass (a ``Condition.wait`` with a timeout, a ``select`` of nothing) let virtual time pass.

Refused is what is called inside a run, on the thread of its world, by the program; the same calls by a debugger, by another
thread, or outside a run go through.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, FunctionType
from typing import Any, Final, NamedTuple, NoReturn

from pytest_convergence._engine.sim.escapes import escape
from pytest_convergence._engine.sim.shims.asking import RUNS, SimulatedWorld, asked_world, is_tool
from pytest_convergence._engine.sim.shims.patching import Make, Row, delegate
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = [
    "BLOCKING",
    "COPIES",
    "DESCRIPTORS",
    "FILES",
    "LOOPS",
    "SIGNALS",
    "SOCKETS",
    "THREADS",
    "TRYABLE",
    "UVLOOP",
    "WAITS",
    "as_method",
    "check_tryable",
    "is_for_tool",
    "refuse",
    "rows",
]

_OWN_PACKAGE: Final = __name__.partition(".")[0]


class _Kind(NamedTuple):
    """A way out of the world: why it is closed, what to do instead, and the functions that lead there."""

    name: str
    why: str
    instead: str
    functions: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    spared: str = ""
    """A module that may call them."""


THREADS: Final = _Kind(
    "threads",
    "When a real thread runs is not determined by the schedule.",
    "Start a task instead (asyncio.create_task), or call the function directly; asyncio.to_thread(function) runs it at "
    "once, inline. Programs of hosts may have threads: session.host(…); one that blocks needs a process: process=True.",
)
_PROCESSES: Final = _Kind(
    "processes",
    "When a real process runs, and what it answers, is not determined by the schedule.",
    "Let an agent play the process, or start it before the run and give the agents its results.",
    functions=(
        "os:fork",
        "os:forkpty",
        "os:posix_spawn",
        "os:posix_spawnp",
        "os:system",
        "os:execv",
        "os:execve",
        "_posixsubprocess:fork_exec",
        "_winapi:CreateProcess",
    ),
    methods=("subprocess:Popen.__init__", "concurrent.futures.process:ProcessPoolExecutor.submit"),
)
SIGNALS: Final = _Kind(
    "signals",
    "Signals arrive from outside the schedule.",
    "Send the agent a message, or use agent.crash() and agent.restart(); install handlers before the run. The program of a "
    "host (session.host) has signals of its own, which host.send_signal() sends.",
    functions=(
        "signal:alarm",
        "signal:setitimer",
        "signal:pause",
        "signal:pthread_kill",
        "signal:sigwait",
        "signal:sigwaitinfo",
        "signal:sigtimedwait",
        "os:killpg",
    ),
)
SOCKETS: Final = _Kind(
    "real sockets",
    "It was made outside the run: when the real network answers, and what, is not determined by the schedule.",
    "Make the socket inside the run, and it is a simulated one (session.host(…) gives it somebody to talk to), or do the "
    "I/O outside the run.",
    methods=(
        "socket:socket.__init__",
        *(
            f"_socket:socket.{name}"
            for name in (
                "connect", "connect_ex", "recv", "recv_into", "recvfrom", "recvmsg", "send", "sendall", "sendto", "sendmsg",
            )
        ),
        "socket:socket.accept",
        "ssl:SSLSocket.read",
        "ssl:SSLSocket.write",
        "ssl:SSLSocket.send",
        "ssl:SSLSocket.do_handshake",
    ),
)  # fmt: skip
BLOCKING: Final = _Kind(
    "blocking sockets",
    "It would block the one thread that all hosts of the world share, and only another host could end the wait.",
    "Use asyncio's streams, or give the program a process of its own: session.host(…, process=True).",
)
DESCRIPTORS: Final = _Kind(
    "file descriptors",
    "When a real file descriptor becomes ready is not determined by the schedule.",
    "Use an asyncio.Queue or messages between agents, or do the I/O outside the run.",
    functions=("os:openpty", "os:eventfd"),
    methods=("selectors:_BaseSelectorImpl.__init__",),
)
FILES: Final = _Kind(
    "file descriptors",
    "Python's files work on real descriptors, in C, and this one is that of a simulated socket or pipe.",
    "Use os.read and os.write, or socket.makefile().",
)
COPIES: Final = _Kind(
    "file descriptors",
    "A simulated socket or pipe has one descriptor, and no second one.",
    "Use the socket itself; socket.detach() and socket.socket(fileno=…) hand its descriptor on.",
)
LOOPS: Final = _Kind(
    "event loops",
    "A second event loop on this thread would run on real time.",
    "Use the running loop: await the coroutine, or start a task with asyncio.create_task; or give the "
    "program a process of its own: session.host(…, process=True).",
)
_EPOLL: Final = _Kind(
    "file descriptors",
    "It knows real file descriptors alone, and waits in real time.",
    "Use selectors.DefaultSelector, select.poll or select.select: they look at simulated sockets, and wait for them where a "
    "program has a process of its own (session.host(…, process=True)).",
    methods=("select:epoll.register", "select:epoll.modify", "select:epoll.poll", "select:kqueue.control"),
    spared="selectors",  # those are refused where they are made; that of a loop which is older than the run may be used
)
UVLOOP: Final = _Kind(
    "event loops",
    "uvloop has sockets, timers and threads of its own, in C, which no run can simulate.",
    'Use asyncio\'s own loop: do not ask for uvloop, or ask for loop="asyncio".',
    functions=("uvloop:new_event_loop", "uvloop:run", "uvloop:install"),
    methods=("uvloop:Loop.__init__",),
)
WAITS: Final = _Kind(
    "blocking waits",
    "It would block the only thread of the world, and only another thread could end the wait.",
    "Use the asyncio counterpart (asyncio.Event, asyncio.Condition, asyncio.Queue, asyncio.Lock) and await it.",
)
_KINDS: Final = (THREADS, _PROCESSES, SIGNALS, SOCKETS, DESCRIPTORS, _EPOLL, UVLOOP)
_TRIED: Final = (THREADS, _PROCESSES, SIGNALS, DESCRIPTORS, _EPOLL, LOOPS, UVLOOP)
"""What programs try in order to find out whether it is there, and can do without."""
_REFUSED_ELSEWHERE: Final = (
    "_thread.interrupt_main",
    "asyncio.events.new_event_loop",
    "concurrent.futures.thread.ThreadPoolExecutor.submit",
    "open",
    "os.dup",
    "os.dup2",
    "os.fdopen",
    "os.kill",
    "os.pipe",
    "os.pipe2",
    "select.poll",
    "select.select",
    "signal.raise_signal",
    "signal.set_wakeup_fd",
    "signal.siginterrupt",
    "signal.signal",
    "socket.dup",
    "threading.Thread.join",
    "threading.Thread.start",
    "uvloop.EventLoopPolicy",
)
_ONLY_IF_LOADED: Final = frozenset({"concurrent.futures.process", "uvloop"})
_FORKS: Final = frozenset({"os:fork", "os:forkpty"})


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    for kind in _KINDS:
        for target in kind.functions:
            refusal = _refusal(kind, target)
            make = _make_fork(refusal) if target in _FORKS else delegate(refusal, RUNS, asked_world)
            yield Row(target, "refused", make, kind.name, _when_loaded(target))
        for target in kind.methods:
            yield Row(target, "refused", as_method(_refusal(kind, target)), kind.name, _when_loaded(target))


def _when_loaded(target: str) -> bool:
    return target.partition(":")[0] in _ONLY_IF_LOADED


def refuse(kind: _Kind, call: str, frame: FrameType | None) -> NoReturn:
    """Raise the error that names the call and the program's own line.

    Raises:
        SimulationEscapeError: always.
    """
    entry, user = _program_frame(frame)
    name = call if entry is None else entry if call.startswith("_") else f"{entry} ({call})"
    tried = "threading.Thread.start" if call.startswith("_thread.") else call
    way_out = f" {_TRY.format(tried)}" if tried in TRYABLE else ""
    raise escape(f"{name} was called inside a run{_place(user)}. {kind.why} {kind.instead}{way_out}", tried)


def _refusal(kind: _Kind, target: str) -> Callable[..., Any]:
    call = _public_name(target)

    def answer(_world: SimulatedWorld, original: Any, /, *args: Any, **options: Any) -> Any:
        frame = sys._getframe(1)
        if is_for_tool(frame) or (kind.spared and _calls(frame, kind.spared)):
            return original(*args, **options)
        return refuse(kind, call, frame)

    return answer


def _calls(frame: FrameType, module: str) -> bool:
    """Whether a replacement was called by a module."""
    caller = frame.f_back
    return caller is not None and caller.f_globals.get("__name__") == module


def _public_name(target: str) -> str:
    return target.replace(":", ".").replace(".__init__", "").replace("_socket.", "socket.")


TRYABLE: Final = frozenset(
    [_public_name(target) for kind in _TRIED for target in (*kind.functions, *kind.methods)]
    + [*_REFUSED_ELSEWHERE]
)
"""Refused calls that a program may be allowed to try: their names, as the error tells them."""
_TRY: Final = (
    "If the program can do without it, let it try and fail: may_try=[{!r}], of the host or of the session."
)


def check_tryable(names: object) -> frozenset[str]:
    """Return the refused calls that a program may try, checked.

    Raises:
        ConvergenceUsageError: it is no list of names, or one of them is no name of a refused call.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConvergenceUsageError(
            f"may_try must be a list of refused calls, such as ['subprocess.Popen'], not {names!r}."
        )
    found = list(names)
    for name in found:
        if name not in TRYABLE:
            raise unknown_name("refused call in may_try", name, TRYABLE)
    return frozenset(found)


def as_method(answer: Callable[..., Any]) -> Make:
    """Make replacements of methods: the same as :func:`delegate`, with ``self`` among the arguments."""

    def make(original: Any) -> Callable[..., Any]:
        runs, ask = RUNS, asked_world

        def shim(*args: Any, **options: Any) -> Any:
            world = ask() if runs else None
            if world is None:
                return original(*args, **options)
            return answer(world, original, *args, **options)

        return shim

    return make


# -- forks -------------------------------------------------------------------------------------------------------------


def _make_fork(refusal: Callable[..., Any]) -> Make:
    """Make replacements of fork(), which warns about its caller: outside a run it has to see that caller."""

    def make(original: Any) -> Callable[..., Any]:
        def shim(_home: object, /) -> Any:
            world = asked_world() if RUNS else None
            return _call_from(sys._getframe(1), original) if world is None else refusal(world, original)

        return shim

    return make


def _call(function: Callable[[], Any]) -> Any:
    return function()


def _call_from(frame: FrameType, function: Callable[[], Any]) -> Any:
    """Call ``function`` so that a warning about its caller is one about ``frame``."""
    code = _call.__code__.replace(
        co_filename=frame.f_code.co_filename, co_name=frame.f_code.co_name, co_firstlineno=frame.f_lineno - 1
    )
    return FunctionType(code, frame.f_globals)(function)


# -- whose call it is ----------------------------------------------------------------------------------------------------


def _is_library(frame: FrameType) -> bool:
    """Whether ``frame`` belongs to the standard library or to this package."""
    top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return top == _OWN_PACKAGE or top in sys.stdlib_module_names


def _program_frame(frame: FrameType | None) -> tuple[str | None, FrameType | None]:
    """Return what the program called in the standard library, if it was not the function itself, and where."""
    entry: str | None = None
    while frame is not None and _is_library(frame):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] != _OWN_PACKAGE:
            entry = f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return entry, frame


def is_for_tool(frame: FrameType | None) -> bool:
    """Whether a test tool made the call, be it through the standard library."""
    _, program = _program_frame(frame)
    return program is not None and is_tool(program)


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    filename, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(filename, number, frame.f_globals).strip()
    text = f" `{line}`" if line else ""
    return f", at {filename}:{number} in {frame.f_code.co_qualname}{text}"
