"""What a session can be told: one keyword-only class for the marker, the factory and the engine.

Every option is checked as early as it is known: names and ranges in :meth:`SessionOptions.parse` (at collection, for a
marker), combinations when a session is made.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import FunctionType
from typing import Any, Final, final

from pytest_convergence._engine.base.noise import check_noise
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.time import to_ns
from pytest_convergence._engine.base.trace import DEFAULT_WINDOW
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.registry import find_pattern
from pytest_convergence._engine.run.goal import Goal
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.faults import FAULT_KINDS
from pytest_convergence._engine.sim.plans import FaultPlan
from pytest_convergence._engine.state.plan import as_plan
from pytest_convergence._engine.state.sync import as_sync
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DEFAULTS", "NOTHING_SET", "UNSET", "SessionOptions", "is_machine_class"]


class _Unset(enum.Enum):
    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset.UNSET
"""Stands for an option that was not given."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "pattern": None,
    "agents": None,
    "protocol": None,
    "network": "perfect",
    "faults": (),
    "schedules": 1,
    "explore": "random",
    "faults_at_most": 1,
    "noise": None,
    "search_seconds": None,
    "sync": "delta",
    "resolve": "last-write",
    "seed": None,
    "timeout": 86_400,
    "trace": True,
    "max_events": 10**7,
    "real_timeout": 60,
    "properties": (),
    "may_try": (),
    "schedule": None,
    "goal": None,
    "states": None,
    "name": "session",
}
"""What an option is if nobody sets it."""

_DEFAULT_TIMEOUT_NS: Final = to_ns(DEFAULTS["timeout"])
_EXPLORERS: Final = ("random", "pct", "exhaustive")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """The options of a session; what is not given is ``UNSET``.

    Attributes:
        pattern: the name of a pattern, a pattern object, or ``None``.
        agents: how many, their names, or a mapping from names to behaviours.
        protocol: what takes the place of the pattern's reference protocol: a coroutine function or a machine class for
            all agents, or a mapping from names to such.
        network: the name of a profile, or a :class:`Network`.
        faults: kinds of faults that schedules may inject.
        schedules: under how many schedules the test body runs.
        explore: how schedules are searched.
        faults_at_most: how many faults one run of an exhaustive search may have.
        search_seconds: real seconds after which no further schedule is begun; alone, it replaces ``schedules``.
        noise: the profile of noise of a seeded schedule; ``None`` for uniform noise, and in a search for all in turn.
        sync, resolve: how replicas exchange updates and resolve conflicts.
        seed: a whole number; derives every choice.
        timeout: virtual seconds that a run may take.
        trace: whether to record; a number sets how many of the newest events are kept.
        max_events: how many steps and events a run may take.
        real_timeout: real seconds that a run may take, ``None`` for no bound.
        properties: names or property objects, on top of the pattern's own.
        may_try: refused calls that programs may try: these fail, and the session does not.
        schedule: a :class:`Schedule`, the token of one, or a :class:`FaultPlan` to follow, instead of a seed.
        goal: a :class:`Goal` or its description.
        states: initial states by agent, as ``conflicting_states`` draws them.
        name: the session's name.
    """

    pattern: Any = UNSET
    agents: Any = UNSET
    protocol: Any = UNSET
    network: Any = UNSET
    faults: Any = UNSET
    schedules: Any = UNSET
    explore: Any = UNSET
    faults_at_most: Any = UNSET
    noise: Any = UNSET
    search_seconds: Any = UNSET
    sync: Any = UNSET
    resolve: Any = UNSET
    seed: Any = UNSET
    timeout: Any = UNSET
    trace: Any = UNSET
    max_events: Any = UNSET
    real_timeout: Any = UNSET
    properties: Any = UNSET
    may_try: Any = UNSET
    schedule: Any = UNSET
    goal: Any = UNSET
    states: Any = UNSET
    name: Any = UNSET

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> SessionOptions:
        """Check names and values, one by one.

        Raises:
            ConvergenceUsageError: an option does not exist or its value is out of range; the message names the value, what
                is allowed and the nearest match.
        """
        for name in options:
            if name not in DEFAULTS:
                raise unknown_name("option", name, DEFAULTS)
        for name, value in options.items():
            check = _CHECKS.get(name)
            if check is not None and value is not UNSET:
                check(value)
        return cls(**options)

    def over(self, farther: SessionOptions) -> SessionOptions:
        """Return these options, filled up from ``farther`` ones."""
        if farther is NOTHING_SET:
            return self
        pairs = zip(_NAMES, _values(self), _values(farther), strict=True)
        return SessionOptions(**{name: far if mine is UNSET else mine for name, mine, far in pairs})

    def get(self, name: str) -> Any:
        """Return an option's value, or its default."""
        value = getattr(self, name)
        return DEFAULTS[name] if value is UNSET else value

    # -- what the values mean ------------------------------------------------------------------------------------

    def agent_behaviours(self) -> dict[str, Any]:
        """Return the agents: name -> behaviour or ``None``."""
        agents = self.get("agents")
        if agents is None:
            return {}
        if isinstance(agents, int):
            return {f"agent-{number}": None for number in range(1, agents + 1)}
        if isinstance(agents, Mapping):
            return dict(agents)
        return dict.fromkeys(agents)

    def pattern_object(self) -> Any:
        """Return the configured pattern, or ``None``."""
        pattern = self.get("pattern")
        return None if pattern is None else find_pattern(pattern)

    def trace_window(self) -> int:
        """How many events the trace keeps; 0 when it is off."""
        trace = self.get("trace")
        if isinstance(trace, bool):
            return DEFAULT_WINDOW if trace else 0
        return int(trace)

    def timeout_ns(self) -> int:
        """The bound of virtual time, in nanoseconds."""
        return _DEFAULT_TIMEOUT_NS if self.timeout is UNSET else to_ns(self.timeout)


