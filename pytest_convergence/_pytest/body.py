"""Runs the body of a marked test: on the simulated loop if it is async, and under as many schedules as asked for."""

from __future__ import annotations

import functools
import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple

import pytest

from pytest_convergence._engine.run.compare import first_difference
from pytest_convergence._engine.run.hosting import run_in_world
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.sim.shims.collection import many_runs
from pytest_convergence._pytest.async_fixtures import resolved, value_of
from pytest_convergence._pytest.database import keep_failure, known_failures
from pytest_convergence._pytest.examples import drawn_arguments
from pytest_convergence._pytest.exploring import Exploration
from pytest_convergence._pytest.failures import FAILURES, Elsewhere
from pytest_convergence._pytest.findings import effective_seed, schedule_words
from pytest_convergence._pytest.hash_seeds import is_second_process, note_run
from pytest_convergence._pytest.isolation import isolated, shown_here
from pytest_convergence._pytest.leaks import Leaks
from pytest_convergence._pytest.marker import Plan
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.renewal import renew_fixtures
from pytest_convergence._pytest.replaying import words_of_failure
from pytest_convergence._pytest.running_test import RunningTest, derive_seed
from pytest_convergence._pytest.search import Once, counterexample_of

__all__ = ["call_body", "is_ours"]


_LEAST_RUNS: Final = 4
"""There must be time for so many runs, or a reduction is not begun."""


def is_ours(item: pytest.Function, running: RunningTest) -> bool:
    """Whether pytest's own way to call the body would not do."""
    plan = running.plan
    return plan.is_marked and (plan.is_async or not plan.is_given) and not getattr(item, "nofuncargs", False)


def _checks_determinism(item: pytest.Item, running: RunningTest) -> bool:
    # Hypothesis runs examples again by itself, and says so where an example behaves differently.
    asked = any(prop.name == "deterministic_replay" for prop in running.plan.options.get("properties"))
    return (asked or item.config.stash[SETTINGS].check_determinism) and not running.plan.is_given


class _Ways(NamedTuple):
    """How the body is run once: as the test asks for, and in this process; they differ where runs are isolated."""

    once: Once
    here: Once


def _ways(item: pytest.Item, plan: Plan) -> _Ways:
    here = _call_on_the_loop if plan.is_async else _call_plainly
    return _Ways(isolated(here) if item.config.stash[SETTINGS].isolate else here, here)


def call_body(item: pytest.Function, running: RunningTest) -> None:
    """Run the body under each schedule; the first failure ends it."""
    __tracebackhide__ = True
    plan = running.plan
    if plan.is_given:
        with _examples_on_the_loop(item, running):
            _call(item)
        return
    with many_runs():
        _explore(item, running)


def _explore(item: pytest.Function, running: RunningTest) -> None:
    __tracebackhide__ = True
    plan = running.plan
    ways = _ways(item, plan)
    again = _checks_determinism(item, running)
    running.keeps_traces = again
    tried = False
    search = Exploration(item, running)
    for begin in known_failures(running) if search.is_first else ():
        renew_fixtures(item, begin)
        tried = True
        failure = _failure(item, running, ways, search.found)
        if failure is not None:
            raise failure
    for index, approach in search:
        if index or again or tried or approach.schedules is not None:
            watched = search.explorer.watches
            renew_fixtures(item, functools.partial(running.begin_run, index, approach, watched=watched))
        leaks = Leaks(item) if again else None
        failure = _failure(item, running, ways, search.found)
        if failure is not None:
            raise failure
        search.explorer.ran(approach, running.run.seen or ())
        if leaks is not None:
            note_run(item, index, running.traces())
            if not is_second_process():
                _run_again(item, running, ways, leaks)
    if search.explorer.summary:
        running.said.append(f"{running.nodeid}: {search.explorer.summary}")


def _run_again(
    item: pytest.Function,
    running: RunningTest,
    ways: _Ways,
    leaks: Leaks,
) -> None:
    """Run the body under the present schedule once more, and compare the two runs."""
    __tracebackhide__ = True
    first = running.traces()
    left_behind = leaks.found()
    renew_fixtures(item, running.begin_run_again)
    failure: BaseException | None = None
    try:
        ways.once(item, running)
    except Exception as error:
        failure = error
    if failure is not None:
        failure = shown_here(item, running, ways.here, failure)
        failure.add_note("(this was the second run under the same schedule; the first one passed)")
        if left_behind:
            failure.add_note(left_behind)
        raise failure
    _compare(first, running, left_behind)


