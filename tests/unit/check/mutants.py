"""The reference machines with one planted bug each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_convergence._engine.base.effects import Effect, Persist, Send, Sync
from pytest_convergence._engine.patterns.quorum import VoteResult, vote_result
from pytest_convergence._engine.patterns.raft import Event, RaftElection, Role
from pytest_convergence._engine.patterns.voting import Voting


class GrantsEveryVote(RaftElection):
    def _on_vote_request(self, sender: str, payload: Any) -> list[Effect]:
        if payload["term"] == self.term and self.role in (Role.FOLLOWER, Role.PRE_CANDIDATE):
            self.voted_for = self.leader = None
        return super()._on_vote_request(sender, payload)


class ForgetsOnRestart(RaftElection):
    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return super().on_start({})


class RepliesFirst(RaftElection):
    """Sends everything, and only then writes and syncs."""

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        effects = super().on_message(sender, kind, payload)
        return sorted(effects, key=lambda effect: isinstance(effect, Persist | Sync))


class SyncsLast(RaftElection):
    """Writes, sends, and syncs when all is said."""

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        effects = super().on_message(sender, kind, payload)
        return sorted(effects, key=lambda effect: isinstance(effect, Sync))


class QuorumOfReachable(RaftElection):
    def _result(self) -> VoteResult:
        return vote_result(list(self.votes), self.votes)


class CountsVotes(RaftElection):
    """A repeated answer counts again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.granted = 0

    def _stand(self) -> list[Effect]:
        self.granted = 1
        return super()._stand()

    def _on_vote_response(self, sender: str, payload: Any) -> list[Effect]:
        if self.role is not Role.CANDIDATE or payload["term"] != self.term or not payload["granted"]:
            return super()._on_vote_response(sender, payload)
        self.granted += 1
        return self._lead() if self.granted >= self.quorum else []


class TakesOlderTermsVote(RaftElection):
    def _on_vote_response(self, sender: str, payload: Any) -> list[Effect]:
        return super()._on_vote_response(sender, {**payload, "term": self.term})


class ClearsVoteOnLeader(RaftElection):
    def _on_heartbeat(self, sender: str, payload: Any) -> list[Effect]:
        effects = super()._on_heartbeat(sender, payload)
        if self.leader == sender:
            self.voted_for = None
            effects = [*self._save(), *effects]
        return effects


class TakesAnyTerm(RaftElection):
    """Adopts every term that it hears of, lower ones too."""

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        effects = self._adopt(payload["term"]) if payload["term"] < self.term else []
        return [*effects, *super().on_message(sender, kind, payload)]


class NeverStepsDown(RaftElection):
    """A leader is a leader for ever."""

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        return [] if self.role is Role.LEADER else super().on_message(sender, kind, payload)

    def _check_quorum(self) -> list[Effect]:
        return [self._quorum_timer()]


class NeverStands(RaftElection):
    def _campaign(self) -> list[Effect]:
        self._follow(Event.ELECTION_TIMEOUT)
        return self._follow(Event.ELECTION_LOST) + self._arm_election()


class ForgetsItsVotes(Voting):
    """Nothing is durable."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return super().on_start({})


class DecidesAlone(Voting):
    """Takes what leads when its patience ends."""

    def _hurry(self) -> list[Effect]:
        if self.repeats < 2:
            return []
        return self._decide(self._tally().leading[0])


class ForgetsTheDecision(DecidesAlone):
    """Takes what leads, and after a crash asks again and takes what leads then."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return super().on_start({})

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        return []


class CountsBallots(Voting):
    """A repeated vote counts again: it may take any two ballots for one value as a quorum of three."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: dict[str, int] = {}

    def _on_ballot(self, sender: str, payload: Any) -> list[Effect]:
        key = f"{payload['round']} {payload['vote']}"
        self.seen[key] = self.seen.get(key, 1 if payload["vote"] == self.vote else 0) + 1
        if payload["round"] == self.round and self.seen[key] >= self.rules.quorum:
            return self._decide(payload["vote"])
        return super()._on_ballot(sender, payload)


class InventsValues(Voting):
    def _decide(self, value: Any) -> list[Effect]:
        return super()._decide(f"{value}, roughly")


class TakesEveryDecision(Voting):
    """Decides again whenever somebody announces something, and announces what it likes."""

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        return [*self._decide(payload["value"]), *self.decision.heard_from(sender, ask=payload["ask"])]

    def _hurry(self) -> list[Effect]:
        return self._decide(self.vote)


class NeverRepeats(Voting):
    def _repeat(self) -> list[Effect]:
        return [self._round_timer()]

    def on_timer(self, name: str) -> Iterable[Effect]:
        effects = super().on_timer(name)
        return [effect for effect in effects if not isinstance(effect, Send)]
