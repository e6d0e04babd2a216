"""CPython's own selector event loop on virtual time.

1. The loop subclasses :class:`asyncio.SelectorEventLoop`. Futures, streams and transports are stock; what is replaced is
   what lies beneath: clock, timers, and the turn of the loop, which never asks the operating system anything.
2. A turn runs what is ready, in order, as ``BaseEventLoop._run_once`` does: callbacks that become ready during a turn
   run in the next one. Only when nothing is ready does time jump to the next event.
3. Every callback carries the life of the agent that it belongs to (in its context). A callback is a *step* of that
   life; a life's ``fuse`` is the number of the step before which the schedule wants to be asked. One comparison covers
   crashed lives (fuse 0), paused ones (fuse 0) and planned deviations.
4. Steps of one agent are never reordered against each other: asyncio documents FIFO. A stall holds back an agent as a
   whole.
"""

from __future__ import annotations

import asyncio
import heapq
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.driving import Driver
from pytest_convergence._engine.sim.escapes import escape
from pytest_convergence._engine.sim.handles import Ready, StepHandle, TimerStep
from pytest_convergence._engine.sim.net.descriptors import abandon
from pytest_convergence._engine.sim.order import LiveGenerators, order_sets_of_asyncio
from pytest_convergence._engine.sim.reading import wake_readers
from pytest_convergence._engine.sim.selector import WorldSelector
from pytest_convergence._engine.sim.signals import signals_of
from pytest_convergence._engine.sim.stock import stock_attributes
from pytest_convergence._engine.sim.strands import current_strand
from pytest_convergence._engine.sim.tasks import WorldTask, new_task
from pytest_convergence._engine.sim.world import OWNER, World

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence._engine.sim.watchdog import Guard

__all__ = ["WorldLoop"]

_STEPS_PER_BATCH: Final = 1024
_EVENTS_PER_INSTANT: Final = 100_000
"""After so many events at one instant a turn goes on, unfinished: the bounds are looked at between turns only."""

_TASKS_KEPT: Final = 64
_BuiltIn: Final[type] = type([].append)
_WOKEN: Final = StepHandle(bool, (), Context())
"""What asyncio's C code is given, and throws away, for the wake-up of a task."""

_EAGER: Final = getattr(asyncio, "eager_task_factory", None)


