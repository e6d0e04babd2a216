"""Effect at most once: however often an item comes, it takes effect once at each stage.

Source: exactly-once semantics as at-least-once delivery with idempotent effects; Helland, *Idempotence Is Not a Medical
Condition* (ACM Queue, 2012).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import item_fact
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["EFFECT_AT_MOST_ONCE"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._first: dict[tuple[str, Hashable], tuple[str, int]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        told = item_fact(event)
        if told is None or told.fact != "effect":
            return None
        first = self._first.get((told.stage, told.item))
        if first is None:
            self._first[told.stage, told.item] = (event.agent, event.at_ns)
        if first is None or told.recalled:
            return None
        agent, at_ns = first
        return Violation(
            EFFECT_AT_MOST_ONCE.name,
            f"{told.place} took effect at {agent} ({format_ns(at_ns)}), and once more at {event.agent}",
            event.at_ns,
            (agent, event.agent),
            {"item": told.shown, "stage": told.stage},
        )

    def finish(self, final: FinalState) -> None:
        return None


EFFECT_AT_MOST_ONCE: Final = Property(
    "effect_at_most_once",
    Kind.HISTORY,
    "An item takes effect at most once at each stage, however often it comes.",
    _Checker,
)
