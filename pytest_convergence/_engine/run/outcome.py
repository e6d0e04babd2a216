"""What a run came to, and the numbers that describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns
from pytest_convergence._engine.base.trace import Trace
from pytest_convergence._engine.check.property import Violation
from pytest_convergence._engine.run.goal import CriterionResult
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.state.conflicts import Conflict

__all__ = ["Outcome", "RunMetrics"]


@final
@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The numbers of one run; all builtin types, so that they cross process boundaries.

    Attributes:
        pattern: the pattern's name, ``"none"`` without one.
        outcome: ``converged``, ``diverged`` or ``failed``.
        virtual_seconds: how long the run was, in virtual time.
        convergence_seconds: when the views last changed, in virtual time.
        real_seconds: how long it took.
        sent, received, lost, duplicated: messages of the user's agents and of protocols.
        protocol_messages: how many of those sent were the pattern's or the synchronisation's.
        rounds: how many rounds (consensus) or elections (leader-follower) the pattern took.
        conflicts, unresolved: concurrent writes that did not agree.
        handoffs: how many tasks changed hands.
        crashes: how many lives ended early.
        events: how many steps and events happened.
    """

    pattern: str = "none"
    outcome: str = "failed"
    virtual_seconds: float = 0.0
    convergence_seconds: float = 0.0
    real_seconds: float = 0.0
    agents: int = 0
    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    protocol_messages: int = 0
    rounds: int = 0
    conflicts: int = 0
    unresolved: int = 0
    handoffs: int = 0
    crashes: int = 0
    events: int = 0

    def as_dict(self) -> dict[str, str | int | float]:
        """Return the numbers by name."""
        return asdict(self)


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        converged: whether all live connected agents expose equal views, the agreed value is valid, and the goal's
            criteria are met.
        state: ``CONVERGED``, ``DIVERGED`` or ``FAILED``.
        output: what the scenario returned, if that is not ``None``; else what the pattern came to.
        results: agent -> what its behaviour returned, for those that did.
        agreement: the share of live agents in the largest group with equal views, 0 to 1.
        criteria: how the goal's criteria came out.
        conflicts: every conflict, once, however many replicas saw it.
        violations: the properties that did not hold.
        duration: virtual seconds until the work was done and views had stopped changing.
        metrics: the numbers.
        schedule: the schedule that was followed.
        trace: what happened, event by event.
        reasons: why it did not converge, in words; empty if it did.
        views: agent -> what it exposed at the end, for those alive.
    """

    converged: bool
    state: SessionState
    output: Any
    results: Mapping[str, Any]
    agreement: float
    criteria: tuple[CriterionResult, ...]
    conflicts: tuple[Conflict, ...]
    violations: tuple[Violation, ...]
    duration: float
    metrics: RunMetrics
    schedule: Schedule
    trace: Trace
    reasons: tuple[str, ...] = ()
    views: Mapping[str, Any] | None = None
    name: str = "session"

    def __bool__(self) -> bool:
        return self.converged

    def __str__(self) -> str:
        numbers = self.metrics
        lines = [
            f"{self.name}: {self.state.value} after {format_ns(round(self.duration * NS_PER_SECOND))} of virtual time "
            f"({numbers.pattern}, {numbers.agents} agents, {self.schedule})",
        ]
        lines += [f"  because {reason}" for reason in self.reasons]
        if self.output is not None:
            lines.append(f"  output: {self.output!r}")
        lines.append(
            f"  messages: {numbers.sent} sent, {numbers.lost} lost, {numbers.duplicated} duplicated; "
            f"agreement {self.agreement:.0%}"
        )
        for result in self.criteria:
            lines.append(f"  criterion {result.name!r}: {'met' if result.met else 'not met'}")
        lines += [f"  conflict at {conflict}" for conflict in self.conflicts]
        lines += [f"  violated: {violation}" for violation in self.violations]
        return "\n".join(lines)

    def __repr__(self) -> str:
        because = f", because {self.reasons[0]}" if self.reasons else ""
        return f"<Outcome {self.name}: {self.state.value}, {self.schedule}{because}>"
