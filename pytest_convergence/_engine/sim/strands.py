"""Programs that block: each runs on a real thread of its own, of which exactly one holds the *baton* and runs.

1. A :class:`Strand` runs a plain function on a thread. The world's thread hands it the baton as a step of the host's life,
   and waits until it comes back: when the function blocks (it sleeps, waits for a socket, selects) or ends. So nothing ever
   runs at the same time as anything else, and who runs next is decided by the world: by virtual time and the schedule.
2. A strand that waits is woken by a step of its life. A life that is paused takes no step; the strand of a life that has
   crashed never gets the baton again. It is unwound when the run is over, when it can touch nothing any more.
3. A thread that does not give the baton back (it computes for ever, or waits for a real lock) is found by the budget of real
   time, as code is that blocks the world's own thread.
"""

from __future__ import annotations

import _thread
import asyncio
import sys
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.main_thread import MainThread, forget_thread
from pytest_convergence._engine.sim.owner import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.loop import WorldLoop
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence._engine.sim.processes import Process

__all__ = ["Strand", "StrandEnded", "current_strand", "exchange_strand", "present_life", "strand_world"]

_start_thread: Final = _thread.start_new_thread
_Lock: Final = _thread.allocate_lock
_get_ident: Final = _thread.get_ident

_HERE: Final = threading.local()
"""What the calling thread runs: real threads belong to the process."""
_MOST_UNWINDINGS: Final = 100


class StrandEnded(BaseException):
    """The run is over: raised in a strand out of whatever it waits for, so that its thread can end."""


