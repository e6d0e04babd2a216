"""Award known bidder: the contract goes to somebody who has bid for it.

Source: FIPA Contract Net Interaction Protocol (SC00029H): only a proposal can be accepted.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.contracts import Contracts, award_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["AWARD_KNOWN_BIDDER"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._contracts = Contracts(scope.agents)

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        self._contracts.take(fact, data)
        if fact != "award":
            return None
        winner = award_of(data).winner
        bidders = [agent for call in self._contracts.calls for agent in (*call.bids, *call.late)]
        if winner in bidders:
            return None
        known = ", ".join(dict.fromkeys(bidders)) or "nobody"
        message = f"{event.agent} awarded the contract to {winner}, which has not bid (bidders: {known})"
        return Violation(
            AWARD_KNOWN_BIDDER.name, message, event.at_ns, (event.agent, winner), {"bidders": tuple(bidders)}
        )

    def finish(self, final: FinalState) -> None:
        return None


AWARD_KNOWN_BIDDER: Final = Property(
    "award_known_bidder", Kind.HISTORY, "The contract goes to somebody who has bid for it.", _Checker
)
