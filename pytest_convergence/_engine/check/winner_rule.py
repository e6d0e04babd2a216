"""Winner rule: the contract goes to the best of the bids that came in time, by one declared total order.

The order is that of the scores, and of the declared order of agents where scores are equal. Those from whom an award was
revoked are out of it. In a tournament each match obeys the rule too, and a later call ranks before an earlier one.

Source: R. G. Smith, *The Contract Net Protocol* (1980): the manager evaluates the bids and awards the contract to the one
that it deems best. That the order be total is what makes the award a function of the bids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.contracts import Contracts, award_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["WINNER_RULE"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._contracts = Contracts(scope.agents)

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        self._contracts.take(fact, data)
        if fact == "award":
            return self._award(event, data)
        return self._match(event, data) if fact == "match" else None

    def _award(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        award = award_of(data)
        ranking = [agent for agent in self._ranking() if agent not in self._contracts.lost]
        if not ranking or ranking[0] == award.winner or award in self._contracts.revoked:
            return None
        best = ranking[0]
        scores = self._scores()
        worth = repr(scores[award.winner]) if award.winner in scores else "not scored"
        theirs = f"that of {award.winner} is {worth}"
        message = (
            f"{event.agent} made {award}, but the best bid in time is that of {best} (its score is {scores[best]!r}, "
            f"{theirs}; equal scores go by the order {', '.join(self._order())})"
        )
        facts = {"winner": award.winner, "best": best, "scores": scores}
        return Violation(WINNER_RULE.name, message, event.at_ns, (event.agent, award.winner, best), facts)

    def _match(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        ranking = self._contracts.of(data).ranking()
        present = [agent for agent in ranking if agent in (data.get("one"), data.get("other"))]
        winner = data.get("winner")
        if not present or present[0] == winner:
            return None
        message = f"{event.agent} let {winner} win the match that {present[0]} had won by its score"
        facts = {"winner": winner, "best": present[0], "scores": dict(self._contracts.of(data).scores)}
        return Violation(WINNER_RULE.name, message, event.at_ns, (event.agent, present[0]), facts)

    def _ranking(self) -> list[str]:
        """Everybody who is in it, best first: of each later call before those of an earlier one."""
        ranking: dict[str, None] = {}
        for call in reversed(self._contracts.calls):
            ranking.update(dict.fromkeys(call.ranking()))
        return list(ranking)

    def _scores(self) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        for call in self._contracts.calls:
            scores.update(call.scores)
        return scores

    def _order(self) -> list[str]:
        return self._contracts.calls[-1].order

    def finish(self, final: FinalState) -> None:
        return None


WINNER_RULE: Final = Property(
    "winner_rule",
    Kind.HISTORY,
    "The contract goes to the best bid that came in time, by a declared total order.",
    _Checker,
)
