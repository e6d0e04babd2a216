"""What is known of the contracts of a contract net, from the facts of its manager and contractors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

__all__ = ["AwardMade", "Call", "Contracts"]


class AwardMade(NamedTuple):
    """One award: its number and to whom the contract went."""

    number: Any
    winner: str

    def __str__(self) -> str:
        return f"award {self.number} to {self.winner}"


@final
class Call:
    """One call for proposals.

    Attributes:
        number: its number.
        order: the declared order of agents, which breaks ties.
        best: which score wins, ``"highest"`` or ``"lowest"``.
        bids: who has bid while bids were open.
        scores: what bids are worth, by bidder.
        late: who has bid after that.
        closed: whether bids are closed.
        over: whether another call has taken its place since, after an award: it is about a contract of its own then.
    """

    __slots__ = ("best", "bids", "closed", "late", "number", "order", "over", "scores")

    def __init__(self, number: Any, agents: Sequence[str]) -> None:
        self.number = number
        self.order = list(agents)
        self.best = "highest"
        self.bids: list[str] = []
        self.scores: dict[str, Any] = {}
        self.late: list[str] = []
        self.closed = False
        self.over = False

    def ranking(self) -> list[str]:
        """All who have bid in time and whose score is known, best first, equal ones in the declared order."""
        declared = [agent for agent in self.order if agent in self.bids and agent in self.scores]
        return sorted(declared, key=lambda agent: self.scores[agent], reverse=self.best == "highest")


@final
class Contracts:
    """The calls and awards of one run.

    Attributes:
        standing: the awards that have not been revoked.
        revoked: those that have.
        lost: from whom awards were revoked since the last calls were made.
    """

    __slots__ = ("_agents", "_awarded", "_calls", "lost", "revoked", "standing")

    def __init__(self, agents: Sequence[str]) -> None:
        self._agents = agents
        self._calls: dict[Any, Call] = {}
        self._awarded = False
        self.standing: list[AwardMade] = []
        self.revoked: list[AwardMade] = []
        self.lost: list[str] = []

    @property
    def calls(self) -> list[Call]:
        """The calls that the next award is about, in the order in which they were made: several in a tournament."""
        return [call for call in self._calls.values() if not call.over]

    def take(self, fact: str, data: Mapping[str, Any]) -> None:
        """Take one fact."""
        if fact == "called":
            self._called(data)
        elif fact in ("bid", "scored", "bids_closed", "bid_late"):
            self._bid(fact, self.of(data), data)
        elif fact == "award":
            award = award_of(data)
            self._awarded = True
            if award not in self.standing:
                self.standing.append(award)
        elif fact == "award_revoked":
            award = award_of(data)
            self.standing = [other for other in self.standing if other != award]
            if award not in self.revoked:  # else it is said once more, after a restart
                self.revoked.append(award)
                self.lost.append(award.winner)

    def of(self, data: Mapping[str, Any]) -> Call:
        """Return the call that a fact speaks of; the only one, if it does not say."""
        number = data.get("call", 1)
        found = self._calls.get(number)
        if found is None:
            found = self._calls[number] = Call(number, self._agents)
        return found

    def _called(self, data: Mapping[str, Any]) -> None:
        """A call is made, or made again after a restart: what the manager still has of its bids it says again."""
        self._calls.pop(data.get("call", 1), None)
        if self._awarded:
            self._awarded = False
            self.lost.clear()
            for other in self._calls.values():
                other.closed = other.over = True
        call = self.of(data)
        call.order = list(data.get("order", self._agents))
        call.best = str(data.get("best", call.best))

    def _bid(self, fact: str, call: Call, data: Mapping[str, Any]) -> None:
        bidder = str(data.get("bidder", ""))
        if fact == "bids_closed":
            call.closed = True
        elif fact == "bid_late":
            call.late.append(bidder)
        elif fact == "bid" and bidder not in call.bids:
            (call.late if call.closed else call.bids).append(bidder)
        if "score" in data:
            call.scores[bidder] = data["score"]


def award_of(data: Mapping[str, Any]) -> AwardMade:
    """Return the award that a fact speaks of."""
    return AwardMade(data.get("number", 1), str(data.get("winner")))
