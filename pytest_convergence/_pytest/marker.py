"""The marker ``convergence``: its options are checked when tests are collected, all bad ones at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, final

import pytest

from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.patterns.registry import PatternRegistry
from pytest_convergence._engine.run.known import Known
from pytest_convergence._engine.run.options import UNSET, SessionOptions
from pytest_convergence._pytest.bodies import is_async
from pytest_convergence._pytest.course import Course
from pytest_convergence._pytest.options import SETTINGS, Settings, split_profile
from pytest_convergence._pytest.token_files import token_text
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["PLAN", "Plan", "check_names", "known_names", "plan_all", "plan_of"]

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
        schedules: under how many schedules at most.
        seconds: real seconds after which no further one is begun, ``None`` for any time.
        is_marked: whether the test carries the marker; others just use the fixtures.
        is_async: whether its body is a coroutine function that runs on the simulated loop.
        is_given: whether Hypothesis calls the body, example by example.
        course: what its sessions follow, where a schedule was pinned or is replayed.
        is_machine: whether it is the ``TestCase`` of a ``ConvergenceStateMachine``.
    """

    options: SessionOptions
    schedules: int
    is_marked: bool
    is_async: bool
    is_given: bool
    course: Course | None = None
    seconds: float | None = None
    is_machine: bool = False


_ANY_NUMBER: Final = 1_000_000_000
"""Of schedules, where time alone ends the search."""

PLAN: Final = pytest.StashKey[Plan]()


_KNOWN: Final = pytest.StashKey[Known]()


def known_names(config: pytest.Config) -> Known:
    """Return the patterns and properties that tests may name: built-in ones, and those of plugins and conftest.py files.

    Raises:
        ConvergenceUsageError: what a plugin returned is no pattern or no property, or a name is taken.
    """
    known = config.stash.get(_KNOWN, None)
    if known is None:
        patterns = _answers(config, "pattern")
        properties = _answers(config, "property")
        with _blaming(_HOOKS["pattern"]):
            PatternRegistry(patterns)
        with _blaming(_HOOKS["property"]):
            PropertyRegistry(properties)
        with _blaming(f"{_HOOKS['pattern']} or {_HOOKS['property']}"):
            known = config.stash[_KNOWN] = Known(patterns, properties)
    return known


def _answers(config: pytest.Config, what: str) -> list[Any]:
    """Ask all who implement the hook for patterns, or for properties."""
    kind = _KINDS[what]
    asked = getattr(config.hook, _HOOKS[what])
    found: list[Any] = []
    for answer in asked(config=config):
        if isinstance(answer, kind):  # a pattern may be iterable itself (a named tuple, say)
            found.append(answer)
        elif isinstance(answer, ModuleType):
            found += {id(each): each for each in vars(answer).values() if isinstance(each, kind)}.values()
        elif isinstance(answer, str) or not isinstance(answer, Iterable):
            raise ConvergenceUsageError(
                f"bad answer to the hook {_HOOKS[what]}: it returns a {what} object or a list of them, not {answer!r}."
            )
        else:
            found += answer
    return found


_MOST_EXHAUSTIVE: Final = 10_000
"""Where an exhaustive search stops that is given no number of schedules."""
_EXHAUSTIBLE: Final = frozenset({"reorder", "delay", "loss", "crash"})

_HOOKS: Final = {"pattern": "pytest_convergence_patterns", "property": "pytest_convergence_properties"}
_KINDS: Final[dict[str, type]] = {"pattern": Pattern, "property": Property}


@contextmanager
def _blaming(hook: str) -> Iterator[None]:
    try:
        yield
    except ConvergenceUsageError as error:
        raise ConvergenceUsageError(f"bad answer to the hook {hook}: {error}") from None


def check_names(config: pytest.Config) -> None:
    """Ask for the patterns and properties that plugins add.

    Raises:
        pytest.UsageError: what one returned is no pattern or no property, or a name is taken.
    """
    try:
        known_names(config)
    except ConvergenceUsageError as error:
        raise pytest.UsageError(str(error)) from None


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
        named = dict(known_names(item.config).resolved(mark.kwargs))
        if isinstance(named.get("schedule"), str):
            named["schedule"] = token_text(named["schedule"], item.path.parent)
        options = SessionOptions.parse(named)
        merged = options if merged is None else merged.over(options)
    return merged


