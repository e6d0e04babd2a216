"""Row 21: a manager calls for bids, awards the contract to the best one, and to the next best if that one keeps silent."""

from __future__ import annotations

import asyncio
from typing import Final

from pytest_convergence import SimulatedAgent
from tests.quality.planted.bug import Bug, Case

SCORES: Final = {"ann": 1, "bob": 3, "cleo": 3, "dan": 2}
PROPERTIES: Final = (
    "single_award",
    "winner_rule",
    "late_bid_rejected",
    "award_known_bidder",
    "no_commit_without_accept",
)


class Manager:
    """Awards one contract."""

    patience: float = 1

    async def __call__(self, agent: SimulatedAgent) -> None:
        bids = await self.collect(agent)
        agent.observe("bids_closed", call=1)
        for number in range(1, len(bids) + 1):
            winner = self.best(bids)
            agent.observe("award", number=number, winner=winner)
            if await self.accepts(agent, winner, number):
                agent.observe("award_committed", number=number, winner=winner)
                return
            self.revoke(agent, winner, number)
            del bids[winner]

    async def collect(self, agent: SimulatedAgent) -> dict[str, int]:
        agent.observe("called", call=1, deadline=1, order=sorted(SCORES))
        bids: dict[str, int] = {}
        try:
            async with asyncio.timeout(self.patience):
                await agent.broadcast("call")
                while len(bids) < len(SCORES):
                    bid = await agent.receive(type="bid")
                    bids[bid.sender] = bid.payload
                    agent.observe("bid", call=1, bidder=bid.sender, score=bid.payload)
        except TimeoutError:
            pass  # whoever has not bid by now has not bid
        return bids

    async def accepts(self, agent: SimulatedAgent, winner: str, number: int) -> bool:
        try:
            async with asyncio.timeout(1):
                await agent.send(winner, number, type="award")
                while (await agent.receive(sender=winner, type="accept")).payload != number:
                    pass
        except TimeoutError:
            return False
        return True

    def best(self, bids: dict[str, int]) -> str:
        return min(bids, key=lambda bidder: (-bids[bidder], bidder))

    def revoke(self, agent: SimulatedAgent, winner: str, number: int) -> None:
        agent.observe("award_revoked", number=number, winner=winner)


class FasterWinsTies(Manager):
    def best(self, bids: dict[str, int]) -> str:
        return max(bids, key=lambda bidder: bids[bidder])  # of equal ones the first that came


class RevokesNothing(Manager):
    def revoke(self, agent: SimulatedAgent, winner: str, number: int) -> None:
        """The next one gets it, and this one may still believe that it has it."""


class TakesLateBids(Manager):
    patience = 2


async def contractor(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        if message.type == "award":
            agent.observe("award_accepted", number=message.payload)
            await agent.send("boss", message.payload, type="accept")
        else:
            await asyncio.sleep(agent.random.uniform(0, 1.6))  # think
            await agent.send("boss", SCORES[agent.name], type="bid")


def case(manager: Manager) -> Case:
    agents = {"boss": manager.__call__, **dict.fromkeys(SCORES, contractor)}
    options = {"agents": agents, "properties": list(PROPERTIES), "network": "lossy"}
    return Case(options | {"faults": ["partition", "pause"]})


TWIN: Final = case(Manager())
BUGS: Final = (
    Bug(21, "tie by arrival", case(FasterWinsTies()), TWIN, ("winner_rule",), 300),
    Bug(21, "re-award without revoke", case(RevokesNothing()), TWIN, ("single_award",), 300),
    Bug(21, "late bid accepted", case(TakesLateBids()), TWIN, ("late_bid_rejected",), 300),
)
