"""The dead-letter queue is complete: what failed for good is in it, once and with its error, and nothing else is.

Source: the dead-letter channel of Hohpe and Woolf, *Enterprise Integration Patterns* (2003), chapter 4.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import ItemFact, Ledger
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["DLQ_COMPLETE"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._ledger = Ledger()
        self._failures: dict[tuple[str, Hashable], tuple[ItemFact, str]] = {}
        self._failed: set[Hashable] = set()
        self._first: set[Hashable] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        told = self._ledger.enter(event)
        if told is None:
            return None
        if told.fact == "fail":
            self._failures[told.stage, told.item] = (told, event.agent)
            self._failed.add(told.item)
        elif told.fact == "effect":
            self._failures.pop((told.stage, told.item), None)
        elif told.fact == "dead_letter":
            wrong = self._wrong(told)
            self._first.add(told.item)
            if wrong is not None:
                data = {"item": told.shown}
                return Violation(DLQ_COMPLETE.name, wrong, event.at_ns, (event.agent,), data)
        return None

    def _wrong(self, told: ItemFact) -> str | None:
        if told.item not in self._failed and not told.recalled:
            return f"{told.place} is a dead letter, but never failed"
        if not told.data.get("error"):
            return f"{told.place} is a dead letter without an error"
        if told.item in self._first and not told.recalled:
            return f"{told.place} is in the dead-letter queue twice"
        return None

    def finish(self, final: FinalState) -> Violation | None:
        if not self._ledger.demands_progress(final, self._scope):
            return None
        for (stage, item), (told, agent) in self._failures.items():
            if (
                item in self._ledger.dead
                or item in self._ledger.abandoned
                or stage in self._ledger.effects.get(item, {})
            ):
                continue
            return Violation(
                DLQ_COMPLETE.name,
                f"{told.place} failed for good ({told.data.get('error', 'no error is known')}) and is no dead letter",
                final.at_ns,
                (agent,),
                {"item": told.shown, "stage": stage},
            )
        return None


DLQ_COMPLETE: Final = Property(
    "dlq_complete",
    Kind.EVENTUALLY,
    "Every item that failed for good is in the dead-letter queue, once and with its error, and nothing else is.",
    _Checker,
)
