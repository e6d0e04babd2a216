"""Rows 1, 2, 3, 6, 7, 8 and 9: an election by terms and votes, as a coroutine (Ongaro and Ousterhout 2014, section 5.2)."""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence import LeaderFollower, Session, SimulatedAgent
from tests.quality.planted.bug import FIVE, Bug, Case


class Elector:
    """Follows, stands when nobody is heard of, and leads with the votes of a majority."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent, self.disk, self.quorum = agent, agent.storage, len(agent.session.agents) // 2 + 1

    async def run(self, term: int, vote: str | None) -> None:
        await self.turn("follower", term, vote)
        while True:
            patience = 0.1 if self.role != "follower" else max(0, self.deadline - self.agent.now())
            try:
                message = await self.agent.receive(timeout=patience)
                await self.hear(message.type, message.sender, message.payload)
            except TimeoutError:
                await self.speak()

    async def turn(self, role: str, term: int, vote: str | None) -> None:
        self.role, self.term, self.vote, self.votes = role, term, vote, [self.agent.name]
        self.deadline = self.agent.now() + self.agent.random.uniform(0.5, 1)
        self.disk.put("term", term)
        self.disk.put("vote", vote)
        await self.disk.sync()
        self.agent.observe("term", term=term)
        self.agent.observe("vote", term=term, candidate=vote)

    async def speak(self) -> None:
        if self.role != "leader" and self.agent.now() >= self.deadline:
            await self.turn("candidate", self.term + 1, self.agent.name)
        if self.role != "follower":
            await self.agent.broadcast(self.term, type="I lead" if self.role == "leader" else "vote for me")

    async def hear(self, kind: str, sender: str, term: int) -> None:
        if term > self.term:
            await self.turn("follower", term, None)
        if kind == "vote for me" and term == self.term and self.vote in (None, sender):
            await self.turn(self.role, term, sender)
            await self.agent.send(sender, term, type="my vote")
        elif kind == "my vote" and self.role == "candidate" and term == self.term:
            self.votes.append(sender)
            if len(set(self.votes)) >= self.quorum:
                self.role = "leader"
                self.agent.observe("leader", term=term)
        elif kind == "I lead" and term == self.term:
            self.agent.observe("follow", leader=sender, term=term)
            await self.turn("follower", term, self.vote)


class GrantsEveryVote(Elector):
    async def hear(self, kind: str, sender: str, term: int) -> None:
        if kind == "vote for me" and term == self.term:
            self.vote = sender
        await super().hear(kind, sender, term)


class ForgetsOnRestart(Elector):
    async def run(self, term: int, vote: str | None) -> None:
        await super().run(0, None)


class SyncsLater(Elector):
    async def turn(self, role: str, term: int, vote: str | None) -> None:
        self.role, self.term, self.vote, self.votes = role, term, vote, [self.agent.name]
        self.deadline = self.agent.now() + self.agent.random.uniform(0.5, 1)
        self.disk.put("term", term)
        self.disk.put("vote", vote)
        self.agent.observe("term", term=term)
        self.agent.observe("vote", term=term, candidate=vote)

    async def hear(self, kind: str, sender: str, term: int) -> None:
        await super().hear(kind, sender, term)
        await self.disk.sync()  # after the answer


class QuorumOfReachable(Elector):
    async def hear(self, kind: str, sender: str, term: int) -> None:
        self.heard = getattr(self, "heard", {self.agent.name}) | {sender}
        self.quorum = len(self.heard) // 2 + 1
        await super().hear(kind, sender, term)


class CountsVotes(Elector):
    async def hear(self, kind: str, sender: str, term: int) -> None:
        await super().hear(kind, sender, term)
        if self.role == "candidate" and len(self.votes) >= self.quorum:
            self.role = "leader"
            self.agent.observe("leader", term=self.term)


class TakesOlderVotes(Elector):
    async def hear(self, kind: str, sender: str, term: int) -> None:
        await super().hear(kind, sender, max(term, self.term) if kind == "my vote" else term)


class ClearsItsVote(Elector):
    async def hear(self, kind: str, sender: str, term: int) -> None:
        if kind == "I lead" and term == self.term:
            self.vote = None
        await super().hear(kind, sender, term)


async def for_a_while(session: Session) -> None:
    await session.sleep(6)


def case(elector: type[Elector], network: str) -> Case:
    async def protocol(agent: SimulatedAgent) -> None:
        await elector(agent).run(agent.storage.get("term", 0), agent.storage.get("vote"))

    options: dict[str, Any] = {"pattern": LeaderFollower(), "agents": list(FIVE), "protocol": protocol}
    return Case(
        options | {"network": network, "faults": ["crash", "partition"]},
        scenario=for_a_while,
    )


TWINS: Final = {network: case(Elector, network) for network in ("lossy", "flaky")}


def bug(
    row: int, name: str, elector: type[Elector], caught_by: str, budget: int, network: str = "lossy"
) -> Bug:
    return Bug(row, name, case(elector, network), TWINS[network], tuple(caught_by.split()), budget)


BUGS: Final = (
    bug(1, "grants every vote of a term", GrantsEveryVote, "election_safety promises_survive_restart", 30),
    bug(2, "term and vote forgotten on restart", ForgetsOnRestart, "promises_survive_restart", 30),
    bug(3, "replies first and syncs after", SyncsLater, "promises_survive_restart", 300),
    bug(6, "quorum of reachable members", QuorumOfReachable, "election_safety", 30),
    bug(7, "counts votes and not voters", CountsVotes, "election_safety", 300),
    bug(8, "takes the vote of an older term", TakesOlderVotes, "election_safety", 3_000, "flaky"),
    bug(
        9, "clears its vote on seeing a leader", ClearsItsVote, "promises_survive_restart election_safety", 30
    ),
)
