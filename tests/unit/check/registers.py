"""Replicated registers as a user would write them, correct and with bugs, that say what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from pytest_convergence import SimulatedAgent

Write = dict[str, Any]


class Register:
    """One value that all agents write; by the last write, and conflicts are reported."""

    strategy: ClassVar[str] = "last-write"
    turns: ClassVar[int] = 3

    async def __call__(self, agent: SimulatedAgent) -> None:
        mind = type(self)()
        mind.agent = agent
        mind.known = {}
        mind.held = None
        agent.expose(lambda: None if mind.held is None else mind.held["id"])
        for turn in range(self.turns):
            await mind.listen(agent.random.uniform(0, 2))
            await mind.write(turn)
        await mind.listen(10)

    agent: SimulatedAgent
    known: dict[str, Write]
    held: Write | None

    async def listen(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            try:
                message = await self.agent.receive(timeout=left)
            except TimeoutError:
                return
            self.take(message.payload)

    async def write(self, turn: int) -> None:
        agent = self.agent
        write = {
            "id": f"{agent.name}{turn}",
            "by": agent.name,
            "value": f"{agent.name} {turn}",
            "at": round(agent.now()),  # whole seconds: ties happen
            "seen": sorted(self.known),
            "path": "title",
        }
        self.stamp(write)
        agent.observe("write", **write)
        self.take(write)
        await agent.broadcast(write)

    def stamp(self, write: Write) -> None:
        """Add to a write what the strategy asks for."""

    def take(self, write: Write) -> None:
        if write["id"] in self.known:
            return
        self.known[write["id"]] = write
        rivals = self.newest()
        before = self.held
        self.held = self.choose(rivals, write)
        if len(rivals) > 1:
            self.report(rivals)
        if before is None or before["id"] != self.held["id"]:
            self.agent.observe("keep", path="title", write=self.held["id"], strategy=self.strategy)

    def newest(self) -> list[Write]:
        """The writes that no other has seen."""
        seen = {id for write in self.known.values() for id in write["seen"]}
        return [write for id, write in sorted(self.known.items()) if id not in seen]

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return max(rivals, key=lambda write: (write["at"], write["by"], write["id"]))

    def report(self, rivals: Sequence[Write]) -> None:
        assert self.held is not None
        ids = [write["id"] for write in rivals]
        self.agent.observe(
            "conflict", path="title", writes=ids, winner=self.held["id"], strategy=self.strategy
        )


class FirstCome(Register):
    strategy = "first-come"

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return min(rivals, key=lambda write: (write["at"], write["by"], write["id"]))


class TieKeepsLocal(Register):
    """Asks the time alone; at equal times what is there stays."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        latest = max(write["at"] for write in rivals)
        tied = [write for write in rivals if write["at"] == latest]
        return self.held if self.held in tied and self.held is not None else tied[0]


class SkewedClockWins(Register):
    """Asks the time before it asks who has seen whom."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return max(self.known.values(), key=lambda write: (write["at"], write["by"], write["id"]))

    def report(self, rivals: Sequence[Write]) -> None:
        """Says nothing: it believes in time."""


class ArrivalWins(Register):
    """What comes last stays."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return arrived

    def report(self, rivals: Sequence[Write]) -> None:
        """Says nothing: it has not looked."""


class FirstArrivalWins(FirstCome):
    """What comes first stays, wherever it comes first."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return self.held if self.held in rivals and self.held is not None else arrived


class LosesInSilence(Register):
    """Settles conflicts, and tells nobody."""

    def report(self, rivals: Sequence[Write]) -> None:
        """Says nothing."""


class CriesWolf(Register):
    """Takes every change of another's value for a conflict."""

    def take(self, write: Write) -> None:
        held = self.held
        super().take(write)
        if held is not None and held["by"] != write["by"] and held["id"] in write["seen"]:
            self.report([held, write])


class EachItsOwn(Register):
    """Lets its own write stand, on every side."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        own = [write for write in rivals if write["by"] == self.agent.name]
        return own[0] if own else super().choose(rivals, arrived)