NOTHING_SET: Final = SessionOptions()
"""No option at all: what an engine outside pytest begins with."""

_NAMES: Final = tuple(DEFAULTS)
_values: Final = attrgetter(*_NAMES)


# -- checks of single values ---------------------------------------------------------------------------------------------


_has_mark: Final = re.compile("[→#/\n]").search


def _check_agents(agents: Any) -> None:
    if agents is None:
        return
    if isinstance(agents, bool | str):
        raise ConvergenceUsageError(f"agents must be a number, a list of names or a mapping, not {agents!r}.")
    if isinstance(agents, int):
        if agents < 1:
            raise ConvergenceUsageError(
                f"agents={agents!r}: a session needs at least one agent; leave agents out for none."
            )
        return
    if isinstance(agents, Mapping):
        for name, behaviour in agents.items():
            _check_behaviour(name, behaviour)
    elif not isinstance(agents, Iterable):
        raise ConvergenceUsageError(f"agents must be a number, a list of names or a mapping, not {agents!r}.")
    names = list(agents)
    if not names:
        raise ConvergenceUsageError(
            f"agents={agents!r}: a session needs at least one agent; leave agents out for none."
        )
    for name in names:
        if not isinstance(name, str) or not name or _has_mark(name):
            raise ConvergenceUsageError(
                f"agent names must be non-empty strings without '→', '#', '/' or line breaks, not {name!r}."
            )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ConvergenceUsageError(f"the agent {twice[0]!r} is named twice; names must be unique.")


def is_machine_class(behaviour: Any) -> bool:
    """Whether ``behaviour`` is a class of protocol state machines."""
    return inspect.isclass(behaviour) and all(
        callable(getattr(behaviour, name, None)) for name in ("on_start", "on_message", "on_timer")
    )


def _check_behaviour(name: Any, behaviour: Any) -> None:
    if type(behaviour) is FunctionType and behaviour.__code__.co_flags & inspect.CO_COROUTINE:
        return  # the usual case, told at once
    if behaviour is None or is_machine_class(behaviour):
        return
    inner = behaviour
    while hasattr(inner, "func") and not inspect.iscoroutinefunction(inner):
        inner = inner.func  # functools.partial
    by_call = getattr(type(inner), "__call__", None)  # noqa: B004 - asked what it is, not whether it is there
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(by_call):
        return
    what = (
        "is an async generator: it yields"
        if inspect.isasyncgenfunction(inner)
        else "is not a coroutine function"
    )
    raise ConvergenceUsageError(
        f"the behaviour of agent {name!r}, {behaviour!r}, {what}. A behaviour is `async def behaviour(agent): …`, or a "
        "machine class with on_start, on_message and on_timer."
    )


