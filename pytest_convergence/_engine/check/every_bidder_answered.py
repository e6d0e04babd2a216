"""Every bidder answered: in the end, whoever has bid knows what became of its bid.

Demanded of those who are alive and reach one another when the faults have stopped.

Source: FIPA Contract Net Interaction Protocol (SC00029H): every proposal is accepted or rejected.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["EVERY_BIDDER_ANSWERED"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._bidders: dict[str, str] = {}  # and whom they bid to
        self._answered: set[str] = set()

    def feed(self, event: TraceEvent) -> None:
        fact, data = fact_of(event)
        if fact in ("bid", "bid_late"):
            self._bidders.setdefault(str(data.get("bidder", "")), event.agent)
        elif fact == "bid_answered":
            self._answered.add(event.agent)

    def finish(self, final: FinalState) -> Violation | None:
        if not final.demands_progress(self._scope):
            return None
        waiting = tuple(
            bidder
            for bidder, manager in self._bidders.items()
            if bidder not in self._answered and bidder in final.core and manager in final.core
        )
        if not waiting:
            return None
        message = f"{', '.join(waiting)} bid, and never heard what became of it"
        return Violation(EVERY_BIDDER_ANSWERED.name, message, final.at_ns, waiting, {"waiting": waiting})


EVERY_BIDDER_ANSWERED: Final = Property(
    "every_bidder_answered",
    Kind.EVENTUALLY,
    "In the end, whoever has bid knows what became of its bid.",
    _Checker,
)