def _failure(
    item: pytest.Function,
    running: RunningTest,
    ways: _Ways,
    found: Callable[[], None] = lambda: None,
) -> BaseException | None:
    """Run the body once; return what went wrong, of the smallest run in which it does. ``found`` is told at once."""
    began = time.perf_counter()
    try:
        ways.once(item, running)
    except FAILURES as error:
        running.found_by, running.found_seed = schedule_words(running), effective_seed(running)
        running.needs_isolation = isinstance(error, Elsewhere) and error.is_dead
        failure: BaseException = error
    else:
        return None
    found()
    # Outside of the handler: the smallest run's error has nothing to do with the handling of the first one.
    took = time.perf_counter() - began
    tried = running.run.known_failure
    if _may_shrink(item, running, took):
        failure = counterexample_of(item, running, ways.once, ways.here, failure)
        keep_failure(running, tried)
    else:
        running.notes += words_of_failure(running)
    return shown_here(item, running, ways.here, failure)


def _may_shrink(item: pytest.Function, running: RunningTest, seconds: float) -> bool:
    """Whether there is a schedule that could be reduced, and time to do so after a run that took so many ``seconds``.

    A run that blocks until its real time is up would only be repeated until the time to shrink is up too.
    """
    followed = [told.schedule for told in running.run.told if told.state is not SessionState.INITIALIZING]
    settings = item.config.stash[SETTINGS]
    # A report shows what agents held at every step, which is recorded in a run of its own.
    wanted = bool(followed) and settings.report is not None
    return settings.shrink_seconds > _LEAST_RUNS * seconds and (
        wanted or any(schedule.kind in ("seeded", "directed") or schedule.deviations for schedule in followed)
    )


def _arguments(item: pytest.Function) -> dict[str, Any]:
    names: tuple[str, ...] = item._fixtureinfo.argnames
    return {name: item.funcargs[name] for name in names}


def _call(item: pytest.Function) -> None:
    __tracebackhide__ = True
    _check_returned(item, item.obj(**_arguments(item)))


def _call_plainly(item: pytest.Function, running: RunningTest) -> None:
    __tracebackhide__ = True
    _call(item)


def _check_returned(item: pytest.Function, result: object) -> None:
    """Say what pytest says when a test returns something."""
    if result is not None:
        warnings.warn(
            pytest.PytestReturnNotNoneWarning(
                f"Test functions should return None, but {item.nodeid} returned {type(result)!r}. "
                "Did you mean to use `assert`?"
            ),
            stacklevel=2,
        )


def _call_on_the_loop(item: pytest.Function, running: RunningTest) -> None:
    """Run an async body, with its async fixtures, in a world of its own."""
    __tracebackhide__ = True
    arguments = _arguments(item)

    async def main() -> object:
        __tracebackhide__ = True
        async with resolved(item):
            result = item.obj(**{name: value_of(argument) for name, argument in arguments.items()})
            return await result if inspect.isawaitable(result) else result

    _check_returned(item, run_in_world(main, running.defaults(), seed=_world_seed(running)))


def _world_seed(running: RunningTest) -> int:
    """What the private entropy of the test's own code derives from."""
    seed = running.run.seed
    return derive_seed(running.nodeid, None, 0) if seed is None else seed


@contextmanager
def _examples_on_the_loop(item: pytest.Function, running: RunningTest) -> Iterator[None]:
    """Let Hypothesis call an async body: each example in a world of its own."""
    handle = item.obj.hypothesis
    inner = handle.inner_test

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True

        async def main() -> object:
            __tracebackhide__ = True
            async with resolved(item):
                return await inner(*args, **{name: value_of(value) for name, value in kwargs.items()})

        examples = running.examples
        with nullcontext() if examples is None else examples.one(drawn_arguments(item, kwargs)):
            run_in_world(main, running.defaults(), seed=_world_seed(running))

    handle.inner_test = example
    try:
        yield
    finally:
        handle.inner_test = inner


def _compare(first: Mapping[str, Any], running: RunningTest, left_behind: str) -> None:
    """Fail if two runs under one schedule were not the same."""
    __tracebackhide__ = True
    second = running.traces()
    words = None
    if list(first) != list(second):
        words = f"the first run had the sessions {list(first)}, the second {list(second)}"
    for label, trace in first.items() if words is None else ():
        difference = first_difference(trace, second[label])
        if difference is not None:
            words = f"session {label!r}: {difference}"
            break
    if words is not None:
        lines = ("the same schedule was run twice, and the two runs differ.", words, left_behind)
        pytest.fail("\n".join(filter(None, lines)), pytrace=False)
