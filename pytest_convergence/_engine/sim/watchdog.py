"""Bounds the real time of a run, and interrupts code that blocks the thread.

1. One daemon thread for each process, started with the first guarded run. While runs come and go it looks at the clock
   a few times a second; when none has come for a while it blocks until the next one.
2. Over budget, it records where the thread of the run is, then raises :class:`Overrun` there. In the main thread by
   a signal, which also ends a blocking call (``lock.acquire()``, ``read()``, a C sleep); in another thread by an
   asynchronous exception, which needs Python code to run there.
3. ``Overrun`` is a ``KeyboardInterrupt``, since asyncio lets nothing else out of a task. While a guard is entered in
   the main thread, SIGINT is handled by it: a signal that the watchdog has sent raises ``Overrun``, any other one is
   passed on to the handler that was there before. So a real Ctrl-C stays what it was.
4. Leaving takes the lock that the watchdog holds while it interrupts. What it has sent until then is waited for and
   absorbed, so that an interrupt never arrives after the run it was meant for.
5. A signal that arrives in the middle of a test tool's own code (a tracer) raises nothing there, and is sent again.
6. Code that swallows the interrupt gets another one each second; code that cannot be interrupted is named on stderr.
"""

from __future__ import annotations

# The C module beneath `signal`: its functions take a twentieth of the time, and a guard is entered for every run.
import _signal  # type: ignore[import-not-found]
import ctypes
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from math import inf
from types import FrameType, TracebackType
from typing import Any, Final, Self, final

from pytest_convergence._engine.sim.shims.asking import TOOLS, is_tool, outside_world
from pytest_convergence._engine.sim.strands import Strand
from pytest_convergence.errors import BudgetExceeded

__all__ = ["Guard", "Overrun", "Watchdog", "format_stack", "guard"]

_TICK_SECONDS: Final = 0.25
_IDLE_TICKS: Final = 8
_RETRY_SECONDS: Final = 1.0
_TRIES_BEFORE_REPORT: Final = 3
_ABSORB_TRIES: Final = 200
_SHIMS: Final = f"{__name__.rpartition('.')[0]}.shims."
_FRAMEWORK: Final = TOOLS | {__name__.partition(".")[0], "asyncio", "runpy"}

# Real ones, whatever this process replaces later.
_monotonic: Final = time.monotonic
_sleep: Final = time.sleep
_set_handler: Final = _signal.signal
_send_signal: Final[Callable[[int, int], None] | None] = getattr(_signal, "pthread_kill", None)


class Overrun(KeyboardInterrupt):
    """The watchdog interrupts a run that has used up its real time."""