@final
class WorldLoop(asyncio.SelectorEventLoop):
    """An event loop on the virtual time of one :class:`World`.

    Attributes:
        world: the world whose time this loop follows.
        driver: the life that callbacks belong to which no agent started: the test itself.
        budget: the guard of the run's real time, while it runs; a debugger suspends it.
        cancelled_by: why everything was cancelled, once it was.
        unhandled: asked about what nobody handles, before it is only logged; returns whether it has taken care of it.
    """

    if TYPE_CHECKING:  # of asyncio's own base classes
        _asyncgens: Any
        _closed: bool
        _default_executor: Any
        _executor_shutdown_called: bool
        _selector: Any
        _stopping: bool
        _task_factory: Any
        _transports: Any

        def _check_closed(self) -> None: ...

    def __init__(self, world: World, driver: Life) -> None:
        self.world = world
        self.driver = driver
        self.budget: Guard | None = None
        self.cancelled_by: BaseException | None = None
        self.unhandled: Callable[[dict[str, Any]], bool] | None = None
        self._ready: deque[Any]  # of Ready; each form is told by its type
        self._tasks_made = 0
        self._tasks: list[WorldTask] = []
        self._tasks_limit = _TASKS_KEPT
        stock = stock_attributes()
        if stock is None:
            super().__init__(WorldSelector())
        else:
            stock.give(self)
        self._selector.attach(world)
        self._ready_append = self._ready.append
        # One bound method for all timers: by it a turn tells them from other events.
        self._fire: Callable[[TimerStep], None] = self._timer_is_due
        self._asyncgens = LiveGenerators()
        order_sets_of_asyncio()

    def __reduce__(self) -> NoReturn:
        # Whoever copies a value that leads to here (an agent, a session) would get half a loop first, which cannot even die.
        raise TypeError("the loop of a simulated world cannot be copied")

    # -- the turn ------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run turns until the loop is to stop, or a batch is full; then account for them.

        Replaces ``BaseEventLoop._run_once``, and keeps its order: timers that are due join the end of what is ready, a
        turn runs what was ready when it began.
        """
        world = self.world
        batch = min(_STEPS_PER_BATCH, max(1, world.max_events - world.happened + 1))
        world.account(self._run_turns(batch, batch + _EVENTS_PER_INSTANT))

    def _run_turns(self, batch: int, most: int) -> int:  # noqa: C901, PLR0912, PLR0915 - the hot loop: calls cost more than branches
        """Run turns until ``batch`` steps are full, no more than ``most`` at one instant; return how many there were."""
        world, ready, driver, owner, steps = self.world, self._ready, self.driver, OWNER, 0
        events, fire, pop, popleft = world.events, self._fire, heapq.heappop, ready.popleft
        while True:
            if world.hot:
                wake_readers(self, world.hot)
            if ready or self._stopping:
                due = events and events[0][0] <= (due_ns := world.now_ns)
            else:  # time jumps to the next event
                if len(events) == world.background and not (world.goes_on() and (events or ready)):
                    return steps
                if ready:
                    continue
                due_ns, due = events[0][0], True
                if due_ns > world.timeout_ns and not world.time_is_up():
                    return steps
            while due:
                (at_ns, _, function, argument), steps = pop(events), steps + 1
                if function is fire and argument._callback is None:
                    world.timer_discarded()
                else:
                    if at_ns > world.now_ns:
                        world.now_ns = at_ns
                    function(argument)
                    if world.after_step is not None:
                        world.after_step()
                if ready or world.hot or self._stopping or steps >= batch or len(events) == world.background:
                    due = events and events[0][0] <= due_ns and steps < most
                else:  # straight on to the next event, at whatever instant it is
                    due = (due_ns := events[0][0]) <= world.timeout_ns
            steps += len(ready)
            for _ in range(len(ready)):
                form = type(first := popleft())
                if form is tuple:
                    wake, woken_by, context, life = first
                elif form is Driver:
                    life = first.life
                elif first._callback is None:
                    continue
                else:
                    life = (context := first._context).get(owner) or driver
                life.steps = step = life.steps + 1
                if step >= life.fuse and not life.node.may_step(life, first):
                    continue
                try:
                    if form is tuple:
                        context.run(wake, woken_by)  # type: ignore[possibly-undefined]  # known by the form
                    elif form is Driver:
                        first.step()
                    else:
                        context.run(first._callback, *first._args)  # type: ignore[possibly-undefined]
                except BaseException as error:
                    self._callback_failed(first, error)
                if world.after_step is not None:
                    world.after_step()
            if steps >= batch or self._stopping:
                return steps

    def _timer_is_due(self, timer: TimerStep) -> None:
        """Make a timer ready. If its step is what happens next, it happens at once, without a way through the queue."""
        timer._scheduled = False
        world = self.world
        events = world.events
        if self._ready or world.after_step is not None or (events and events[0][0] <= world.now_ns):
            enqueue = self._ready_append
            enqueue(timer)
            return
        context = timer._context
        life = context.get(OWNER) or self.driver
        life.steps = step = life.steps + 1
        world.happened += 1
        if step >= life.fuse and not life.node.may_step(life, timer):
            return
        try:
            context.run(timer._callback, *timer._args)
        except BaseException as error:
            self._callback_failed(timer, error)
        if world.hot:  # with this the next turn would begin
            wake_readers(self, world.hot)

    def forget_transport(self, number: int, *, is_over: bool = True) -> None:
        """A socket is closed; if its program ``is_over``, nobody is to be told that it had not closed its transport."""
        transport = self._transports.pop(number, None)
        if is_over:
            abandon(transport)

    @property
    def is_ready(self) -> bool:
        """Whether some step could run at this instant."""
        return bool(self._ready or self.world.hot)

    def run_first(self, steps: list[Ready]) -> None:
        """Let ``steps`` run before everything that is ready: they became ready before it."""
        self._ready.extendleft(reversed(steps))

    def _callback_failed(self, ready: Ready, error: BaseException) -> None:
        if isinstance(ready, Driver):
            handle: Any = StepHandle(ready.wake, (), ready.context)
        else:
            handle = StepHandle(ready[0], (ready[1],), ready[2]) if isinstance(ready, tuple) else ready
        if isinstance(error, SystemExit | KeyboardInterrupt):
            task = getattr(handle._callback, "__self__", None)
            if isinstance(task, WorldTask):
                task._log_traceback = False  # it leaves the loop: nobody misses it
            life = handle._context.get(OWNER)
            if isinstance(error, SystemExit) and life is not None and life.node.is_host:
                signals_of(life.node).leave(error)  # a program ends its own process
                return
            raise error
        self.call_exception_handler(
            {"message": f"Exception in callback {handle!r}", "exception": error, "handle": handle}
        )

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Somebody's exception is nobody's business: it fails the session that it comes from, or is logged.

        Not so a cancellation: Python 3.11 finds fault with handlers of connections that were cancelled. Nor what a future
        held whose program ended with the run before it could ask (:func:`asyncio.gather` makes such futures).
        """
        if isinstance(context.get("exception"), asyncio.CancelledError):
            return
        if self.world.closed and not isinstance(context.get("future"), asyncio.Task):
            return
        if self.unhandled is None or not self.unhandled(context):
            super().default_exception_handler(context)

    # -- callbacks and timers ------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> StepHandle:
        """Run ``callback`` in the next turn."""
        if self._closed:
            self._check_closed()
        if context is not None and type(callback) is _BuiltIn:
            task: Any = callback.__self__  # type: ignore[attr-defined]
            if type(task) is WorldTask and len(args) == 1:
                enqueue = self._ready_append  # fetched first: called in one go it is looked up like a method
                enqueue((callback, args[0], context, task.life or self.driver))
                return _WOKEN
        handle = StepHandle(callback, args, copy_context() if context is None else context)
        enqueue = self._ready_append
        enqueue(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> StepHandle:
        """The same as :meth:`call_soon`, from the world's own thread or from one of a host's, which take turns.

        Raises:
            SimulationEscapeError: another thread called.
        """
        if asyncio.events._get_running_loop() is not self and self.is_running() and current_strand() is None:
            raise escape(
                f"another thread called loop.call_soon_threadsafe({callback!r}). When a real thread calls is not "
                "determined by the schedule; start the work as a task of an agent instead."
            )
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerStep:
        """Run ``callback`` after ``delay`` virtual seconds."""
        if self._closed:
            self._check_closed()
        if delay is None:
            raise TypeError("delay must not be None")
        world = self.world
        if context is None:
            context = copy_context()
        try:
            delay_ns = round(delay * NS_PER_SECOND)
        except OverflowError:
            return self._arm_for_ever(delay, callback, args, context)
        if world.skewed:
            delay_ns = (context.get(OWNER) or self.driver).node.clock.true_delay_ns(delay_ns)
        if not delay_ns and delay > 0:
            delay_ns = 1  # or a program that sleeps until a deadline would turn round within a nanosecond
        at_ns = world.now_ns + delay_ns  # what follows is _arm(), without a call: every sleep comes this way
        timer = TimerStep(at_ns / NS_PER_SECOND, callback, args, context, world)
        heapq.heappush(world.events, (at_ns, next(world.numbers), self._fire, timer))
        return timer

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerStep:
        """Run ``callback`` at virtual time ``when``, in seconds of :meth:`time`."""
        if self._closed:
            self._check_closed()
        if when is None:
            raise TypeError("when cannot be None")
        if context is None:
            context = copy_context()
        try:
            local_ns = at_ns = round(when * NS_PER_SECOND)
        except OverflowError:
            return self._arm_for_ever(when, callback, args, context)
        if self.world.skewed:
            at_ns = (context.get(OWNER) or self.driver).node.clock.true_ns(local_ns)
        if at_ns == self.world.now_ns and when > local_ns / NS_PER_SECOND:
            at_ns += 1  # as in call_later()
        return self._arm(at_ns, callback, args, context)

    def _arm(
        self, at_ns: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> TimerStep:
        world = self.world
        timer = TimerStep(at_ns / NS_PER_SECOND, callback, args, context, world)
        heapq.heappush(world.events, (at_ns, next(world.numbers), self._fire, timer))
        return timer

    def _arm_for_ever(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> TimerStep:
        """A timer at infinity is never due, so nothing waits for it: a sleep that never ends is no future event."""
        if when < 0:
            return self._arm(self.world.now_ns, callback, args, context)
        timer = TimerStep(when, callback, args, context, self.world)
        timer._scheduled = False
        return timer

    def time(self) -> float:
        """Virtual seconds since the run began, as the running agent's monotonic clock shows them."""
        return self.world.poll_monotonic() / NS_PER_SECOND

    def create_task(  # type: ignore[override]
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> Any:
        """Make a task that hashes by its number in this world."""
        if self._closed:
            self._check_closed()
        self._tasks_made += 1
        if self.world.cancels:
            life = OWNER.get() if context is None else context.get(OWNER)
            if life is not None and life.node.cancelling is not None:
                coro = life.node.cancelling.guard(coro)
        factory = self._task_factory
        task: Any
        if factory is None:
            task = new_task(self, self._tasks_made, coro, name, context, **options)
        elif factory is _EAGER:
            task = new_task(self, self._tasks_made, coro, name, context, **{"eager_start": True, **options})
        else:
            name = f"Task-{self._tasks_made}" if name is None else name
            task = super().create_task(coro, name=name, context=context, **options)
        task.life = OWNER.get() if context is None else context.get(OWNER)
        self._tasks.append(task)
        if len(self._tasks) > self._tasks_limit:
            self._tasks = self.live_tasks()
            self._tasks_limit = 2 * len(self._tasks) + _TASKS_KEPT
        return task

    def let_go(self) -> None:
        """The loop is closed: let go of what leads back to it, so that a small world ends without the garbage collector.

        Collecting the cycles of a world of three agents was measured at a fifth of its time.
        """
        self._tasks.clear()
        del self._fire
        self.world.let_go()

    def live_tasks(self) -> list[WorldTask]:
        """Return the tasks that are not done, oldest first; ``asyncio.all_tasks`` looks at those of every loop."""
        return [task for task in self._tasks if not task.done()]

    def done_tasks(self) -> list[WorldTask]:
        """Return the tasks that are done and still remembered, oldest first."""
        return [task for task in self._tasks if task.done()]

    # -- what would leave the world ------------------------------------------------------------------------------

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Run ``func`` on a thread, for the program of a host; else at once, inline, and return a finished future.

        Raises:
            SimulationEscapeError: a particular executor was named; its threads would run outside the schedule.
        """
        life = OWNER.get()
        if life is not None and life.node.is_host:
            if executor is None:  # a thread belongs to one life, so no two of them share an executor
                executor = life.executor = life.executor or ThreadPoolExecutor()
            return super().run_in_executor(executor, func, *args)
        if executor is not None:
            raise escape(
                f"loop.run_in_executor was given {executor!r}. Its threads would run outside the schedule; pass None (the "
                "function then runs at once, inline) or call the function directly."
            )
        if self._closed:
            self._check_closed()
        if self._executor_shutdown_called:
            raise RuntimeError("Executor shutdown has been called")
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            future.set_exception(error)
        return future

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        """Resolve a name: the simulated network answers at once."""
        return socket.getaddrinfo(*args, **options)

    async def getnameinfo(self, *args: Any, **options: Any) -> Any:
        """Look up the name of an address."""
        return socket.getnameinfo(args[0], args[1] if len(args) > 1 else options.get("flags", 0))

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Take no more calls of :meth:`run_in_executor`. There is nobody to wait for: each has run at once."""
        self._executor_shutdown_called = True
        if self._default_executor is not None:
            self._default_executor.shutdown(wait=False)

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Take a signal of the host's own process.

        Raises:
            SimulationEscapeError: an agent called, or the test itself: signals come from outside the schedule.
        """
        life = OWNER.get()
        if life is not None and life.node.is_host:
            signals_of(life.node).on_loop(sig, partial(callback, *args))
            return
        raise escape(
            f"loop.add_signal_handler({sig!r}) was called. Signals arrive from outside the schedule; send the agent a "
            "message, or use agent.crash() and agent.restart()."
        )

    def remove_signal_handler(self, sig: int) -> bool:
        """Take that back; return whether there was something to take back."""
        life = OWNER.get()
        return life is not None and life.node.is_host and signals_of(life.node).off_loop(sig)

    def _make_self_pipe(self) -> None:
        """There is no other thread to be woken by."""

    def _close_self_pipe(self) -> None:
        """There is nothing to close."""

    def _write_to_self(self) -> None:
        """There is nobody to wake."""