def _layered(marked: SessionOptions, settings: Settings) -> SessionOptions:
    """Put the command line over the marker, and the marker over the ini file."""
    layers = []
    for layer in (settings.command_line, settings.ini):
        given = {name: getattr(layer, name) for name in ("schedules", "search_seconds", "seed")}
        given |= split_profile(layer.profile)
        layers.append(SessionOptions(**{name: value for name, value in given.items() if value is not None}))
    return layers[0].over(marked).over(layers[1])


def is_machine(item: pytest.Item) -> bool:
    """Whether a test is the ``TestCase`` of a ``ConvergenceStateMachine``, which asks for no fixture and has no marker."""
    return getattr(getattr(item, "cls", None), "convergence_machine", None) is not None


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
    seconds = options.get("search_seconds")
    schedules = _schedules(options)
    if marked is not None and not is_function and schedules > 1:
        raise ConvergenceUsageError(
            f"schedules={schedules}: only test functions and methods of plain classes can be repeated."
        )
    if is_given and marked is not None and marked.explore == "exhaustive":
        raise ConvergenceUsageError(
            "explore='exhaustive' chooses the schedules of a test itself, and Hypothesis its examples: use one of the two. "
            "Parametrize the test instead, or draw schedules by pytest_convergence.strategies.schedules()."
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
        seconds=seconds,
        is_machine=is_machine(item),
    )
    return plan


def _schedules(options: SessionOptions) -> int:
    """Under how many schedules to run, at the most.

    Raises:
        ConvergenceUsageError: an exhaustive search was asked for faults that it does not inject.
    """
    if options.get("explore") != "exhaustive":
        unbounded = options.get("search_seconds") is not None and options.schedules is UNSET
        return _ANY_NUMBER if unbounded else int(options.get("schedules"))
    for kind in options.get("faults"):
        if kind not in _EXHAUSTIBLE:
            raise ConvergenceUsageError(
                f"faults={[kind]!r}: explore='exhaustive' goes through the orders of messages, losses and crashes "
                "(faults=['reorder', 'delay', 'loss', 'crash']), and has no end with other faults. Let the test itself cut "
                "links or pause agents, or search with explore='random'."
            )
    return _MOST_EXHAUSTIVE if options.schedules is UNSET else int(options.schedules)


def _course(item: pytest.Item, options: SessionOptions) -> Course | None:
    """Return the schedules that the command line replays, or that the marker pins."""
    pinned = options.get("schedule")
    token = item.config.stash[SETTINGS].replay or (pinned if isinstance(pinned, str) else None)
    return None if token is None else Course.of_token(token)


def _refuse_replay(marked: list[str], given: list[str]) -> None:
    """Refuse to replay a token on a test of Hypothesis: the token holds a schedule, and nothing else that was drawn."""
    if given and (not marked or marked[0] in given):
        raise pytest.UsageError(
            f"--convergence-replay cannot replay {given[0]}: Hypothesis makes its examples, and a token holds the schedule "
            "and nothing else that Hypothesis drew. Run the test again without the option (Hypothesis tries the failures in "
            "its database first), or pin the example: @example(schedule=Schedule.parse(TOKEN), …), as its report shows it."
        )


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
    settings = items[0].config.stash[SETTINGS]
    if len(marked) > 1 and settings.steps:
        raise pytest.UsageError(
            f"--convergence-step walks through one test, but {len(marked)} tests with the marker are selected "
            f"({marked[0]}, …). Name one: pytest path::test --convergence-step"
        )
    if len(marked) > 1 and settings.replay is not None:
        raise pytest.UsageError(
            f"--convergence-replay replays one test, but {len(marked)} tests with the marker are selected "
            f"({marked[0]}, …). Name the one that the token belongs to: pytest path::test --convergence-replay=TOKEN"
        )
    if settings.replay is not None:
        given = [item.nodeid for item in items if PLAN in item.stash and item.stash[PLAN].is_given]
        _refuse_replay(marked, given)
    if wrong:
        raise pytest.UsageError("bad use of the marker 'convergence':\n  " + "\n  ".join(wrong))
