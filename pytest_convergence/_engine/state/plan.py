"""Plans: which strategies a conflict is given to, one after another, by its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

from pytest_convergence._engine.state.conflict_types import ConflictType, Rule
from pytest_convergence._engine.state.resolution import (
    LAST_WRITE,
    ByArbitration,
    ByPriority,
    ByVote,
    Resolve,
    Step,
    Strategy,
    as_resolver,
    check_names,
)
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DEFAULT", "Asked", "Plan", "as_plan", "question_key"]

DEFAULT: Final = "default"
"""The key, in a mapping from types to strategies, of the strategy for all other types."""

Asked = ByArbitration | ByVote
"""Strategies that ask others by messages."""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried, in order, for a conflict of each type.

    Attributes:
        default: the steps for types that are not named.
        by_type: the steps for those that are.
        rules: what tells the type of a conflict before the built-in rules.
    """

    default: tuple[Step, ...]
    by_type: Mapping[str, tuple[Step, ...]]
    rules: tuple[Rule, ...] = ()

    @property
    def name(self) -> str:
        """The name of the first strategy."""
        return self.default[0].name

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step of every type."""
        return (*self.default, *(step for steps in self.by_type.values() for step in steps))

    @property
    def is_last_write(self) -> bool:
        """Whether every conflict is settled by the order of updates alone."""
        return all(step is LAST_WRITE for step in self.steps)

    @property
    def asks(self) -> bool:
        """Whether some strategy asks others by messages."""
        return any(isinstance(step, Asked) for step in self.steps)

    def steps_for(self, kind: str) -> tuple[Step, ...]:
        """What is tried for a conflict of that type."""
        return self.by_type.get(kind, self.default)

    def bound(self, agents: Sequence[str]) -> Plan:
        """Return the plan for a session of these agents: who is asked has a name.

        Raises:
            ConvergenceUsageError: a strategy names somebody who is not one of them.
        """
        if not agents:
            return self
        by_type = {kind: _bound(steps, agents) for kind, steps in self.by_type.items()}
        return replace(self, default=_bound(self.default, agents), by_type=by_type)


def _bound(steps: tuple[Step, ...], agents: Sequence[str]) -> tuple[Step, ...]:
    return tuple(_bound_step(step, agents) for step in steps)


def _bound_step(step: Step, agents: Sequence[str]) -> Step:
    if isinstance(step, ByPriority):
        check_names("ByPriority(agents=…)", step.agents, agents)
    if isinstance(step, ByArbitration):
        arbiter = agents[0] if step.arbiter is None else step.arbiter
        check_names("ByArbitration(arbiter=…)", [arbiter], agents)
        return replace(step, arbiter=arbiter)
    if isinstance(step, ByVote):
        voters = tuple(agents if step.voters is None else step.voters)
        teller = voters[0] if step.teller is None else step.teller
        check_names("ByVote(voters=…)", voters, agents)
        check_names("ByVote(weights=…)", step.weights, agents)
        check_names("ByVote(teller=…)", [teller], agents)
        return replace(step, voters=voters, teller=teller)
    return step


def question_key(conflict_id: str, place: int) -> str:
    """The name of the question that the strategy at ``place`` of a plan asks about a conflict."""
    return f"{conflict_id}/{place}"


def as_plan(strategy: Strategy | Plan) -> Plan:
    """Return the plan that ``resolve=`` means.

    Raises:
        ConvergenceUsageError: a strategy or a type does not exist, or the argument is nothing of the kind.
    """
    if isinstance(strategy, Plan):
        return strategy
    rules: list[Rule] = []
    inner: Any = strategy
    tail: tuple[Step, ...] = ()
    while isinstance(inner, Resolve):
        rules += inner.rules
        if inner.escalate_to is not None:
            tail = (*_steps(inner.escalate_to), *tail)
        inner = inner.strategy
    if not isinstance(inner, Mapping):
        return Plan((*_steps(inner), *tail), {}, tuple(rules))
    if not inner:
        raise ConvergenceUsageError("resolve={}: name at least one type of conflict, or give one strategy.")
    by_type: dict[str, tuple[Step, ...]] = {}
    for kind, given in inner.items():
        by_type[_kind(kind, known=not rules)] = (*_steps(given), *tail)
    default = by_type.pop(DEFAULT, (LAST_WRITE,))
    return Plan(default, by_type, tuple(rules))


def _steps(strategy: Any) -> tuple[Step, ...]:
    if isinstance(strategy, Resolve):
        if strategy.rules:
            raise ConvergenceUsageError(
                "rules tell types for all strategies: give them to the outermost Resolve(…)."
            )
        more = () if strategy.escalate_to is None else _steps(strategy.escalate_to)
        return (*_steps(strategy.strategy), *more)
    if isinstance(strategy, Mapping):
        raise ConvergenceUsageError(
            "a mapping from types to strategies stands outermost: resolve={'task overlap': Resolve('voting', "
            "escalate_to='arbitration'), 'default': 'last-write'}."
        )
    return (as_resolver(strategy),)


def _kind(kind: Any, *, known: bool) -> str:
    """Return the name of a type; where no rule of the user's could give others, it must be a known one."""
    names = [*map(str, ConflictType), DEFAULT]
    text = str(kind) if isinstance(kind, str) else kind
    if (
        isinstance(text, str)
        and text not in names
        and text.replace("-", " ").replace("_", " ").lower() in names
    ):
        text = text.replace("-", " ").replace("_", " ").lower()
    if not isinstance(text, str) or (known and text not in names):
        raise unknown_name(
            "type of conflict", kind, names, fix="Other types need rules: Resolve({…}, rules=[…])."
        )
    return text
