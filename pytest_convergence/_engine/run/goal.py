"""Goals and their criteria: what a session is for, and how to tell whether it got there."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.time import to_ns
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.run.session import Session

__all__ = ["CRITERIA", "Criterion", "CriterionResult", "Goal", "bounded", "weight_met"]

Test = Callable[["Session"], object]

_ROUNDING: Final = 1e-9
"""Three criteria of weight 0.1 are to be 30 % of ten of them."""


@final
@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of success, judged at the end of a run.

    Attributes:
        name: what it is called in the outcome.
        test: a function of the session; truthy means met.
        weight: its share in the score of the goal.
        required: whether a run without it can count as converged.
    """

    name: str
    test: Test
    weight: float = 1.0
    required: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConvergenceUsageError(f"a criterion needs a name, not {self.name!r}.")
        if inspect.iscoroutinefunction(self.test):
            raise ConvergenceUsageError(
                f"the test of criterion {self.name!r} is a coroutine function; a criterion is judged at one moment, by a "
                "plain function of the session."
            )
        if not callable(self.test):
            raise ConvergenceUsageError(
                f"the test of criterion {self.name!r} must be a function of the session."
            )
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float) or not self.weight > 0:
            raise ConvergenceUsageError(
                f"the weight of criterion {self.name!r} must be > 0, not {self.weight!r}."
            )


@final
@dataclass(frozen=True, slots=True)
class CriterionResult:
    """How one criterion came out."""

    name: str
    met: bool
    weight: float
    required: bool

    def __bool__(self) -> bool:
        return self.met


def _all_agents_agree(session: Session) -> bool:
    return session.agreement() == 1.0


def _no_unresolved_conflicts(session: Session) -> bool:
    return all(conflict.resolution is not None for conflict in session.conflicts)


def _no_conflicts(session: Session) -> bool:
    return not session.conflicts


def _all_agents_alive(session: Session) -> bool:
    return all(agent.is_alive for agent in session.agents.values())


def _one_leader(session: Session) -> bool:
    return session.leader is not None


def _no_messages_lost(session: Session) -> bool:
    return session.messages_lost == 0


def _all_agents_returned(session: Session) -> bool:
    return session.all_returned


def _a_result_was_agreed(session: Session) -> bool:
    return session.result is not None


def _all_phases_completed(session: Session) -> bool:
    return all(phase.completed for phase in session.phases)


def _none(number: str) -> Test:
    return lambda session: session.count_of(number) == 0


CRITERIA: Final[Mapping[str, Test]] = MappingProxyType(
    {
        "all agents agree": _all_agents_agree,
        "no unresolved conflicts": _no_unresolved_conflicts,
        "no conflicts": _no_conflicts,
        "all agents alive": _all_agents_alive,
        "one leader": _one_leader,
        "no messages lost": _no_messages_lost,
        "all agents returned": _all_agents_returned,
        "no agent crashed": _none("crashes"),
        "a result was agreed": _a_result_was_agreed,
        "all phases completed": _all_phases_completed,
        "no handoffs pending": _none("handoffs_pending"),
        "no dead letters": _none("dead_letters"),
        "no duplicate effects": _none("duplicate_effects"),
        "no lost updates": _none("lost_updates"),
    }
)
"""The criteria that have names."""


@final
@dataclass(frozen=True, slots=True)
class Goal:
    """What the agents of a session are to achieve.

    Attributes:
        description: for people.
        success_criteria: names from :data:`CRITERIA`, or :class:`Criterion` objects.
        timeout: virtual seconds for the whole session, ``None`` for the session's own.
        max_iterations: how often ``session.iterations()`` and patterns with rounds may go round; ``None``: no bound but the
            pattern's own.
        convergence_threshold: which share of the criteria's weight must be met, 0 to 1.

    Raises:
        ConvergenceUsageError: a criterion has no such name, or a number is out of range.
    """

    description: str
    success_criteria: Sequence[str | Criterion] = ()
    timeout: float | None = None
    max_iterations: int | None = None
    convergence_threshold: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.success_criteria, str):
            raise ConvergenceUsageError(f"success_criteria must be a list, not {self.success_criteria!r}.")
        for item in self.success_criteria:
            if not isinstance(item, Criterion) and item not in CRITERIA:
                raise unknown_name("criterion", item, CRITERIA, fix="Or pass Criterion(name, function).")
        if self.timeout is not None and to_ns(self.timeout, "timeout") == 0:
            raise ConvergenceUsageError(f"timeout must be greater than 0 seconds, not {self.timeout!r}.")
        iterations = self.max_iterations
        if iterations is not None and (
            isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1
        ):
            raise ConvergenceUsageError(f"max_iterations must be a whole number >= 1, not {iterations!r}.")
        threshold: Any = self.convergence_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise ConvergenceUsageError(f"convergence_threshold must be from 0 to 1, not {threshold!r}.")

    def criteria(self) -> tuple[Criterion, ...]:
        """Return every criterion as an object."""
        return tuple(
            item if isinstance(item, Criterion) else Criterion(item, CRITERIA[item])
            for item in self.success_criteria
        )

    def judge(self, session: Session) -> tuple[CriterionResult, ...]:
        """Evaluate every criterion on ``session``."""
        return tuple(
            CriterionResult(criterion.name, _is_met(criterion, session), criterion.weight, criterion.required)
            for criterion in self.criteria()
        )

    def is_met(self, results: Sequence[CriterionResult]) -> bool:
        """Whether every required criterion is met, and enough of the weight."""
        if any(result.required and not result.met for result in results):
            return False
        return weight_met(results) >= self.convergence_threshold - _ROUNDING


def _is_met(criterion: Criterion, session: Session) -> bool:
    try:
        answer = criterion.test(session)
    except Exception as error:
        error.add_note(f"(while the criterion {criterion.name!r} was judged)")
        raise
    if inspect.isawaitable(answer):
        raise ConvergenceUsageError(
            f"the test of criterion {criterion.name!r} returned something to await; it must be a plain function."
        )
    return bool(answer)


def bounded(pattern: Any, goal: Goal | None) -> Any:
    """Return ``pattern`` with no more rounds than ``goal`` allows, if it goes round at all."""
    limit = None if goal is None else goal.max_iterations
    if limit is None or not is_dataclass(pattern) or isinstance(pattern, type):
        return pattern
    if not hasattr(pattern, "max_rounds"):
        return pattern
    rounds = pattern.max_rounds
    return replace(pattern, max_rounds=limit if rounds is None else min(rounds, limit))


def weight_met(results: Sequence[CriterionResult]) -> float:
    """Return the share of the criteria's weight that was met, 0 to 1; 1 where there are none."""
    total = math.fsum(result.weight for result in results)
    return math.fsum(result.weight for result in results if result.met) / total if total else 1.0
