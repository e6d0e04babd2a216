"""A fair vote: who is eligible has one vote, and what has the most weight wins.

D. Gifford, *Weighted Voting for Replicated Data*, 1979: votes weigh what was declared, whoever is reachable. Without a vote
for anything there is no winner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["FAIR_VOTE"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._agents = scope.agents
        self._cast: dict[tuple[str, str], Any] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "ballot":
            return self._take(event, data)
        votes = data.get("votes")
        if fact != "verdict" or not isinstance(votes, Mapping):
            return None
        message = self._judge(canonical(data.get("question", data.get("conflict"))), data, votes)
        if message is None:
            return None
        return Violation(FAIR_VOTE.name, message, event.at_ns, (event.agent,), {"votes": dict(votes)})

    def _take(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        question = canonical(data.get("question", data.get("conflict")))
        vote = data.get("vote")
        first = self._cast.setdefault((question, event.agent), vote)
        if first == vote:
            return None
        message = f"{event.agent} voted for {first!r}, and then for {vote!r}"
        return Violation(FAIR_VOTE.name, message, event.at_ns, (event.agent,))

    def _judge(self, question: str, data: Mapping[str, Any], votes: Mapping[str, Any]) -> str | None:
        weights = data.get("weights") or dict.fromkeys(self._agents, 1)
        strangers = sorted(set(votes) - set(weights))
        if strangers:
            return f"the vote of {strangers[0]} was counted, who is not eligible"
        for voter in sorted(votes):
            told = self._cast.get((question, voter), votes[voter])
            if told != votes[voter]:
                return f"the vote of {voter} for {told!r} was counted for {votes[voter]!r}"
        by_candidate: dict[Any, float] = {}
        for voter, vote in votes.items():
            if vote is not None:
                by_candidate[vote] = by_candidate.get(vote, 0) + weights[voter]
        winner = data.get("winner")
        if winner is None:
            return None
        most = max(by_candidate.values(), default=0)
        if not most:
            return f"{winner} won without a vote"
        if by_candidate.get(winner, 0) < most:
            return (
                f"{winner} won with {by_candidate.get(winner, 0):g} of the weight, and another had {most:g}"
            )
        if not data.get("quorum", True):
            return f"{winner} won without a quorum"
        return None

    def finish(self, final: FinalState) -> None:
        return None


FAIR_VOTE: Final = Property(
    "fair_vote",
    Kind.ALWAYS,
    "In a vote about a conflict each who is eligible counts once; without votes or a quorum nobody wins.",
    _Checker,
)
"""A fair vote."""