@final
class Guard:
    """One guarded run: a context manager, see :func:`guard`.

    Attributes:
        expired: whether the run was interrupted.
        stack: where the thread was when time was up, as text; empty before.
    """

    __slots__ = (
        "_asynchronous",
        "_deadline",
        "_describe",
        "_handler",
        "_leaving",
        "_remaining",
        "_sent",
        "_suspensions",
        "_tries",
        "_watchdog",
        "expired",
        "seconds",
        "stack",
        "thread_id",
    )

    def __init__(self, watchdog: Watchdog, seconds: float, describe: str | Callable[[], str]) -> None:
        self.seconds = seconds
        self.expired = False
        self.stack = ""
        self.thread_id = 0
        self._watchdog = watchdog
        self._describe = describe
        self._deadline = inf
        self._remaining = seconds
        self._suspensions = 0
        self._handler: Any = None
        self._sent = False
        self._asynchronous = False
        self._leaving = False
        self._tries = 0

    def __enter__(self) -> Self:
        if self.seconds == inf:
            return self
        self.thread_id = threading.get_ident()
        if self.thread_id == threading.main_thread().ident:
            # None: somebody's C code handles it, and could not be put back.
            self._handler = _signal.getsignal(_signal.SIGINT)
            if self._handler is not None:
                _set_handler(_signal.SIGINT, self._on_signal)
        self._deadline = _monotonic() + self.seconds
        self._watchdog.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        if self.seconds == inf:
            return
        self._watchdog.forget(self)
        if self.expired:
            self._absorb()
        if self._handler is not None:
            _set_handler(_signal.SIGINT, self._handler)
        if isinstance(error, Overrun):
            raise BudgetExceeded(self.report()) from None
        if error is None:
            self.expired = False  # time was up just when the run had ended

    def suspend(self) -> None:
        """Stop the clock: a person is at the debugger's prompt. Suspensions nest."""
        with self._watchdog.lock:
            self._suspensions += 1
            if self._suspensions == 1:
                self._remaining = self._deadline - _monotonic()
                self._deadline = inf

    def resume(self) -> None:
        """Let the clock go on from where it stopped."""
        with self._watchdog.lock:
            self._suspensions -= 1
            if self._suspensions == 0 and self.seconds != inf:
                self._deadline = _monotonic() + self._remaining

    def report(self) -> str:
        """Say that time was up, and where the run was."""
        described = self._describe if isinstance(self._describe, str) else self._describe()
        return (
            f"{described} took more than {self.seconds:g} seconds of real time. Something blocks the thread, or the run is "
            f"too large (raise real_timeout). It was here:\n{self.stack}"
        )

    # -- on the watchdog's thread, with its lock -------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When time is up, on the machine's monotonic clock."""
        return self._deadline

    def interrupt(self) -> None:
        """Interrupt the thread of the run, again if the last time had no effect."""
        self._deadline = _monotonic() + _RETRY_SECONDS
        if not self.expired:
            self.stack = format_stack(_running_frame(self.thread_id))
            self.expired = True
        self._tries += 1
        if self._tries == _TRIES_BEFORE_REPORT:
            _say(f"{self.report()}\nIt does not react to being interrupted.\n")
        if self._handler is not None and _send_signal is not None and self._tries < _TRIES_BEFORE_REPORT:
            self._sent = True
            _send_signal(self.thread_id, _signal.SIGINT)
        else:
            # Never both at once: the exception would be raised at the start of the handler, and lose the signal.
            self._asynchronous = True
            _raise_in_thread(self.thread_id, Overrun)

    # -- on the thread of the run ------------------------------------------------------------------------------------

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._sent:
            self._sent = False
            # A shim is asked by whoever called it, and stands for it.
            asker = frame
            while asker is not None and str(asker.f_globals.get("__name__")).startswith(_SHIMS):
                asker = asker.f_back
            program = asker
            while program is not None and is_tool(program):
                program = program.f_back
            # At the very first instruction of __exit__ the run has ended by itself.
            if self._leaving or (program is not None and program.f_code is Guard.__exit__.__code__):
                return
            if program is asker:
                raise Overrun
            # In the middle of a tracer (coverage), which would be left holding its locks: try again a little later.
            self._tries -= 1
            self._deadline = _monotonic()
            return
        handler = self._handler
        if callable(handler):
            handler(number, frame)
        elif handler == _signal.SIG_DFL:
            _set_handler(number, _signal.SIG_DFL)
            _signal.raise_signal(number)

    def _absorb(self) -> None:
        """Wait for the signal or the exception that may still be on its way."""
        for _ in range(_ABSORB_TRIES):
            if not self._sent:
                break
            _sleep(0.001)
        if self._asynchronous:
            # Not taken back by setting it to NULL: on Python 3.11 that leaves a flag behind on which traced code
            # (coverage, a debugger) loops for ever. If it is pending, it is raised here.
            with suppress(Overrun):
                for _ in range(_ABSORB_TRIES):
                    _sleep(0)


