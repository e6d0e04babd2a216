"""A contract net as a user would write it: coroutine agents, correct, and with one bug each."""

from __future__ import annotations

import asyncio
from typing import Any

from pytest_convergence import Message, SimulatedAgent

DEADLINE = 5.0
PATIENCE = 4.0
RESEND = 0.5

SCORES = {"a": 1, "b": 3, "c": 3, "d": 2}
"""What the bids are worth: two are equal."""


class Manager:
    """Calls for bids, awards the contract to the best, and to the next if the best does not accept in time.

    It keeps nothing: a life that begins anew calls again. The numbers of its awards go on where the clock is.
    """

    def __init__(self) -> None:
        self.bids: dict[str, int] = {}
        self.number = 0

    async def __call__(self, agent: SimulatedAgent) -> None:
        self.__init__()  # type: ignore[misc]
        self.call = agent.storage.get("call", 0) + 1
        await self.take_back(agent)
        agent.storage.put("call", self.call)
        await agent.storage.sync()
        await self.collect(agent)
        left = self.ranking()
        winner = None
        while left and winner is None:
            winner = await self.award(agent, left.pop(0))
        await self.tell(agent, winner)

    async def take_back(self, agent: SimulatedAgent) -> None:
        """What an earlier life awarded is taken back before anything else is."""
        number, holder = agent.storage.get("award", (0, None))
        self.number = number
        if holder is not None:
            agent.observe("award_revoked", number=number, winner=holder)
            await agent.send(holder, number, type="revoke")

    async def collect(self, agent: SimulatedAgent) -> None:
        agent.observe("called", call=self.call, deadline=DEADLINE, order=list(agent.peers))
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    for peer in agent.peers:
                        if peer not in self.bids:
                            await agent.send(peer, self.call, type="call")
                    await self.listen(agent)
        except TimeoutError:
            pass
        self.close(agent)

    def close(self, agent: SimulatedAgent) -> None:
        agent.observe("bids_closed", call=self.call)

    async def listen(self, agent: SimulatedAgent) -> None:
        try:
            while True:
                self.take(agent, await agent.receive(timeout=RESEND, type="bid"))
        except TimeoutError:
            pass

    def take(self, agent: SimulatedAgent, message: Message) -> None:
        call, score = message.payload
        if call == self.call and message.sender not in self.bids:
            self.bids[message.sender] = score
            agent.observe("bid", call=call, bidder=message.sender, score=score)

    def ranking(self) -> list[str]:
        return sorted(self.bids, key=lambda bidder: (-self.bids[bidder], bidder))

    async def award(self, agent: SimulatedAgent, winner: str) -> str | None:
        """Offer the contract; return the winner if it accepts."""
        self.number += 1
        agent.storage.put("award", (self.number, winner))
        await agent.storage.sync()
        agent.observe("award", number=self.number, winner=winner, call=self.call)
        if await self.is_accepted(agent, winner):
            agent.observe("award_committed", number=self.number, winner=winner)
            return winner
        await self.revoke(agent, winner)
        return None

    async def is_accepted(self, agent: SimulatedAgent, winner: str) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    await agent.send(winner, self.number, type="award")
                    try:
                        answer = await agent.receive(timeout=RESEND, type="accept")
                    except TimeoutError:
                        continue
                    if answer.sender == winner and answer.payload == self.number:
                        return True
        except TimeoutError:
            return False

    async def revoke(self, agent: SimulatedAgent, winner: str) -> None:
        agent.storage.put("award", (self.number, None))
        await agent.storage.sync()
        agent.observe("award_revoked", number=self.number, winner=winner)
        await agent.send(winner, self.number, type="revoke")

    async def tell(self, agent: SimulatedAgent, winner: str | None) -> None:
        agent.observe("decide", value=winner or "nobody")
        for _ in range(100):
            await agent.broadcast(winner or "nobody", type="done")
            await asyncio.sleep(RESEND)


class TieByArrival(Manager):
    """21: of equal bids the one that came first wins."""

    def ranking(self) -> list[str]:
        return sorted(self.bids, key=lambda bidder: -self.bids[bidder])


class NeverRevokes(Manager):
    """21: gives the contract to the next, and does not take it back from the first."""

    async def revoke(self, agent: SimulatedAgent, winner: str) -> None:
        pass


class TakesLateBids(Manager):
    """21: waits so long for each bid, instead of so long for all."""

    async def collect(self, agent: SimulatedAgent) -> None:
        agent.observe("called", call=self.call, deadline=DEADLINE, order=list(agent.peers))
        await agent.broadcast(self.call, type="call")
        try:
            while len(self.bids) < len(agent.peers):
                self.take(agent, await agent.receive(timeout=DEADLINE, type="bid"))
        except TimeoutError:
            pass
        self.close(agent)


class BelievesItAccepted(Manager):
    """Does not wait for the winner's word."""

    async def is_accepted(self, agent: SimulatedAgent, winner: str) -> bool:
        await agent.send(winner, self.number, type="award")
        return True


class AwardsTheFirstPeer(Manager):
    """Falls back to somebody who has not said that it wants the contract."""

    def ranking(self) -> list[str]:
        return ["d"]


class TellsTheWinnerAlone(Manager):
    async def tell(self, agent: SimulatedAgent, winner: str | None) -> None:
        agent.observe("decide", value=winner or "nobody")
        for _ in range(100):
            for peer in agent.peers:
                await agent.send(peer, winner or "nobody", type="done" if peer == winner else "news")
            await asyncio.sleep(RESEND)


class Contractor:
    """Bids, and accepts what it is awarded."""

    def __init__(self, seconds: float = 0.0, *, bids: bool = True) -> None:
        self.seconds = seconds
        self.bids = bids

    async def __call__(self, agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            await self.react(agent, message)

    async def react(self, agent: SimulatedAgent, message: Message) -> None:
        if message.type == "call" and self.bids:
            await asyncio.sleep(self.seconds or agent.random.uniform(0, 0.5))
            await agent.send(message.sender, (message.payload, SCORES[agent.name]), type="bid")
        elif message.type == "award" and message.payload > agent.storage.get("revoked", 0):
            agent.storage.put("accepted", message.payload)
            await agent.storage.sync()
            agent.observe("award_accepted", number=message.payload)
            await agent.send(message.sender, message.payload, type="accept")
        elif message.type == "revoke":
            agent.storage.put("revoked", max(message.payload, agent.storage.get("revoked", 0)))
            await agent.storage.sync()
        elif message.type in ("done", "news"):
            agent.observe("decide", value=message.payload)
            if message.type == "done":
                agent.observe("bid_answered", answer=message.payload)


def cast(manager: type[Manager], lazy: float = 0.0, *, shy: bool = False) -> dict[str, Any]:
    """The protocols of a manager and four contractors; ``c`` may be lazy and ``b`` half so, and ``d`` may never bid."""
    return {
        "boss": manager(),
        "a": Contractor(),
        "b": Contractor(lazy / 2),
        "c": Contractor(lazy),
        "d": Contractor(bids=not shy),
    }
