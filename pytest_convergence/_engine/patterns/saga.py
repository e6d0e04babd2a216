"""Sagas: several steps at several agents, all of them done, or those that were done undone in reverse.

Source: Garcia-Molina and Salem, *Sagas* (SIGMOD 1987). The pivot, after which a saga goes only forward, is that of
Mehrotra, Rastogi, Korth and Silberschatz (*A transaction model for multidatabase systems*, 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.patterns.pattern import check_function
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DO", "UNDO", "Saga", "SagaRules", "SagaRun", "Step"]

DO: Final = "do"
UNDO: Final = "undo"


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga.

    Attributes:
        name: unique in its saga.
        agent: who carries it out.
        do: a function of the event's payload, plain or ``async``; it may take its agent first. It fails by raising, and
            must then have had no effect.
        undo: what makes up for ``do``, with the same argument; it may run more than once.
    """

    name: str
    agent: str
    do: Callable[..., Any]
    undo: Callable[..., Any] | None = None


@final
@dataclass(frozen=True, slots=True)
class Saga:
    """Steps that belong together, in order.

    Attributes:
        steps: the steps.
        pivot: the name of the step after which there is no way back: those after it are tried again until they succeed,
            and nothing is undone. Without one every step but the last can be undone.
        coordinator: the agent that conducts the saga; the first step's by default.
    """

    steps: Sequence[Step]
    pivot: str | None = None
    coordinator: str | None = None

    @property
    def conductor(self) -> str:
        """The agent that conducts the saga."""
        return self.coordinator or self.steps[0].agent

    @property
    def pivot_index(self) -> int:
        """The place of the pivot; that of the last step, if there is none."""
        names = [step.name for step in self.steps]
        return len(names) - 1 if self.pivot is None else names.index(self.pivot)

    def rules(self, max_attempts: int) -> SagaRules:
        """Return what the conductor needs to know."""
        steps = tuple((step.name, step.agent) for step in self.steps)
        return SagaRules(steps, self.pivot_index, self.pivot is not None, max_attempts)

    def check(self, topic: str, agents: Sequence[str]) -> None:
        """Check that every step can be carried out, and that those before the pivot can be undone.

        Raises:
            ConvergenceUsageError: one cannot.
        """
        what = f"the saga of topic {topic!r}"
        if not self.steps or not all(isinstance(step, Step) for step in self.steps):
            raise ConvergenceUsageError(
                f"{what} needs steps: Saga([Step(name, agent, do, undo), …]), not {self.steps!r}."
            )
        names = [step.name for step in self.steps]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ConvergenceUsageError(f"{what} has two steps named {twice[0]!r}; rename one.")
        if self.pivot is not None and self.pivot not in names:
            raise unknown_name(f"pivot of {what}", self.pivot, names)
        for agent in (self.conductor, *(step.agent for step in self.steps)):
            if agent not in agents:
                raise unknown_name(f"agent in {what}", agent, agents)
        for number, step in enumerate(self.steps):
            check_function(f"do of step {step.name!r} of {what}", step.do, "do(payload)")
            if step.undo is not None:
                check_function(f"undo of step {step.name!r} of {what}", step.undo, "undo(payload)")
            elif number < self.pivot_index:
                raise ConvergenceUsageError(
                    f"step {step.name!r} of {what} comes before the {'last' if self.pivot is None else 'pivot'} and has no "
                    "undo: if a later one fails, it could not be made up for."
                )


class SagaRules(NamedTuple):
    """What a saga's conductor needs to know.

    Attributes:
        steps: name and agent of each.
        pivot: the place of the pivot, or of the last step where there is none.
        has_pivot: whether there is one.
        max_attempts: how often a step is tried that must succeed.
    """

    steps: tuple[tuple[str, str], ...]
    pivot: int
    has_pivot: bool
    max_attempts: int


@dataclass(slots=True)
class SagaRun:
    """How far a saga has come, as its conductor remembers it.

    Attributes:
        id: the event that it answers.
        at: the place of the step that is being done, or undone.
        attempt: how often that has been asked for.
        backward: whether it is on the way back.
        results: what the steps returned.
        failed: the step because of which it goes back, or is stuck.
        reason: why that failed.
        how: how it ended: ``"done"``, ``"undone"`` or ``"stuck"``; ``""`` while it goes on.
    """

    id: str
    at: int = 0
    attempt: int = 1
    backward: bool = False
    results: list[Any] = field(default_factory=list)
    failed: str = ""
    reason: str = ""
    how: str = ""

    def succeeded(self, rules: SagaRules, value: Any) -> None:
        """The present step is done, or undone."""
        self.attempt = 1
        if self.backward:
            self._back(self.at - 1)
            return
        self.results.append(value)
        self.at += 1
        if self.at == len(rules.steps):
            self.how = "done"

    def did_fail(self, rules: SagaRules, reason: str) -> None:
        """The present step could not be done, or undone."""
        retriable = self.backward or self.at > rules.pivot
        if retriable and self.attempt < rules.max_attempts:
            self.attempt += 1
            return
        self.failed, self.reason = rules.steps[self.at][0], reason
        if retriable:
            self.how = "stuck"
        else:
            self._back(self.at - 1)  # what fails has had no effect

    def time_is_up(self, rules: SagaRules) -> bool:
        """Nothing is heard of the present step: go back, if one can. Return whether it does."""
        if self.backward or self.at >= rules.pivot:
            return False  # whether the pivot is done must be known, and what follows must be done
        self.failed, self.reason = rules.steps[self.at][0], "nothing was heard of it in time"
        self._back(self.at)  # it may have been done, so it is undone as well
        return True

    def _back(self, to: int) -> None:
        self.backward, self.at, self.attempt = True, to, 1
        if to < 0:
            self.how = "undone"

    def result(self, rules: SagaRules) -> dict[str, Any]:
        """Return what the saga's event has for a result."""
        if self.how == "done":
            names = [name for name, _ in rules.steps]
            return {"saga": "done", "results": dict(zip(names, self.results, strict=True))}
        return {"saga": self.how, "failed": self.failed, "reason": self.reason}

    def as_dict(self) -> Mapping[str, Any]:
        """Return plain data for storage, as it is now."""
        return {**{name: getattr(self, name) for name in _FIELDS}, "results": list(self.results)}


_FIELDS: Final = tuple(each.name for each in fields(SagaRun))
