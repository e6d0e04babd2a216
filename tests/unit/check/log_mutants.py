"""Replicas of a log, and sides of a two-phase commit, with one planted bug each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_convergence._engine.base.effects import Effect, Persist, Sync
from pytest_convergence._engine.patterns.quorum import committed_index
from pytest_convergence._engine.patterns.raft import Role
from pytest_convergence._engine.patterns.raft_log import Entry
from pytest_convergence._engine.patterns.raft_progress import Commitment
from pytest_convergence._engine.patterns.raft_replication import RaftReplica
from pytest_convergence._engine.patterns.two_phase_commit import ABORT, COMMIT, Stage, TwoPhaseCommit


class VotesForAnyLog(RaftReplica):
    """Asks nobody how far its log reaches."""

    def _may_win(self, candidacy: Any) -> bool:
        return True


class CommitsOldTerms(RaftReplica):
    """Begins its term with nothing of its own, and commits whatever a quorum holds (figure 8 of the Raft paper)."""

    def _first_entries(self) -> list[Entry]:
        return []

    def _append(self, entries: list[Entry]) -> list[Effect]:
        self.commitment._start = 1
        return super()._append(entries)


class TruncatesOnEveryAppend(RaftReplica):
    """Drops what follows the entry that it is sent, whether it conflicts or not: a late message takes back newer entries."""

    def _merge(self, prev: int, entries: list[Entry]) -> list[Effect]:
        return self.log.write(prev + 1, entries) if entries else []


class OverwritesWithoutLooking(RaftReplica):
    """Does not compare the entry before those that it is sent."""

    def _on_append(self, sender: str, payload: Any) -> list[Effect]:
        prev = min(payload["prev_index"], self.log.last_index)
        return super()._on_append(
            sender, {**payload, "prev_index": prev, "prev_term": self.log.term_at(prev)}
        )


class ForgetsItsLog(RaftReplica):
    """Keeps term and vote, and nothing else."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return super().on_start({key: value for key, value in durable.items() if not key.startswith("log.")})


class WritesTheLogLater(RaftReplica):
    """Answers first and syncs afterwards."""

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        effects = list(super().on_message(sender, kind, payload))
        return sorted(effects, key=lambda effect: isinstance(effect, Persist | Sync))


class QuorumOfTheReachable(Commitment):
    """Counts a quorum of those who have answered lately."""

    def _count(self) -> None:
        self.index = max(self.index, committed_index(list(self._held), self._held))


class CommitsWithTheReachable(RaftReplica):
    def _begin_to_lead(self) -> list[Effect]:
        effects = super()._begin_to_lead()
        self.commitment = QuorumOfTheReachable(self.agents, 1)
        self.commitment.match(self.name, self.log.last_index)
        return [*effects, *self._take_commitment()]


class CommitsWhatItHasNot(RaftReplica):
    """Takes over the leader's commit index as it is."""

    def _on_append(self, sender: str, payload: Any) -> list[Effect]:
        effects = super()._on_append(sender, payload)
        if payload["term"] == self.term and self.role is Role.FOLLOWER:
            effects += self._commit_up_to(min(payload["commit"], self.log.last_index))
        return effects


class ReadsAlone(RaftReplica):
    """A leader that reads what it has, without asking whether it still leads."""

    def _read(self, id: str, asker: str) -> list[Effect]:
        return self._allow(id, asker, self.commit)


class ForgetsItsVow(RaftReplica):
    """Votes right after a restart, although a leader may rely on its lease."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        effects = super().on_start(durable)
        self.vowed = False
        return effects


class TrustsItsLeaseForEver(RaftReplica):
    """Holds its lease as long as it believes to lead, and never asks for its quorum."""

    @property
    def holds_lease(self) -> bool:
        return self.role is Role.LEADER

    def _check_quorum(self) -> list[Effect]:
        return [self._quorum_timer()]


# -- two-phase commit --------------------------------------------------------------------------------------------------


class AbortsAlone(TwoPhaseCommit):
    """Loses patience after it has voted yes."""

    def _repeat(self) -> list[Effect]:
        return super()._repeat() if self.coordinates else self._decide(ABORT)


class ForgetsTheCommit(TwoPhaseCommit):
    """The coordinator tells the decision before, and instead of, writing it down."""

    def _save(self, yes: bool | None, decision: str | None) -> list[Effect]:
        return super()._save(yes, None if self.coordinates else decision)


class CountsYesVotes(TwoPhaseCommit):
    """A repeated yes counts again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.yes = 0

    def _on_vote(self, sender: str, payload: Any) -> list[Effect]:
        if not self.coordinates or self.stage is not Stage.PREPARED or not payload["yes"]:
            return super()._on_vote(sender, payload)
        self.yes += 1
        return self._decide(COMMIT) if self.yes >= len(self.others) else []


class CommitsByMajority(TwoPhaseCommit):
    """Takes a majority of yes votes for all of them."""

    def _count(self) -> list[Effect]:
        return self._decide(COMMIT) if sum(self.votes.values()) > len(self.agents) // 2 else []
