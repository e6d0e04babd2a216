"""Late bid rejected: what comes after the deadline is no bid.

A bid is late when bids are closed (``bids_closed``), or when the deadline of the call and a quarter more have passed since
it was called, not counting the time for which its manager was paused.

Source: FIPA Contract Net Interaction Protocol (SC00029H): proposals that come after the deadline are rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.contracts import Contracts, award_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.held_up import HOLDING, HeldUp, allowed_ns
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["LATE_BID_REJECTED"]


class _Checker:
    kinds: Final = frozenset({"observe", *HOLDING})

    def __init__(self, scope: Scope) -> None:
        self._contracts = Contracts(scope.agents)
        self._held = HeldUp()
        self._called: dict[
            Any, tuple[int, int, int]
        ] = {}  # call to when, paused until then, and for how long

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind in HOLDING:
            self._held.feed(event)
            return None
        fact, data = fact_of(event)
        if fact == "called" and data.get("deadline") is not None:
            paused_ns = self._held.until(event.agent, event.at_ns)
            self._called[data.get("call", 1)] = (event.at_ns, paused_ns, allowed_ns(data["deadline"]))
        violation = self._bid(event, data) if fact == "bid" else None
        self._contracts.take(fact, data)
        return self._award(event, data) if fact == "award" else violation

    def _bid(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        call = self._contracts.of(data)
        bidder = str(data.get("bidder", ""))
        if bidder in call.bids:
            return None  # said once more, after a restart
        if call.closed:
            return self._late(event, bidder, call.number, "after bids were closed")
        began = self._called.get(call.number)
        if began is None:
            return None
        since_ns, paused_ns, most_ns = began
        took_ns = event.at_ns - since_ns - (self._held.until(event.agent, event.at_ns) - paused_ns)
        if took_ns <= most_ns:
            return None
        how = f"{format_ns(took_ns)} after the call (with the deadline and a quarter: {format_ns(most_ns)})"
        return self._late(event, bidder, call.number, how)

    def _award(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        winner = award_of(data).winner
        in_time = any(winner in call.bids for call in self._contracts.calls)
        late = [call.number for call in self._contracts.calls if winner in call.late]
        if in_time or not late:
            return None
        message = f"{event.agent} awarded the contract to {winner}, whose only bid (call {late[0]}) was late"
        return Violation(LATE_BID_REJECTED.name, message, event.at_ns, (event.agent, winner))

    def _late(self, event: TraceEvent, bidder: str, call: Any, how: str) -> Violation:
        message = f"{event.agent} took a bid of {bidder} for call {call} {how}"
        facts = {"bidder": bidder, "call": call}
        return Violation(LATE_BID_REJECTED.name, message, event.at_ns, (event.agent, bidder), facts)

    def finish(self, final: FinalState) -> None:
        return None


LATE_BID_REJECTED: Final = Property(
    "late_bid_rejected", Kind.HISTORY, "A bid that comes after the deadline is no bid.", _Checker
)
