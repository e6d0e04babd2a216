"""Nothing unexpected: what has an effect was fed, and has passed the stages before.

Source: the *unexpected* elements of the total-queue checker of Jepsen (Kingsbury): dequeued and never enqueued.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import ENDINGS, ItemFact, Ledger
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_UNEXPECTED"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._ledger = Ledger()

    def feed(self, event: TraceEvent) -> Violation | None:
        told = self._ledger.enter(event)
        if told is None or told.fact not in ENDINGS:
            return None
        wrong = self._wrong(told)
        if wrong is None:
            return None
        facts = {"item": told.shown, "stage": told.stage}
        return Violation(NO_UNEXPECTED.name, f"{event.agent}: {wrong}", event.at_ns, (event.agent,), facts)

    def _wrong(self, told: ItemFact) -> str | None:
        words = {"effect": "took effect", "dead_letter": "is a dead letter", "reject": "was rejected"}[
            told.fact
        ]
        fed = self._ledger.fed.get(told.item)
        if fed is None:
            return f"{told.place} {words}, but nobody fed it"
        if told.fact != "effect":
            return None
        if told.stage not in fed.route:
            return f"{told.place} {words}, which is not on its way ({', '.join(map(repr, fed.route))})"
        seen = self._ledger.effects[told.item]
        for before in fed.route[: fed.route.index(told.stage)]:
            if before not in seen:
                return f"{told.place} {words} before it passed stage {before!r}"
        return None

    def finish(self, final: FinalState) -> None:
        return None


NO_UNEXPECTED: Final = Property(
    "no_unexpected",
    Kind.HISTORY,
    "What takes effect was fed, and has passed the stages before.",
    _Checker,
)
