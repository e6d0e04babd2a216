"""Every metric, as data: its name, the field of the numbers of a run that feeds it, its labels, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = [
    "BUCKETS",
    "BY_PATTERN",
    "BY_STRATEGY",
    "FATES",
    "LABELLED",
    "LABELS",
    "NONE",
    "OF_PATTERN",
    "OUTCOMES",
    "PENDING",
    "SPREADS",
    "STRATEGY_SUMS",
    "SUMS",
    "TO_CONVERGE",
    "UNLABELLED",
    "WINDOW",
    "applies",
]

LABELS: Final = ("pattern", "strategy", "type", "severity", "reason", "outcome", "fault")
"""Every label that a metric may have."""

OUTCOMES: Final = ("converged", "diverged", "failed")
FATES: Final = ("sent", "received", "lost", "duplicated")
NONE: Final = "none"

BUCKETS: Final = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
"""Upper bounds of the histograms of durations, in virtual seconds; one more bucket is for what lies above."""

_SHARES: Final = (0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_SIZES: Final = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0, 1000.0)


class Row(NamedTuple):
    """A metric that adds up one field of :class:`RunMetrics`."""

    name: str
    field: str
    words: str


BY_PATTERN: Final = (
    Row("rounds", "rounds", "Rounds or terms that patterns took."),
    Row("phases", "phases", "Phases that sessions began."),
    Row("iterations", "iterations", "Iterations that sessions began."),
    Row(
        "pattern_messages", "protocol_messages", "Messages of protocols: of patterns, and of synchronisation."
    ),
    Row("retries", "retries", "Attempts that were made again."),
    Row("dead_letters", "dead_letters", "Items that were given up."),
    Row("duplicate_effects", "duplicate_effects", "Effects that happened once more under the same key."),
    Row("lost_updates", "lost_updates", "Writes that were overwritten unseen."),
    Row("stale_reads", "stale_reads", "Reads that missed a write that came before."),
    Row("elections", "elections", "How often an agent began to lead."),
    Row("unavailable_seconds", "unavailable_seconds", "Virtual time in which nobody led."),
    Row("property_violations", "violations", "Properties that did not hold."),
)
BY_STRATEGY: Final = (
    Row("sync_operations", "sync_operations", "Messages of the synchronisation of replicas."),
    Row("sync_bytes", "sync_bytes", "Bytes that the synchronisation of replicas sent."),
)
UNLABELLED: Final = (
    Row("state_updates", "state_updates", "Writes to replicas."),
    Row("state_versions", "state_versions", "Updates that replicas made or received."),
    Row("handoffs_requested", "handoffs_requested", "Tasks that were to change hands."),
    Row("events", "events", "Steps of agents, machines and scenarios."),
    Row("virtual_seconds", "virtual_seconds", "Virtual time that sessions took."),
    Row("real_seconds", "real_seconds", "Real time that sessions took."),
)
PENDING: Final = (
    Row("conflicts_pending", "unresolved", "Conflicts that were unresolved when their sessions ended."),
    Row("handoffs_pending", "handoffs_pending", "Handoffs that had not ended when their sessions did."),
)
"""Gauges."""

SUMS: Final = (
    *FATES,
    "conflicts",
    "handoffs",
    "conflict_seconds",
    "handoff_seconds",
    *(row.field for row in (*BY_PATTERN, *UNLABELLED, *PENDING)),
)

STRATEGY_SUMS: Final = (*(row.field for row in BY_STRATEGY), "sync_delivered", "sync_seconds")


class Labelled(NamedTuple):
    """A metric that counts by labels: the field maps their values, joined by ``/``, to counts."""

    name: str
    field: str
    labels: tuple[str, ...]
    words: str


LABELLED: Final = (
    Labelled("conflicts", "conflicts_by", ("type", "severity"), "Concurrent writes that did not agree."),
    Labelled("conflicts_resolved", "resolutions_by", ("strategy",), "Conflicts that were resolved."),
    Labelled("handoffs", "handoffs_by", ("reason", "outcome"), "Handoffs that ended."),
    Labelled(
        "faults", "faults", ("fault",), "Faults that struck agents: crash, pause, stall, cancel, partition."
    ),
)


class Spread(NamedTuple):
    """A histogram over sessions, by pattern."""

    name: str
    field: str
    bounds: tuple[float, ...]
    words: str


TO_CONVERGE: Final = "time_to_converge_seconds"
OF_PATTERN: Final = "pattern_duration_seconds"
WINDOW: Final = "divergence_window_seconds"
SPREADS: Final = {
    spread.name: spread
    for spread in (
        Spread(
            "session_duration_seconds", "virtual_seconds", BUCKETS, "Virtual seconds that a session took."
        ),
        Spread(
            "session_score_ratio", "score", _SHARES, "Share of the weight of a goal's criteria that was met."
        ),
        Spread("session_agents", "agents", _SIZES, "Agents of a session."),
        Spread(
            "agreement_ratio",
            "agreement",
            _SHARES,
            "Share of live agents in the largest group with equal views.",
        ),
        Spread(
            TO_CONVERGE,
            "convergence_seconds",
            BUCKETS,
            "Virtual seconds until the views of a converged session last changed.",
        ),
        Spread(
            OF_PATTERN,
            "convergence_seconds",
            BUCKETS,
            "Virtual seconds until the work of a pattern was done.",
        ),
        Spread(
            WINDOW,
            "divergence_seconds",
            BUCKETS,
            "Virtual seconds in which the replicas of a session differed.",
        ),
    )
}


def applies(spread: str, numbers: Mapping[str, Any]) -> bool:
    """Whether a session has something to say to a histogram."""
    if spread == TO_CONVERGE:
        return bool(numbers["outcome"] == "converged")
    if spread == OF_PATTERN:
        return bool(numbers["pattern"] != NONE)
    return spread != WINDOW or bool(numbers["state_updates"])
