"""Rows 1, 2, 3, 6, 7, 8 and 9: an election by terms and votes, as a coroutine (Ongaro and Ousterhout 2014, section 5.2)."""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence import LeaderFollower, Session, SimulatedAgent
from tests.quality.planted.bug import FIVE, Bug, Case


class Elector:
    """Follows, stands when nobody is heard of, and leads with the votes of a majority."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent, self.disk, self.votes = agent, agent.storage, [agent.name]
        self.quorum = len(agent.session.agents) // 2 + 1

    async def run(self) -> None:
        await self.turn("follower", *self.remembered())
        while True:
            patience = 0.1 if self.role != "follower" else max(0, self.deadline - self.agent.now())
            try:
                message = await self.agent.receive(timeout=patience)
            except TimeoutError:
                await self.speak()
            else:
                await self.hear(message.type, message.sender, message.payload)

    async def turn(self, role: str, term: int, vote: str | None) -> None:
        self.role, self.term, self.vote = role, term, vote
        self.deadline = self.agent.now() + self.agent.random.uniform(0.5, 1)
        self.disk.put("term", term)
        self.disk.put("vote", vote)
        await self.sync()
        self.agent.observe("term", term=term)
        self.agent.observe("vote", term=term, candidate=vote)

    async def speak(self) -> None:
        if self.role != "leader" and self.agent.now() >= self.deadline:
            self.votes = [self.agent.name]
            await self.turn("candidate", self.term + 1, self.agent.name)
        await self.agent.broadcast(self.term, type="I lead" if self.role == "leader" else "vote for me")

    async def hear(self, kind: str, sender: str, term: int) -> None:
        if term > self.term:
            await self.turn("follower", term, None)
        if kind == "vote for me" and term == self.term and self.may_have_my_vote(sender):
            await self.turn(self.role, term, sender)
            await self.agent.send(sender, term, type="my vote")
        elif kind == "my vote" and self.role == "candidate" and self.is_for(term):
            self.votes.append(sender)
            if self.has_won():
                self.role = "leader"
                self.agent.observe("leader", term=self.term)
        elif kind == "I lead" and term == self.term:
            await self.follow(sender)

    async def follow(self, leader: str) -> None:
        self.agent.observe("follow", leader=leader, term=self.term)
        await self.turn("follower", self.term, self.vote)

    def remembered(self) -> tuple[int, str | None]:
        return self.disk.get("term", 0), self.disk.get("vote")

    async def sync(self) -> None:
        await self.disk.sync()

    def may_have_my_vote(self, candidate: str) -> bool:
        return self.vote in (None, candidate)

    def is_for(self, term: int) -> bool:
        return term == self.term

    def has_won(self) -> bool:
        return len(set(self.votes)) >= self.quorum


class GrantsEveryVote(Elector):
    def may_have_my_vote(self, candidate: str) -> bool:
        return True


class ForgetsOnRestart(Elector):
    def remembered(self) -> tuple[int, str | None]:
        return 0, None


class SyncsLater(Elector):
    async def sync(self) -> None:
        """Not now: after the answer."""

    async def hear(self, kind: str, sender: str, term: int) -> None:
        await super().hear(kind, sender, term)
        await self.disk.sync()


class QuorumOfReachable(Elector):
    def has_won(self) -> bool:
        return len(set(self.votes)) > len(self.heard) // 2

    async def hear(self, kind: str, sender: str, term: int) -> None:
        self.heard = getattr(self, "heard", {self.agent.name}) | {sender}
        await super().hear(kind, sender, term)


class CountsVotes(Elector):
    def has_won(self) -> bool:
        return len(self.votes) >= self.quorum


class TakesOlderVotes(Elector):
    def is_for(self, term: int) -> bool:
        return True


class ClearsItsVote(Elector):
    async def follow(self, leader: str) -> None:
        self.vote = None
        await super().follow(leader)


async def for_a_while(session: Session) -> None:
    await session.sleep(6)


def case(elector: type[Elector], network: str) -> Case:
    async def protocol(agent: SimulatedAgent) -> None:
        await elector(agent).run()

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
