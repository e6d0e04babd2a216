"""What a run came to, and the numbers that describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns
from pytest_convergence._engine.base.trace import SCENARIO, Trace
from pytest_convergence._engine.check.property import Violation
from pytest_convergence._engine.run.goal import CriterionResult
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.progress import Phase
from pytest_convergence._engine.state.conflicts import Conflict

__all__ = ["Outcome", "RunMetrics"]


_NOTHING: Final[Mapping[str, int]] = {}

_MOST_PRINTED: Final = 30


@final
class RunMetrics(NamedTuple):
    """The numbers of one run; all builtin types, so that they cross process boundaries.

    Attributes:
        pattern: the pattern's name, ``"none"`` without one.
        outcome: ``converged``, ``diverged`` or ``failed``.
        sync: how replicas synchronised, by name; ``"none"`` if none was written to.
        virtual_seconds: how long the run was, in virtual time.
        convergence_seconds: when the views last changed, in virtual time.
        real_seconds: how long it took.
        score: the share of the criteria's weight that was met, 0 to 1; without criteria 1 if it converged.
        agreement: the share of live agents in the largest group with equal views, 0 to 1.
        sent, received, lost, duplicated: messages of the user's agents and of protocols.
        protocol_messages: how many of those sent were the pattern's or the synchronisation's.
        rounds: how many rounds (consensus) or terms (leader-follower) the pattern took.
        phases: how many the session began.
        iterations: how many the session began.
        sync_operations, sync_bytes: messages of the synchronisation and their size.
        sync_delivered, sync_seconds: how many of them arrived, and how long those took together.
        state_updates: writes to replicas. state_versions: updates made or received, over all replicas.
        divergence_seconds: how long replicas did not hold the same updates.
        conflicts: concurrent writes that did not agree.
        unresolved: those of them without a resolution at the end.
        conflict_seconds: from detection to resolution, over all that were resolved.
        conflicts_by: conflicts by ``type/severity``. resolutions_by: those resolved, by strategy.
        handoffs_requested, handoffs, handoffs_pending: tasks that were to change hands, did, and were still to at the end.
        handoff_seconds: from request to end, over all that ended.
        handoffs_by: handoffs that ended, by ``reason/outcome``.
        elections: how often an agent began to lead. unavailable_seconds: how long nobody led.
        lost_updates, stale_reads, duplicate_effects, retries, dead_letters: what agents and machines observed.
        violations: properties that did not hold.
        crashes: how many lives ended early.
        faults: faults that struck agents, by kind.
        events: how many steps the session's agents, machines and scenario took.
    """

    pattern: str = "none"
    outcome: str = "failed"
    sync: str = "none"
    virtual_seconds: float = 0.0
    convergence_seconds: float = 0.0
    real_seconds: float = 0.0
    score: float = 0.0
    agreement: float = 1.0
    agents: int = 0
    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    protocol_messages: int = 0
    rounds: int = 0
    phases: int = 0
    iterations: int = 0
    sync_operations: int = 0
    sync_bytes: int = 0
    sync_delivered: int = 0
    sync_seconds: float = 0.0
    state_updates: int = 0
    state_versions: int = 0
    divergence_seconds: float = 0.0
    conflicts: int = 0
    unresolved: int = 0
    conflict_seconds: float = 0.0
    conflicts_by: Mapping[str, int] = _NOTHING
    resolutions_by: Mapping[str, int] = _NOTHING
    handoffs_requested: int = 0
    handoffs: int = 0
    handoffs_pending: int = 0
    handoff_seconds: float = 0.0
    handoffs_by: Mapping[str, int] = _NOTHING
    elections: int = 0
    unavailable_seconds: float = 0.0
    lost_updates: int = 0
    stale_reads: int = 0
    duplicate_effects: int = 0
    retries: int = 0
    dead_letters: int = 0
    violations: int = 0
    crashes: int = 0
    faults: Mapping[str, int] = _NOTHING
    events: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return self._asdict()


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
        score: the share of the criteria's weight that was met, 0 to 1; without criteria 1 if it converged.
        phases: the phases that the scenario began, in order.
        iterations: how many iterations it began.
        cut_off: live agents that a partition kept from the largest group at the end; they were not compared with it.
        crashed: agents that were not alive at the end; they were not compared at all.
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
    score: float = 0.0
    phases: tuple[Phase, ...] = ()
    iterations: int = 0
    cut_off: tuple[str, ...] = ()
    crashed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.converged

    def __str__(self) -> str:
        numbers = self.metrics
        lines = [
            f"{self.name}: {self.state.value} after {format_ns(round(self.duration * NS_PER_SECOND))} of virtual time "
            f"({self._cast()}, {self.schedule})",
        ]
        lines += [f"  because {reason}" for reason in self.reasons]
        if self.output is not None:
            lines.append(f"  output: {self.output!r}")
        lines.append(
            f"  messages: {numbers.sent} sent, {numbers.lost} lost, {numbers.duplicated} duplicated; "
            f"agreement {self.agreement:.0%}"
        )
        if self.cut_off:
            lines.append(f"  cut off at the end, and not compared with the others: {', '.join(self.cut_off)}")
        if self.crashed:
            lines.append(f"  crashed at the end, and not compared: {', '.join(self.crashed)}")
        for phase in self.phases:
            lines.append(f"  {phase}")
        for result in self.criteria:
            lines.append(f"  criterion {result.name!r}: {'met' if result.met else 'not met'}")
        lines += [f"  conflict at {conflict}" for conflict in self.conflicts]
        lines += [f"  violated: {violation}" for violation in self.violations]
        lines += _printed(self.trace)
        return "\n".join(lines)

    def _cast(self) -> str:
        """By which pattern, and who takes part; the hosts where there are no agents."""
        numbers = self.metrics
        hosts = [] if numbers.agents else [name for name in self.trace.agents if name != SCENARIO]
        if hosts:
            return f"{len(hosts)} host{'s' * (len(hosts) != 1)}"
        return f"{numbers.pattern}, {numbers.agents} agents"

    def __repr__(self) -> str:
        because = f", because {self.reasons[0]}" if self.reasons else ""
        return f"<Outcome {self.name}: {self.state.value}, {self.schedule}{because}>"


def _printed(trace: Trace) -> list[str]:
    """What the processes of hosts have printed: the newest lines."""
    printed = [event for event in trace if event.kind == "output"]
    shown = [
        f"    {format_ns(event.at_ns)} {event.agent} {event.detail['fact']}: {event.detail['line']}"
        for event in printed[-_MOST_PRINTED:]
    ]
    if not shown:
        return []
    left_out = len(printed) - len(shown)
    return [f"  printed{f' (and {left_out} earlier lines)' if left_out else ''}:", *shown]
