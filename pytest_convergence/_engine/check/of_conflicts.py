"""Which properties hold where replicas are used: those of every conflict, and those of each strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["EVERY_CONFLICT", "OF_STRATEGY", "properties_of_conflicts"]

EVERY_CONFLICT: Final = ("detect_exact", "no_silent_loss", "deterministic_resolution")
"""What holds however conflicts are settled."""

OF_STRATEGY: Final[Mapping[str, tuple[str, ...]]] = {
    "last-write": ("last_write_rule",),
    "first-come": ("first_come_order",),
    "priority": ("priority_rule", "no_starvation"),
    "arbitration": ("one_verdict",),
    "voting": ("one_verdict", "fair_vote"),
    "rollback": ("rollback_exact", "dependants_undone"),
}
"""What holds besides, by strategy."""


def properties_of_conflicts(strategies: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the properties that hold where conflicts are settled by these strategies."""
    found = dict.fromkeys(EVERY_CONFLICT)
    for strategy in strategies:
        found.update(dict.fromkeys(OF_STRATEGY.get(strategy, ())))
    return tuple(found)