@final
class Strand:
    """One function on a thread of its own, inside a world.

    Attributes:
        loop: the loop of the world.
        done: a future of that loop, with what the function has returned or raised.
        ident: the thread's, once it has begun; 0 before.
        siblings: the strands of the same program, itself among them.
        joiners: strands that wait for its end.
        process: what its program has to itself, if it is one with threads of its own from the start.
        main_thread: what ``threading`` has for it, if it is the first of a process.
    """

    __slots__ = (
        "_back",
        "_context",
        "_function",
        "_go",
        "_has_ended",
        "_interrupts",
        "_is_lost",
        "_is_over",
        "_is_started",
        "_is_thread",
        "_is_waiting",
        "_unwindings",
        "done",
        "ident",
        "joiners",
        "loop",
        "main_thread",
        "process",
        "siblings",
    )

    def __init__(self, loop: WorldLoop, function: Callable[[], Any]) -> None:
        self.loop = loop
        self.done: asyncio.Future[Any] = loop.create_future()
        self._function = function
        self._context: Context = copy_context()
        self._go, self._back = _Lock(), _Lock()
        self._go.acquire()
        self._back.acquire()
        self._is_started = self._is_waiting = self._is_over = self._is_lost = self._has_ended = (
            self._is_thread
        ) = False
        self._unwindings = 0
        self._interrupts: dict[int, Callable[[], object]] = {}
        self.ident = 0
        self.joiners: list[Strand] = []
        life = present_life()
        self._context.run(OWNER.set, life)
        self.siblings: list[Strand] = []
        self.process: Process | None = None
        self.main_thread: MainThread | None = None
        if life is not None:
            self.siblings = life.strands = life.strands or self.siblings
            self.process = life.process
        self.siblings.append(self)
        loop.world.closers.append(self._unwind)

    # -- on the world's thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let it have the baton as soon as it is its turn."""
        self.loop.call_soon(self._hand_over, context=self._context)

    def start_as_thread(self, start: Callable[[Callable[[], None]], Any], *, at_once: bool) -> Any:
        """Start the thread by ``start(run)``, a function of the library's; return what that returns."""
        self._is_started = self._is_thread = True
        started = start(self._run_later)
        if at_once:  # who starts it cannot wait for it to begin
            self._hand_over()
        else:
            self.wake_soon(self._hand_over)
        return started

    def _run_later(self) -> None:
        self._go.acquire()
        if self._is_over:
            self._has_ended = True
            self._back.release()
            return
        self._run()

    def wake_soon(self, wake: Callable[[], None] | None = None) -> None:
        """Give it the baton by a step of its own; the schedule may let others go first."""
        life = self._context.get(OWNER)
        delay_us = 0 if life is None else life.node.choose_thread()
        if delay_us:
            self.loop.call_later(delay_us / 1e6, wake or self.wake, context=self._context)
        else:
            self.loop.call_soon(wake or self.wake, context=self._context)

    def interrupt(self, number: int, handle: Callable[[], object]) -> None:
        """A signal has come: the thread runs ``handle()`` where it waits, which may raise there, and waits on.

        As with an operating system, a signal that comes again before it was handled is handled once.
        """
        if number not in self._interrupts:
            self._interrupts[number] = handle
            self.loop.call_soon(self.wake, context=self._context)

    @property
    def has_ended(self) -> bool:
        """Whether its function has returned or raised."""
        return self._has_ended

    def of_thread(self, ident: int | None) -> Strand | None:
        """Return the strand of a thread of the same program."""
        return next((each for each in reversed(self.siblings) if each.ident == ident), None)

    def _hand_over(self) -> None:
        """Give the baton away, and wait until it comes back. This is one step of the host's life."""
        if self._has_ended:
            return
        loop, process = asyncio._get_running_loop(), self.process
        if process is not None:
            process.enter()
        try:
            if not self._is_started:
                self._is_started = True
                _start_thread(self._run, ())
            else:
                self._go.release()
            self._is_lost = True
            self._back.acquire()  # a signal may interrupt it (the watchdog, the user): then the thread keeps the baton
            self._is_lost = False
        finally:
            if process is not None:
                process.leave()
        asyncio._set_running_loop(loop)

    def wake(self) -> None:
        """What it waits for has come: it gets the baton back. Called as a step of its life."""
        if self._is_waiting:
            self._is_waiting = False
            self._hand_over()

    def _unwind(self) -> None:
        """The run is over: let the thread end."""
        self._is_over = True
        if self._is_started and not self._has_ended and not self._is_lost:
            self._hand_over()

    # -- on its own thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self.ident = _get_ident()
        _HERE.strand = self
        if threading._trace_hook is not None:  # type: ignore[attr-defined]  # coverage and debuggers follow threads
            sys.settrace(threading._trace_hook)  # type: ignore[attr-defined]
        error: BaseException | None = None
        result: Any = None
        try:
            if not self._is_thread:
                self.main_thread = MainThread()
            result = self._context.copy().run(self._run_function)
        except BaseException as raised:
            error = raised
        finally:
            _HERE.strand = None
            forget_thread(self.ident)
            self._end(result, error)

    def _run_function(self) -> Any:
        self._handle_signals()
        return self._function()

    def _handle_signals(self) -> None:
        while self._interrupts:
            handle = self._interrupts.pop(next(iter(self._interrupts)))
            handle()

    def _end(self, result: Any, error: BaseException | None) -> None:
        """Tell the world; the last thing that the thread does is to give the baton back."""
        self._has_ended = True
        if not self._is_over:
            self._forget()
            for joiner in self.joiners:
                joiner.wake_soon()
        if not self.done.done() and not self._is_thread:
            if error is None or isinstance(error, StrandEnded):
                self.done.set_result(result)
            elif isinstance(error, StopIteration):
                self.done.set_exception(RuntimeError(f"the program raised {error!r}"))
            else:
                self.done.set_exception(error)
        self._back.release()

    def _forget(self) -> None:
        """Nobody has to unwind it any more, or to look for it: a program may have thousands of threads one after another."""
        self.loop.world.closers.remove(self._unwind)
        self.siblings.remove(self)

    def _give_back(self) -> None:
        self._is_waiting = True
        self._back.release()
        self._go.acquire()
        if self._is_over:
            self._end_at_last()

    def _end_at_last(self) -> NoReturn:
        """The run is over. A program that will not have it waits for ever, where it disturbs nobody.

        Raises:
            StrandEnded: always, but for the last time.
        """
        self._unwindings += 1
        while self._unwindings > _MOST_UNWINDINGS:
            self._back.release()
            self._go.acquire()
        raise StrandEnded

    def wait(self, timeout_ns: int | None = None) -> bool:
        """Give the baton back until somebody wakes the strand; return whether it was woken before the time was up.

        It may be woken although nothing has come that it waits for: by a signal, or by what it has waited for before. So
        who waits looks again, and waits on.

        Raises:
            StrandEnded: the run is over.
            BaseException: what the handler of a signal has raised.
        """
        if self._is_over:
            self._end_at_last()
        timed_out = False

        def time_is_up() -> None:
            nonlocal timed_out
            timed_out = True
            self.wake()

        timer = None
        if timeout_ns is not None:
            timer = self.loop.call_later(timeout_ns / NS_PER_SECOND, time_is_up, context=self._context)
        try:
            self._give_back()
        finally:
            if timer is not None:
                timer.cancel()
        self._handle_signals()
        return not timed_out

    def sleep(self, duration_ns: int) -> None:
        """Wait for so long, whoever wakes it meanwhile."""
        until_ns = self.loop.world.now_ns + duration_ns
        while self.wait(max(0, until_ns - self.loop.world.now_ns)):
            if self.loop.world.now_ns >= until_ns:
                break

    @property
    def context(self) -> Context:
        """What its steps run in: it holds whose life it is."""
        return self._context


def current_strand() -> Strand | None:
    """Return the strand that the calling thread runs, ``None`` for any other thread."""
    strand: Strand | None = getattr(_HERE, "strand", None)
    return strand


def present_life() -> Life | None:
    """Return the life whose code runs on the calling thread, ``None`` for code of nobody.

    A context that was not made inside the run does not name it; the thread is that of its process all the same.
    """
    life = OWNER.get()
    if life is None:
        strand = current_strand()
        return None if strand is None else strand.context.get(OWNER)
    return life


def exchange_strand(strand: Strand | None) -> Strand | None:
    """Let the calling thread run ``strand``, or none, as code that is no part of the run does; return which it was."""
    before = current_strand()
    _HERE.strand = strand
    return before


def strand_world() -> Any:
    """Return the world of the calling thread's strand, or ``None``."""
    strand = current_strand()
    return None if strand is None else strand.loop.world
