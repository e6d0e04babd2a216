"""Single award: at no time do two awards of one contract stand.

Source: FIPA Contract Net Interaction Protocol (SC00029H): the initiator accepts a proposal once; to give the contract to
another it must take it back first.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.contracts import Contracts, award_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["SINGLE_AWARD"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._contracts = Contracts(scope.agents)

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        contracts = self._contracts
        contracts.take(fact, data)
        if fact == "award" and len(contracts.standing) > 1:
            first, second = contracts.standing[:2]
            message = f"{event.agent} made {second} while {first} stands: it was not revoked"
            facts = {"standing": tuple(contracts.standing)}
            agents = (event.agent, first.winner, second.winner)
            return Violation(SINGLE_AWARD.name, message, event.at_ns, agents, facts)
        if fact == "award_committed" and award_of(data) in contracts.revoked:
            award = award_of(data)
            message = f"{event.agent} committed the {award}, which it had revoked"
            return Violation(SINGLE_AWARD.name, message, event.at_ns, (event.agent, award.winner))
        return None

    def finish(self, final: FinalState) -> None:
        return None


SINGLE_AWARD: Final = Property(
    "single_award", Kind.ALWAYS, "At no time do two awards of one contract stand.", _Checker
)
