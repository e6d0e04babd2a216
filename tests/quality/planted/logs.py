"""Rows 4, 5 and 10: a replicated log, as a machine (Ongaro and Ousterhout 2014, sections 5.2 to 5.4).

A message carries its sender's whole log, which is all that is simpler than in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final

from pytest_convergence import LeaderFollower, Observe, Persist, Send, Session, SetTimer, Sync
from tests.quality.planted.bug import FIVE, Bug, Case

MS: Final = 1_000_000


def reach(log: Sequence[Any]) -> tuple[int, int]:
    """How far a log reaches: the term of its last entry, then its length."""
    return (log[-1][0] if log else 0, len(log))


def differences(old: Sequence[Any], new: Sequence[Any]) -> Iterator[Observe]:
    """Say what becomes of a log."""
    same = next(
        (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    if same < len(old):
        yield Observe("truncate", {"index": same + 1})
    for index, (term, value) in enumerate(new[same:], same + 1):
        yield Observe("append", {"index": index, "term": term, "value": value})


class Raft:
    """Elects leaders, which take a command now and then; what a majority holds is committed."""

    unit: ClassVar = 100 * MS

    def __init__(self, name: str, agents: Sequence[str]) -> None:
        self.name, self.peers, self.quorum = name, [a for a in agents if a != name], len(agents) // 2 + 1
        self.commit = self.beats = 0

    def on_start(self, durable: Mapping[str, Any]) -> Iterator[Any]:
        term, vote, log = durable.get("kept", (0, None, ()))
        self.log = log
        yield Observe("log", {"entries": log})
        yield from self.turn("follower", term, vote, log)

    def turn(self, role: str, term: int, vote: str | None, log: Any) -> Iterator[Any]:
        changes = list(differences(self.log, log))
        self.role, self.term, self.vote, self.log, self.votes = role, term, vote, log, {self.name}
        self.leader = self.name if role == "leader" else None
        yield from (Persist("kept", (term, vote, log)), Sync(), *changes)
        yield from (Observe("term", {"term": term}), Observe("vote", {"term": term, "candidate": vote}))
        yield SetTimer("wake", 3 * self.unit, 3 * self.unit)

    def on_timer(self, name: str) -> Iterator[Any]:
        if self.role != "leader":
            yield from self.turn("candidate", self.term + 1, self.name, self.log)
            yield from (Send(peer, "vote for me", (self.term, self.log)) for peer in self.peers)
            return
        self.beats += 1
        if self.takes_a_command():
            yield from self.turn("leader", self.term, self.vote, (*self.log, (self.term, self.beats)))
        yield from (Send(peer, "log", (self.term, self.log, self.commit)) for peer in self.peers)
        yield SetTimer("wake", self.unit)

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterator[Any]:
        if payload[0] > self.term:
            yield from self.turn("follower", payload[0], None, self.log)
        if payload[0] == self.term or kind == "vote for me":
            yield from getattr(self, f"on_{kind.replace(' ', '_')}")(sender, *payload)

    def on_vote_for_me(self, sender: str, term: int, log: Any) -> Iterator[Any]:
        if term == self.term and self.vote in (None, sender) and self.may_lead(log):
            yield from self.turn("follower", term, sender, self.log)
            yield Send(sender, "vote", (term,))

    def on_vote(self, sender: str, term: int) -> Iterator[Any]:
        self.votes.add(sender)
        if self.role == "candidate" and len(self.votes) >= self.quorum:
            self.role, self.held = "leader", dict.fromkeys(self.peers, 0)
            yield from (Observe("leader", {"term": term}), SetTimer("wake", 0))

    def on_log(self, sender: str, term: int, log: Any, commit: int) -> Iterator[Any]:
        if (self.leader, self.log) != (sender, self.joined(log)):
            yield from self.turn("follower", term, self.vote, self.joined(log))
            yield Observe("follow", {"term": term, "leader": sender})
            self.leader = sender
        yield SetTimer("wake", 3 * self.unit, 3 * self.unit)
        yield Send(sender, "held", (term, len(log)))
        yield from self.commit_up_to(min(commit, len(log)))

    def on_held(self, sender: str, term: int, length: int) -> Iterator[Any]:
        if self.role == "leader":
            self.held[sender] = max(length, self.held[sender])
            common = sorted([len(self.log), *self.held.values()])[-self.quorum]
            if common and self.may_commit(common):
                yield from self.commit_up_to(common)

    def commit_up_to(self, index: int) -> Iterator[Any]:
        if index > self.commit:
            self.commit = index
            yield Observe("commit", {"index": index, "term": self.term})

    def takes_a_command(self) -> bool:
        return self.beats % 4 == 0

    def may_lead(self, log: Any) -> bool:
        return reach(log) >= reach(self.log)

    def may_commit(self, index: int) -> bool:
        return self.log[index - 1][0] == self.term

    def joined(self, log: Any) -> Any:
        return self.log if self.log[: len(log)] == log else log

    def on_command(self, name: str, argument: Any) -> Iterator[Any]:
        return iter(())

    def view(self) -> Any:
        return self.term


class VotesForAnyLog(Raft):
    def may_lead(self, log: Any) -> bool:
        return True


class Eager(Raft):
    """The same, in a hurry, and with a command to begin with."""

    unit: ClassVar = 50 * MS

    def takes_a_command(self) -> bool:
        return self.beats % 3 == 1


class CountsOldTerms(Eager):
    def may_commit(self, index: int) -> bool:
        return True


class TruncatesAlways(Raft):
    def joined(self, log: Any) -> Any:
        return log


async def for_a_while(session: Session) -> None:
    await session.sleep(6)


async def for_a_moment(session: Session) -> None:
    await session.sleep(3)


@cache
def case(machine: type[Raft], scenario: Any = for_a_while) -> Case:
    return Case(
        {
            "pattern": LeaderFollower(replicate=True),
            "agents": list(FIVE),
            "protocol": machine,
            "network": "lossy",
            "faults": ["crash", "partition"],
        },
        scenario=scenario,
    )


BUGS: Final = (
    Bug(4, "no up-to-date check", case(VotesForAnyLog), case(Raft), ("leader_completeness",), 30),
    Bug(
        5,
        "commits an old term by counting",
        case(CountsOldTerms, for_a_moment),
        case(Eager, for_a_moment),
        ("leader_completeness",),
        6_000,
    ),
    Bug(
        10,
        "late append truncates",
        case(TruncatesAlways),
        case(Raft),
        ("leader_completeness", "committed_is_durable", "committed_on_quorum"),
        300,
    ),
)
