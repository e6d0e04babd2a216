"""Order by key: items that share an order key take effect in the order in which they were fed.

Source: the guarantee of partitioned logs (Kreps, Narkhede and Rao, *Kafka: a Distributed Messaging System for Log
Processing*, NetDB 2011, section 3.3), for first effects: a repetition of an older one is the business of
``effect_at_most_once``.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import Ledger
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["PER_KEY_ORDER"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._ledger = Ledger()
        self._newest: dict[
            tuple[str, str], tuple[int, Any]
        ] = {}  # by stage and key: the number, and how it is shown
        self._seen: set[tuple[str, Hashable]] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        told = self._ledger.enter(event)
        if told is None or told.fact != "effect" or (told.stage, told.item) in self._seen:
            return None
        self._seen.add((told.stage, told.item))
        fed = self._ledger.fed.get(told.item)
        if fed is None or fed.order is None:
            return None
        place = (told.stage, fed.order[0])
        number, shown = self._newest.get(place, (-1, None))
        if fed.number > number:
            self._newest[place] = (fed.number, told.shown)
            return None
        return Violation(
            PER_KEY_ORDER.name,
            f"{told.place} took effect after item {shown!r}, which has the same order key and was fed later",
            event.at_ns,
            (event.agent,),
            {"item": told.shown, "before": shown, "stage": told.stage},
        )

    def finish(self, final: FinalState) -> None:
        return None


PER_KEY_ORDER: Final = Property(
    "per_key_order",
    Kind.HISTORY,
    "Items that share an order key take effect in the order in which they were fed.",
    _Checker,
)
