"""The marker ``convergence``: its options are checked when tests are collected, all bad ones at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

import pytest

from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.patterns.registry import PatternRegistry
from pytest_convergence._engine.run.options import SessionOptions, known_patterns, with_pattern
from pytest_convergence._pytest.bodies import is_async
from pytest_convergence._pytest.course import Course
from pytest_convergence._pytest.options import SETTINGS, Settings
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["PLAN", "Plan", "check_patterns", "patterns_of", "plan_all", "plan_of"]

_FACTORY_ONLY: Final = frozenset({"goal", "states", "name"})
_MARKER_OPTIONS: Final = tuple(
    name for name in SessionOptions.__dataclass_fields__ if name not in _FACTORY_ONLY
)


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """How one test is run.

    Attributes:
        options: what the command line, the markers and the ini file say together, the closest first.
        schedules: under how many schedules.
        is_marked: whether the test carries the marker; others just use the fixtures.
        is_async: whether its body is a coroutine function that runs on the simulated loop.
        is_given: whether Hypothesis calls the body, example by example.
        course: what its sessions follow, where a schedule was pinned or is replayed.
    """

    options: SessionOptions
    schedules: int
    is_marked: bool
    is_async: bool
    is_given: bool
    course: Course | None = None


PLAN: Final = pytest.StashKey[Plan]()


_PATTERNS: Final = pytest.StashKey[PatternRegistry]()


def patterns_of(config: pytest.Config) -> PatternRegistry:
    """Return the patterns that tests may name: the built-in ones, and those that plugins and conftest.py files add.

    Raises:
        ConvergenceUsageError: what a plugin returned is no pattern, or a name is taken.
    """
    known = config.stash.get(_PATTERNS, None)
    if known is None:
        added: list[Any] = []
        for answer in config.hook.pytest_convergence_patterns(config=config):
            # A pattern may be iterable itself (a named tuple, say), so that is asked first.
            added += [answer] if isinstance(answer, Pattern) else _listed(answer)
        known = config.stash[_PATTERNS] = known_patterns(added)
    return known


def check_patterns(config: pytest.Config) -> None:
    """Ask for the patterns that plugins add.

    Raises:
        pytest.UsageError: what one returned is no pattern, or a name is taken.
    """
    try:
        patterns_of(config)
    except ConvergenceUsageError as error:
        raise pytest.UsageError(f"bad answer to the hook pytest_convergence_patterns: {error}") from None


def _listed(answer: object) -> list[object]:
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise ConvergenceUsageError(
            f"the hook pytest_convergence_patterns returns a pattern object or a list of them, not {answer!r}."
        )
    return list(answer)


def _marked_options(item: pytest.Item) -> SessionOptions | None:
    """Merge the markers of ``item``, the closest first; ``None`` if there is none.

    Raises:
        ConvergenceUsageError: an option is wrong.
    """
    merged: SessionOptions | None = None
    # A mark of a parameter is closer than those of the function, but pytest lists it after them.
    of_parameters = getattr(getattr(item, "callspec", None), "marks", ())
    marks = sorted(item.iter_markers("convergence"), key=lambda mark: mark not in of_parameters)
    for mark in marks:
        if mark.args:
            raise ConvergenceUsageError(
                f"the marker takes keywords only, not {mark.args[0]!r}; write @pytest.mark.convergence(pattern=…, agents=…)."
            )
        for name in mark.kwargs:
            if name in _FACTORY_ONLY:
                raise ConvergenceUsageError(
                    f"{name!r} is no option of the marker; give it to convergence_session_factory({name}=…)."
                )
            if name not in _MARKER_OPTIONS:
                raise unknown_name("option", name, _MARKER_OPTIONS)
        options = SessionOptions.parse(with_pattern(mark.kwargs, patterns_of(item.config)))
        merged = options if merged is None else merged.over(options)
    return merged


def _layered(marked: SessionOptions, settings: Settings) -> SessionOptions:
    """Put the command line over the marker, and the marker over the ini file."""
    layers = []
    for layer in (settings.command_line, settings.ini):
        given = {"schedules": layer.schedules, "seed": layer.seed, "network": layer.profile}
        layers.append(SessionOptions(**{name: value for name, value in given.items() if value is not None}))
    return layers[0].over(marked).over(layers[1])


def plan_of(item: pytest.Item) -> Plan:
    """Return the plan of a test, made when it was collected or now.

    Raises:
        ConvergenceUsageError: its marker is wrong.
    """
    plan = item.stash.get(PLAN, None)
    if plan is not None:
        return plan
    marked = _marked_options(item)
    options = _layered(SessionOptions() if marked is None else marked, item.config.stash[SETTINGS])
    obj = getattr(item, "obj", None)
    is_given = bool(getattr(obj, "is_hypothesis_test", False))
    # pytest calls the methods of unittest.TestCase in a way of its own, without fixtures as arguments.
    is_function = isinstance(item, pytest.Function) and not getattr(item, "nofuncargs", False)
    schedules: int = options.get("schedules")
    if marked is not None and not is_function and schedules > 1:
        raise ConvergenceUsageError(
            f"schedules={schedules}: only test functions and methods of plain classes can be repeated."
        )
    course = _course(item, options) if marked is not None else None
    plan = item.stash[PLAN] = Plan(
        options=options,
        # Hypothesis tries many examples by itself, each of them a run; repeating it all would multiply the two.
        schedules=1 if marked is None or is_given or course is not None else schedules,
        is_marked=marked is not None,
        is_async=marked is not None and is_function and is_async(obj),
        is_given=is_given,
        course=course,
    )
    return plan


def _course(item: pytest.Item, options: SessionOptions) -> Course | None:
    """Return the schedules that the command line replays, or that the marker pins."""
    pinned = options.get("schedule")
    token = item.config.stash[SETTINGS].replay or (pinned if isinstance(pinned, str) else None)
    return None if token is None else Course.of_token(token)


def plan_all(items: Iterable[pytest.Item]) -> None:
    """Plan every marked test.

    Raises:
        pytest.UsageError: markers are wrong; the message lists all of them.
    """
    wrong = []
    items = list(items)
    for item in items:
        try:
            plan_of(item)
        except ConvergenceUsageError as error:
            wrong.append(f"{item.nodeid}: {error}")
    marked = [item.nodeid for item in items if PLAN in item.stash and item.stash[PLAN].is_marked]
    if len(marked) > 1 and items[0].config.stash[SETTINGS].replay is not None:
        raise pytest.UsageError(
            f"--convergence-replay replays one test, but {len(marked)} tests with the marker are selected "
            f"({marked[0]}, …). Name the one that the token belongs to: pytest path::test --convergence-replay=TOKEN"
        )
    if wrong:
        raise pytest.UsageError("bad use of the marker 'convergence':\n  " + "\n  ".join(wrong))