def _check_protocol(protocol: Any) -> None:
    if protocol is None:
        return
    for name, own in protocol.items() if isinstance(protocol, Mapping) else [("every agent", protocol)]:
        _check_behaviour(name, own)


def _check_network(network: Any) -> None:
    Network.of(network)


def _check_faults(faults: Any) -> None:
    if isinstance(faults, str) or not isinstance(faults, Iterable):
        raise ConvergenceUsageError(
            f"faults must be a list of kinds, such as ['crash', 'partition'], not {faults!r}."
        )
    for kind in faults:
        if kind not in FAULT_KINDS:
            raise unknown_name("fault", kind, FAULT_KINDS)


def _whole(name: str, least: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConvergenceUsageError(f"{name} must be a whole number >= {least}, not {value!r}.")

    return check


def _seconds(name: str, *, optional: bool = False) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if optional and value is None:
            return
        if to_ns(value, name) == 0:
            raise ConvergenceUsageError(f"{name} must be greater than 0 seconds, not {value!r}.")

    return check


def _check_explore(explore: Any) -> None:
    if explore not in _EXPLORERS:
        raise unknown_name("explore strategy", explore, _EXPLORERS)


def _check_noise(noise: Any) -> None:
    if noise is not None:
        check_noise(noise)


def _check_sync(sync: Any) -> None:
    as_sync(sync)


def _check_resolve(resolve: Any) -> None:
    as_plan(resolve)


def _check_seed(seed: Any) -> None:
    if seed is not None:
        Schedule.seeded(seed)


def _check_trace(trace: Any) -> None:
    if not isinstance(trace, bool) and (not isinstance(trace, int) or trace < 1):
        raise ConvergenceUsageError(f"trace must be True, False, or how many events to keep, not {trace!r}.")


def _check_properties(properties: Any) -> None:
    if isinstance(properties, str) or not isinstance(properties, Iterable):
        raise ConvergenceUsageError(f"properties must be a list, not {properties!r}.")
    PropertyRegistry().find_all(properties)


def _check_may_try(names: Any) -> None:
    from pytest_convergence._engine.sim.shims.refusals import (
        check_tryable,  # much to load, for an option that few give
    )

    check_tryable(names)


def _check_schedule(schedule: Any) -> None:
    if isinstance(schedule, str):
        Schedule.parse(schedule)
    elif schedule is not None and not isinstance(schedule, Schedule | FaultPlan):
        raise ConvergenceUsageError(f"schedule must be a Schedule, a token or a FaultPlan, not {schedule!r}.")


def _check_goal(goal: Any) -> None:
    if goal is not None and not isinstance(goal, (Goal, str)):
        raise ConvergenceUsageError(f"goal must be a Goal or its description, not {goal!r}.")


def _check_pattern(pattern: Any) -> None:
    if pattern is not None:
        find_pattern(pattern)


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "pattern": _check_pattern,
    "agents": _check_agents,
    "protocol": _check_protocol,
    "network": _check_network,
    "faults": _check_faults,
    "schedules": _whole("schedules", 1),
    "explore": _check_explore,
    "faults_at_most": _whole("faults_at_most", 1),
    "noise": _check_noise,
    "search_seconds": _seconds("search_seconds", optional=True),
    "sync": _check_sync,
    "resolve": _check_resolve,
    "seed": _check_seed,
    "timeout": _seconds("timeout"),
    "trace": _check_trace,
    "max_events": _whole("max_events", 1),
    "real_timeout": _seconds("real_timeout", optional=True),
    "properties": _check_properties,
    "may_try": _check_may_try,
    "schedule": _check_schedule,
    "goal": _check_goal,
}
