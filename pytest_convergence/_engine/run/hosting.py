"""Runs a coroutine function in a fresh simulated world: the loop, the shims, the watchdog, and the end of it all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, final

from pytest_convergence._engine.base.choices import CalmChoices
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.quiet import quiet
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence._engine.sim.loop import WorldLoop
from pytest_convergence._engine.sim.node import Node
from pytest_convergence._engine.sim.shims import InsideRun
from pytest_convergence._engine.sim.tasks import WorldTask, cancel
from pytest_convergence._engine.sim.watchdog import Overrun, guard
from pytest_convergence._engine.sim.world import World
from pytest_convergence.errors import BudgetExceeded, ConvergenceUsageError, DeadlockError

__all__ = ["OpenRun", "current_loop", "real_seconds", "run_in_world", "stream"]

_CALM: Final = Network()
_TEST: Final = "test"
_ROUNDS_OF_BURYING: Final = 3


def stream(seed: int) -> random.Random:
    """Make the stream of a seeded schedule."""
    return random.Random(f"schedule/{seed}")


real_seconds: Final = time.perf_counter
"""Reads the machine's own clock, also inside a run: taken before the clocks are replaced, and left out of the sweep."""


def current_loop() -> WorldLoop | None:
    """Return the simulated loop that runs on this thread, or ``None``."""
    loop = asyncio._get_running_loop()
    return loop if isinstance(loop, WorldLoop) else None


def make_loop(seed: int, options: SessionOptions) -> WorldLoop:
    """Make a world and its loop."""
    world = World(seed=seed, max_events=options.get("max_events"), timeout_ns=options.timeout_ns())
    # Code that no agent started belongs to the test: a node of its own, in a fabric without links or trace.
    test = Node(Fabric(world, CalmChoices(), _CALM, seed=seed, trace=False), _TEST, 0, None)
    loop = WorldLoop(world, test.life)
    test.fabric.loop = loop
    return loop


def run_in_world(
    main: Callable[[], Coroutine[Any, Any, Any]], options: SessionOptions, *, seed: int = 0
) -> Any:
    """Run ``main()`` on a fresh simulated loop and return what it returns.

    Sessions that are executed inside share the loop's virtual time.

    Raises:
        ConvergenceUsageError: a loop is running on this thread already.
        BudgetExceeded: the run took more events, virtual or real time than ``options`` allow.
        DeadlockError: ``main`` waits for something that cannot happen.
    """
    if asyncio._get_running_loop() is not None:
        raise ConvergenceUsageError(
            "session.run() was called while an event loop is running; write `await session.execute(…)` instead."
        )
    loop = make_loop(seed, options)
    world = loop.world
    try:
        with InsideRun() as inside, guard(options.get("real_timeout"), "a convergence run") as budget:
            world.upkeep.append(lambda: inside.collection.point(world.happened))
            loop.budget = budget
            try:
                result = _run(loop, main)
            except Overrun:
                loop.cancelled_by = over_real_time(budget.stack, options)
                raise loop.cancelled_by from None
            except KeyboardInterrupt as interrupt:
                loop.cancelled_by = interrupt
                raise
            finally:
                generators = list(loop._asyncgens)
                try:
                    _finish(loop)
                finally:  # clearing away may be interrupted too
                    _close(loop, generators)
    finally:
        world.closed = True
        loop.close()
        loop.let_go()
    return result


def over_real_time(stack: str, options: SessionOptions) -> BudgetExceeded:
    """Build the error for a run that blocked the thread."""
    return BudgetExceeded(
        f"the run took more than real_timeout={options.get('real_timeout'):g} seconds of real time. Something blocks the "
        f"thread, or the run is too large (raise real_timeout). It was here:\n{stack}"
    )


