"""No commit without accept: a contract binds once the winner has accepted that very award.

Source: R. G. Smith, *The Contract Net Protocol* (1980): a contract is an agreement of both sides. The number of the award
tells which one was accepted, as a fencing token would.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.contracts import AwardMade, award_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_COMMIT_WITHOUT_ACCEPT"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._accepted: set[AwardMade] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "award_accepted":
            self._accepted.add(AwardMade(data.get("number", 1), event.agent))
        elif fact == "award_committed":
            award = award_of(data)
            if award not in self._accepted:
                message = f"{event.agent} committed the {award}, which {award.winner} has not accepted"
                agents = (event.agent, award.winner)
                return Violation(NO_COMMIT_WITHOUT_ACCEPT.name, message, event.at_ns, agents)
        return None

    def finish(self, final: FinalState) -> None:
        return None


NO_COMMIT_WITHOUT_ACCEPT: Final = Property(
    "no_commit_without_accept",
    Kind.HISTORY,
    "A contract is committed only to a winner that has accepted that award.",
    _Checker,
)
