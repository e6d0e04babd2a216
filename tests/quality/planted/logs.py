"""Rows 4, 5 and 10: a replicated log, as machines (Ongaro and Ousterhout 2014, sections 5.2 to 5.4).

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


class Election:
    """Elects leaders by terms and votes (section 5.2); nobody votes for a log that reaches less far than its own."""

    unit: ClassVar = 100 * MS

    def __init__(self, name: str, agents: Sequence[str]) -> None:
        self.name, self.peers, self.quorum = name, [a for a in agents if a != name], len(agents) // 2 + 1

    def on_start(self, durable: Mapping[str, Any]) -> Iterator[Any]:
        term, vote, self.log = durable.get("kept", (0, None, ()))
        yield Observe("log", {"entries": self.log})
        yield from self.turn("follower", term, vote, self.log)

    def turn(self, role: str, term: int, vote: str | None, log: Any) -> Iterator[Any]:
        changes = list(differences(self.log, log))
        self.role, self.term, self.vote, self.log, self.votes = role, term, vote, log, {self.name}
        self.leader: str | None = None
        yield from (Persist("kept", (term, vote, log)), Sync(), *changes)
        yield from (Observe("term", {"term": term}), Observe("vote", {"term": term, "candidate": vote}))
        yield SetTimer("wake", 3 * self.unit, 3 * self.unit)

    def on_timer(self, name: str) -> Iterator[Any]:
        yield from self.turn("candidate", self.term + 1, self.name, self.log)
        yield from (Send(peer, "vote for me", (self.term, self.log)) for peer in self.peers)

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterator[Any]:
        if payload[0] > self.term:
            yield from self.turn("follower", payload[0], None, self.log)
        if payload[0] == self.term:
            yield from getattr(self, f"on_{kind.replace(' ', '_')}")(sender, *payload)

    def on_vote_for_me(self, sender: str, term: int, log: Any) -> Iterator[Any]:
        if self.vote in (None, sender) and self.may_lead(log):
            yield from self.turn("follower", term, sender, self.log)
            yield Send(sender, "vote", (term,))

    def on_vote(self, sender: str, term: int) -> Iterator[Any]:
        self.votes.add(sender)
        if self.role == "candidate" and len(self.votes) >= self.quorum:
            yield from self.lead()

    def lead(self) -> Iterator[Any]:
        self.role = "leader"
        yield from (Observe("leader", {"term": self.term}), SetTimer("wake", 0))

    def may_lead(self, log: Any) -> bool:
        return reach(log) >= reach(self.log)

    def view(self) -> Any:
        return self.term


class Raft(Election):
    """A leader takes a command now and then, and sends its log; what a majority holds is committed (5.3 and 5.4)."""

    every: ClassVar = 4
    commit = beats = 0

    def lead(self) -> Iterator[Any]:
        self.held = dict.fromkeys(self.peers, 0)
        yield from super().lead()

    def on_timer(self, name: str) -> Iterator[Any]:
        if self.role != "leader":
            yield from super().on_timer(name)
            return
        self.beats += 1
        if self.beats % self.every == 0:
            yield from self.turn("leader", self.term, self.vote, (*self.log, (self.term, self.beats)))
        yield from (Send(peer, "log", (self.term, self.log, self.commit)) for peer in self.peers)
        yield SetTimer("wake", self.unit)

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

    def may_commit(self, index: int) -> bool:
        return self.log[index - 1][0] == self.term

    def joined(self, log: Any) -> Any:
        return self.log if self.log[: len(log)] == log else log

    def on_command(self, name: str, argument: Any) -> Iterator[Any]:
        return iter(())


class VotesForAnyLog(Raft):
    def may_lead(self, log: Any) -> bool:
        return True


class Eager(Raft):
    """The same, in a hurry, and with a command to begin with."""

    unit, every, beats = 50 * MS, 3, 2


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
