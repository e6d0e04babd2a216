"""Row 24: a work goes round from agent to agent, and each owner writes to a store as long as it owns it."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any, Final

from pytest_convergence import Message, SimulatedAgent
from tests.quality.planted.bug import Bug, Case

NEXT: Final = {"ann": "bob", "bob": "cleo", "cleo": "dan", "dan": "ann"}
PROPERTIES: Final = (
    "single_owner",
    "no_lost_owner",
    "no_stale_effect",
    "token_unique_monotonic",
    "transfer_exactly_once",
)


class Owner:
    """Offers the work to the next one, and lets go of it once that one has accepted."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent, self.next, self.owned, self.seen, self.promised = agent, NEXT[agent.name], 0, 0, 0

    async def run(self) -> None:
        if self.agent.name == "ann":
            self.own(1)
            await self.pass_on()
        async for message in self.agent.inbox:
            await self.take(message)
            await self.pass_on()

    async def pass_on(self) -> None:
        while self.promised or (self.owned and self.agent.now() < 10):
            if self.promised:
                await self.agent.send(self.next, self.promised, type="transfer")
            else:
                await self.agent.send("store", self.owned, type="write")
                await self.offer()
            with suppress(TimeoutError):
                await self.take(await self.agent.receive(timeout=0.2))

    async def take(self, message: Message) -> None:
        if message.type == "offer" and message.payload > self.seen:
            await self.agent.send(message.sender, message.payload, type="accept")
        elif message.type == "accept":
            self.let_go(message.payload)
        elif message.type == "transfer":
            self.own(message.payload)
            await self.agent.send(message.sender, message.payload, type="taken")
        elif message.type == "taken" and message.payload == self.promised:
            self.promised = 0

    async def offer(self) -> None:
        await self.agent.send(self.next, self.owned + 1, type="offer")

    def own(self, token: int) -> None:
        if token > self.seen:
            self.owned = self.seen = token
            self.agent.observe("own", task="work", token=token)

    def let_go(self, token: int) -> None:
        if self.owned and token == self.owned + 1:
            self.agent.observe("release", task="work", token=self.owned)
            self.owned, self.promised = 0, token


class ReleasesFirst(Owner):
    async def offer(self) -> None:
        self.agent.observe("release", task="work", token=self.owned)
        token, self.owned = self.owned + 1, 0
        await self.agent.send(self.next, token, type="transfer")


class TakesEveryTransfer(Owner):
    def own(self, token: int) -> None:
        self.owned = self.seen = token
        self.agent.observe("own", task="work", token=token)


class TakesEveryAccept(Owner):
    def let_go(self, token: int) -> None:
        if self.owned:
            self.agent.observe("release", task="work", token=self.owned)
            self.owned, self.promised = 0, token


async def store(agent: SimulatedAgent, *, is_fenced: bool = True) -> None:
    """Let the newest owner write, and refuse those that came before it."""
    newest = 0
    async for message in agent.inbox:
        if message.payload >= newest or not is_fenced:
            newest = max(newest, message.payload)
            agent.observe("access", resource="store", task="work", token=message.payload)


async def open_store(agent: SimulatedAgent) -> None:
    await store(agent, is_fenced=False)


@cache
def case(owner: type[Owner] = Owner, guard: Any = store) -> Case:
    async def member(agent: SimulatedAgent) -> None:
        await owner(agent).run()

    agents = {**dict.fromkeys(NEXT, member), "store": guard}
    options = {"agents": agents, "properties": list(PROPERTIES), "network": "lossy"}
    return Case(options | {"faults": ["partition", "pause"]})


def bug(name: str, buggy: Case, caught_by: str, budget: int) -> Bug:
    return Bug(24, name, buggy, case(), tuple(caught_by.split()), budget)


ALL: Final = "single_owner token_unique_monotonic transfer_exactly_once no_lost_owner"
BUGS: Final = (
    bug("no fencing", case(guard=open_store), "no_stale_effect", 30),
    bug("release before accept", case(ReleasesFirst), "no_lost_owner", 30),
    bug("transfer accepted twice", case(TakesEveryTransfer), ALL, 30),
    bug("late ack deletes ownership", case(TakesEveryAccept), ALL, 300),
)
