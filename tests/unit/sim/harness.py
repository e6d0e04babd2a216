"""Small worlds for tests: a coroutine on a simulated loop, or a session with agents."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.hosting import run_in_world
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.loop import WorldLoop

T = TypeVar("T")
_NUMBERS = count(1)


def simulate(main: Callable[[], Coroutine[Any, Any, T]], *, seed: int = 0, **options: Any) -> T:
    """Run ``main()`` on a simulated loop of its own and return what it returns."""
    result: T = run_in_world(main, SessionOptions.parse(options), seed=seed)
    return result


def on_stock_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` on CPython's own loop."""
    with asyncio.Runner() as runner:
        return runner.run(main())


def running_loop() -> WorldLoop:
    """The simulated loop that runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WorldLoop)
    return loop


def make_session(**options: Any) -> Session:
    """Make a session of an engine of its own."""
    return ConvergenceEngine().create_session(f"session {next(_NUMBERS)}", **options)


def run_session(
    scenario: Callable[[Session], Coroutine[Any, Any, Any]] | None = None,
    *,
    inputs: dict[str, Any] | None = None,
    **options: Any,
) -> Outcome:
    """Make a session, run it, return its outcome."""
    return make_session(**options).run(scenario, **(inputs or {}))


def threads_left(known: set[threading.Thread]) -> list[str]:
    """Name the threads that are alive and were not known, once those have ended that are about to.

    For its program a thread has ended a moment before the machine is done with it.
    """
    others = [thread for thread in threading.enumerate() if thread not in known]
    others = [thread for thread in others if not thread.name.startswith("pytest-convergence watchdog")]
    for thread in others:
        thread.join(60)
    return [thread.name for thread in others if thread.is_alive()]