@final
class OpenRun:
    """A coroutine function in a fresh world that is carried on bit by bit: between two bits the world stands still.

    Outside of :meth:`go_on` no loop runs and nothing is simulated, but the collector of garbage stays off until
    :meth:`close`, or it would decide when things end that belong to the run.

    Attributes:
        loop: the simulated loop; who stops it ends the present bit.
    """

    def __init__(
        self, main: Callable[[], Coroutine[Any, Any, Any]], options: SessionOptions, *, seed: int = 0
    ) -> None:
        self._options = options
        self.loop = make_loop(seed, options)
        self._inside = InsideRun()
        self._inside.collection.enter()
        world, collection = self.loop.world, self._inside.collection
        world.upkeep.append(lambda: collection.point(world.happened))
        self._is_open = True
        self._task, self._failure = _begin(self.loop, main)

    @property
    def is_over(self) -> bool:
        """Whether the function has returned, or the run was ended from outside."""
        return self._task.done() or bool(self._failure)

    def go_on(self) -> None:
        """Run until somebody stops the loop, or the function returns.

        Raises:
            BudgetExceeded, DeadlockError: as for :func:`run_in_world`; the budget of real time is that of one bit.
        """
        with self._entered():
            self.loop.run_forever()
        if self._failure:
            raise self._failure[0]

    def result(self) -> Any:
        """What the function returned, or raised."""
        return self._task.result()

    def close(self) -> None:
        """Clear the world away, whatever still runs in it. Closing twice does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        world = self.loop.world
        try:
            with self._entered():
                generators = list(self.loop._asyncgens)
                try:
                    _finish(self.loop)
                finally:
                    _close(self.loop, generators)
        finally:
            world.closed = True
            self._inside.collection.leave()
            self.loop.close()
            self.loop.let_go()

    @contextmanager
    def _entered(self) -> Iterator[None]:
        loop = self.loop
        with self._inside.again(), guard(self._options.get("real_timeout"), "a convergence run") as budget:
            loop.budget = budget
            try:
                yield
            except Overrun:
                loop.cancelled_by = over_real_time(budget.stack, self._options)
                raise loop.cancelled_by from None
            except KeyboardInterrupt as interrupt:
                loop.cancelled_by = interrupt
                raise


def _run(loop: WorldLoop, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    task, failure = _begin(loop, main)
    loop.run_forever()
    if failure:
        raise failure[0]
    return task.result()


def _begin(
    loop: WorldLoop, main: Callable[[], Coroutine[Any, Any, Any]]
) -> tuple[WorldTask, list[BaseException]]:
    """Make the task of ``main()``, whose end stops the loop; what ends the run from outside goes into the list."""
    world = loop.world
    task: WorldTask = loop.create_task(main(), name="main")
    failure: list[BaseException] = []

    def fail(error: BaseException) -> None:
        if not failure and not task.done():
            failure.append(error)
            loop.cancelled_by = error
            cancel(task)
            loop.stop()

    def idle() -> bool:
        if len(world.events) > world.background or not task.done():
            fail(
                DeadlockError(
                    f"deadlock at virtual time {world.now_ns / NS_PER_SECOND:g} s: nothing is runnable, no timer is set "
                    "and no message is in flight, but the test still waits."
                )
            )
        return False

    world.fail, world.idle = fail, idle
    task.add_done_callback(lambda _: loop.stop())
    return task, failure


def _finish(loop: WorldLoop) -> None:
    """Cancel what still runs, finalise async generators, then close what a crash had parked."""
    world = loop.world
    world.sessions.clear()
    world.fail = _ignore
    world.idle = bool
    world.after_step = None
    world.timeout_ns = world.max_events = 1 << 62
    left = loop.live_tasks()
    if left:
        for task in left:
            if _is_alive(task):
                cancel(task)
        loop.call_soon(_count_down, loop, 50)
        loop.run_forever()
    if loop._asyncgens:
        task = loop.create_task(loop.shutdown_asyncgens())
        task.add_done_callback(lambda _: loop.stop())
        loop.call_soon(_count_down, loop, 50)
        loop.run_forever()


def _ignore(_: BaseException) -> None:
    """The run is over: what goes wrong while it is cleared away is no finding."""


def _is_alive(task: WorldTask) -> bool:
    return task.life is None or task.life.alive


def _count_down(loop: WorldLoop, turns: int) -> None:
    """Stop the loop after so many turns: code that refuses to be cancelled must not hold up the test."""
    if turns == 0 or not any(_is_alive(task) for task in loop.live_tasks()):
        loop.stop()
    else:
        loop.call_soon(_count_down, loop, turns - 1)


def _close(loop: WorldLoop, generators: list[Any]) -> None:
    """Close the world, and what is left in it; what that still says on its way out is for nobody."""
    world = loop.world
    of_the_test = [loop.driver.node.fabric.close]  # always there, and silent
    if world.closers == of_the_test and not generators and not loop.live_tasks():
        world.close()
        return
    with quiet():
        world.close()
        _bury_all(loop, generators)


def _bury_all(loop: WorldLoop, generators: list[Any]) -> None:
    """Close what will never run again: tasks, and what asynchronous generators wait in.

    Closing a task does not reach into a generator that it iterates over; what that waits in would be closed when it is
    thrown away, after the loop, and what goes wrong then would be shown. What is closed may start tasks, which never run.
    """
    buried: set[int] = set()
    for _ in range(_ROUNDS_OF_BURYING):
        for left in loop.live_tasks():
            if id(left) not in buried:
                buried.add(id(left))
                _bury(left)
        for generator in generators:
            waits_in = getattr(generator, "ag_await", None)
            with suppress(Exception, GeneratorExit, asyncio.CancelledError):
                if waits_in is not None:
                    waits_in.close()


def _bury(task: WorldTask) -> None:
    """Close the coroutine of a task that will never run again; the world is closed, so it can touch nothing."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coro: Any = task.get_coro()
    # Its `finally` failed: nobody is left to care.
    with suppress(Exception, GeneratorExit, asyncio.CancelledError):
        coro.close()