@final
class Watchdog:
    """The thread that watches guards.

    Attributes:
        lock: held while a guard is interrupted, watched or forgotten.
    """

    __slots__ = ("_asleep", "_condition", "_guards", "_thread", "lock")

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self._condition = threading.Condition(self.lock)
        self._guards: dict[int, Guard] = {}
        self._thread: threading.Thread | None = None
        self._asleep = False

    def watch(self, guard: Guard) -> None:
        """Watch ``guard`` from now on."""
        if self._thread is None:
            self._start()
        with self.lock:
            self._guards[id(guard)] = guard
            if self._asleep or guard.seconds < _TICK_SECONDS:
                self._condition.notify()

    def forget(self, guard: Guard) -> None:
        """Watch ``guard`` no more. When this returns, nothing more is sent to its thread."""
        with self.lock:
            self._guards.pop(id(guard), None)

    def _start(self) -> None:
        with self.lock, outside_world():
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="pytest-convergence watchdog", daemon=True)
                thread.start()
                self._thread = thread

    def _watch(self) -> None:
        idle_ticks = 0
        with self.lock:
            while True:
                if self._guards:
                    idle_ticks = 0
                    self._condition.wait(min(_TICK_SECONDS, self._bite()))
                elif idle_ticks < _IDLE_TICKS:
                    idle_ticks += 1
                    self._condition.wait(_TICK_SECONDS)
                else:
                    self._asleep = True
                    self._condition.wait()
                    self._asleep = False

    def _bite(self) -> float:
        """Interrupt those whose time is up. Return the seconds until the next one's is."""
        now = _monotonic()
        nearest = inf
        for guard in list(self._guards.values()):
            if guard.deadline <= now:
                guard.interrupt()
            nearest = min(nearest, guard.deadline)
        return max(nearest - now, 0.0)


def _raise_in_thread(thread_id: int, error: type[BaseException]) -> None:
    """Set the asynchronous exception of a thread."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))


def _say(text: str) -> None:
    """Write where a person finds it although pytest captures, and although the main thread may never return."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"\n{text}")
        sys.__stderr__.flush()


def _running_frame(thread_id: int) -> FrameType | None:
    """Where the run is: in a program with a thread of its own, if it is that which has the baton."""
    frames = sys._current_frames()
    frame = frames.get(thread_id)
    if frame is None or frame.f_code is not Strand._hand_over.__code__:
        return frame
    strand: Strand = frame.f_locals["self"]
    return frames.get(strand.ident, frame)


def format_stack(frame: FrameType | None) -> str:
    """Return the stack that ends in ``frame`` as text; runs of framework frames are one line each."""
    if frame is None:
        return "  (the thread has ended)"
    lines: list[str] = []
    hidden: list[str] = []
    frames = [(each, number) for each, number in traceback.walk_stack(frame)][::-1]
    for each, number in frames:
        package = str(each.f_globals.get("__name__", "?")).partition(".")[0]
        if package in _FRAMEWORK:
            hidden.append(package)
            continue
        lines += _hidden_line(hidden)
        hidden = []
        summary = traceback.FrameSummary(each.f_code.co_filename, number, each.f_code.co_name)
        lines.append("".join(traceback.format_list([summary])).rstrip())
    lines += _hidden_line(hidden)
    return "\n".join(lines)


def _hidden_line(packages: list[str]) -> list[str]:
    if not packages:
        return []
    names = ", ".join(dict.fromkeys(packages))
    return [f"  … {len(packages)} frame{'s' * (len(packages) > 1)} of {names}"]


_WATCHDOG: Final = Watchdog()


def guard(seconds: float | None, describe: str | Callable[[], str] = "the run") -> Guard:
    """Bound the real time of the ``with`` block that this guards, on the thread that enters it.

    When time is up, :class:`Overrun` (a ``KeyboardInterrupt``) is raised in that thread, and
    ``budget.expired`` and ``budget.stack`` are set. Whoever catches it inside the ``with`` may say it in its own words; if
    it leaves the ``with``, it becomes ``BudgetExceeded``.

    Args:
        seconds: real seconds; ``None`` or infinity for no bound.
        describe: names the run in the message.
    """
    return Guard(_WATCHDOG, inf if seconds is None else seconds, describe)
