"""Row 25: a register that settles conflicts by the last write, a log of additions, and a counter that is merged."""

from __future__ import annotations

import asyncio
from functools import cache
from itertools import count
from typing import Any, Final

from pytest_convergence import Session, SimulatedAgent
from tests.quality.planted.bug import FIVE, Bug, Case

Write = dict[str, Any]


class Register:
    """Everybody writes twice, tells the others, and holds the latest of those that none has overwritten."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent, self.held = agent, {"value": None}
        self.known: dict[str, Write] = {}
        agent.expose(lambda: self.held["value"])

    async def run(self) -> None:
        writes_in = self.agent.random.sample(range(5), 2)
        for number in count():
            if number in writes_in:
                self.write(f"{self.agent.name} {number}")
            await self.agent.broadcast(list(self.known.values()))
            try:
                async with asyncio.timeout(0.2):
                    while True:
                        for write in (await self.agent.receive()).payload:
                            if write["id"] not in self.known:
                                self.take(write)
            except TimeoutError:
                continue

    def write(self, id: str) -> None:
        at = round(self.agent.now(), 1)
        mine = {"id": id, "by": self.agent.name, "value": id, "at": at, "seen": sorted(self.known)}
        self.agent.observe("write", path="title", **mine)
        self.take(mine)

    def take(self, write: Write) -> None:
        self.known[write["id"]] = write
        overwritten = {id for each in self.known.values() for id in each["seen"]}
        rivals = [each for id, each in self.known.items() if id not in overwritten]
        self.held = self.choose(rivals, write)
        said = {"path": "title", "strategy": "last-write"}
        if len(rivals) > 1:
            self.agent.observe(
                "conflict", writes=[each["id"] for each in rivals], winner=self.held["id"], **said
            )
        self.agent.observe("keep", write=self.held["id"], **said)

    def choose(self, rivals: list[Write], arrived: Write) -> Write:
        return max(rivals, key=lambda write: (write["at"], write["by"]))


class TieKeepsLocal(Register):
    def choose(self, rivals: list[Write], arrived: Write) -> Write:
        latest = max(write["at"] for write in rivals)
        return max(rivals, key=lambda write: (write["at"], write is self.held)) if latest else arrived


class SkewedClockWins(Register):
    def choose(self, rivals: list[Write], arrived: Write) -> Write:
        return max(self.known.values(), key=lambda write: (write["at"], write["by"]))


class ArrivalWins(Register):
    def choose(self, rivals: list[Write], arrived: Write) -> Write:
        return arrived


class Additions:
    """Everybody adds three numbers, and sends each of the others what it has not acknowledged."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent, self.total = agent, 0
        self.known: dict[str, int] = {}
        self.acknowledged = dict.fromkeys(agent.peers, 0)
        agent.expose(lambda: self.total)

    async def run(self) -> None:
        for number in count():
            if number < 3:
                self.apply(f"{self.agent.name}{number}", number + 1)
            for peer, acknowledged in self.acknowledged.items():
                await self.send(peer, list(self.known.items())[acknowledged:], acknowledged)
            try:
                async with asyncio.timeout(0.2):
                    while True:
                        message = await self.agent.receive()
                        await self.take(message.sender, message.type, message.payload)
            except TimeoutError:
                continue

    async def take(self, sender: str, kind: str, payload: Any) -> None:
        if kind == "acknowledged":
            self.acknowledged[sender] = max(payload, self.acknowledged[sender])
            return
        for id, amount in payload["events"]:
            if self.is_new(id):
                self.apply(id, amount)
        await self.agent.send(sender, payload["upto"], type="acknowledged")

    async def send(self, peer: str, events: list[Any], since: int) -> None:
        if events:
            await self.agent.send(peer, {"events": events, "upto": since + len(events)}, type="events")

    def is_new(self, id: str) -> bool:
        return id not in self.known

    def apply(self, id: str, amount: int) -> None:
        self.known[id] = amount
        self.total += amount
        self.agent.observe("replica", seen=sorted(self.known), state=self.total)


class SinceLastSent(Additions):
    async def send(self, peer: str, events: list[Any], since: int) -> None:
        await super().send(peer, events, since)
        self.acknowledged[peer] = since + len(events)


class AppliesTwice(Additions):
    def is_new(self, id: str) -> bool:
        return True


class Counter:
    """Counts what each agent has counted, and takes the greater number of what it hears."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent = agent
        self.counts: dict[str, int] = {}
        self.seen: dict[str, int] = {}
        agent.expose(lambda: sum(self.counts.values()))

    async def run(self) -> None:
        for number in count():
            if number < 3:
                self.merge({self.agent.name: number + 1}, {self.agent.name: number + 1})
            await self.agent.broadcast([self.counts, self.seen])
            try:
                async with asyncio.timeout(0.2):
                    while True:
                        self.merge(*(await self.agent.receive()).payload)
            except TimeoutError:
                continue

    def merge(self, counts: dict[str, int], seen: dict[str, int]) -> None:
        for name, counted in counts.items():
            self.counts[name] = self.joined(self.counts.get(name, 0), counted)
        for name, counted in seen.items():
            self.seen[name] = max(counted, self.seen.get(name, 0))
        self.agent.observe("replica", seen=dict(self.seen), state=sum(self.counts.values()))

    def joined(self, mine: int, theirs: int) -> int:
        return max(mine, theirs)


class SumsOnMerge(Counter):
    def joined(self, mine: int, theirs: int) -> int:
        return mine + theirs


CONFLICTS: Final = (
    "detect_exact",
    "no_silent_loss",
    "deterministic_resolution",
    "last_write_rule",
    "convergence",
)
SYNC: Final = ("sec", "sync_equivalence", "convergence")


@cache
def case(replica: Any, properties: tuple[str, ...], *faults: str) -> Case:
    async def member(agent: SimulatedAgent) -> None:
        await replica(agent).run()

    options = {"agents": dict.fromkeys(FIVE, member), "properties": list(properties), "network": "lossy"}
    return Case(options | {"faults": ["partition", *faults]}, scenario=for_a_while)


async def for_a_while(session: Session) -> None:
    await session.sleep(4)


def bug(name: str, buggy: Any, correct: Any, caught_by: str, budget: int) -> Bug:
    properties, faults = (CONFLICTS, ("skew",)) if correct is Register else (SYNC, ())
    return Bug(
        25,
        name,
        case(buggy, properties, *faults),
        case(correct, properties, *faults),
        tuple(caught_by.split()),
        budget,
    )


LAST: Final = "last_write_rule deterministic_resolution"
BUGS: Final = (
    bug("tie keeps local", TieKeepsLocal, Register, LAST, 300),
    bug("skewed clock wins", SkewedClockWins, Register, LAST + " detect_exact", 300),
    bug("arrival wins", ArrivalWins, Register, LAST, 30),
    bug("counters summed on merge", SumsOnMerge, Counter, "sec", 30),
    bug("delta since last sent", SinceLastSent, Additions, "sync_equivalence convergence", 30),
    bug("event applied twice", AppliesTwice, Additions, "sec", 30),
)
