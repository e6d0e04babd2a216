"""A scatter-gather as a user would write it: coroutine agents, correct, and with one bug each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_convergence import Message, SimulatedAgent
from pytest_convergence._engine.state.three_way import merge_sides

ROUNDS = 3
DEADLINE = 20.0
RESEND = 0.5


def list_of(results: Mapping[str, Any]) -> list[Any]:
    return list(results.values())


class Coordinator:
    """Asks every peer for its part in each of three rounds, and merges what comes back."""

    deadline: float | None = DEADLINE

    def __init__(self) -> None:
        self.number = 0
        self.results: dict[str, Any] = {}
        self.by: dict[str, str] = {}

    async def __call__(self, agent: SimulatedAgent) -> None:
        self.__init__()  # type: ignore[misc]  # a new life begins with nothing
        merged = []
        for number in range(1, ROUNDS + 1):
            self.number = number
            merged.append(await self.collect(agent, agent.peers))
        agent.observe("decide", value=merged)
        while True:
            await agent.broadcast(merged, type="done")
            try:
                while True:
                    await agent.receive(timeout=RESEND)
            except TimeoutError:
                if agent.now() > 200:
                    return

    async def collect(self, agent: SimulatedAgent, parts: Sequence[str]) -> Any:
        self.begin(agent, parts)
        try:
            async with asyncio.timeout(self.deadline):
                while len(self.results) < len(parts):
                    for part in parts:
                        if part not in self.results:
                            await self.ask(agent, part, parts)
                    await self.listen(agent)
        except TimeoutError:
            pass
        value, order = self.merge(parts)
        told = {"value": value, "order": order, "missing": self.missing(parts), **self.more()}
        agent.observe("merged", round=self.number, **told)
        return value

    def begin(self, agent: SimulatedAgent, parts: Sequence[str]) -> None:
        self.results, self.by = {}, {}
        agent.observe("round", round=self.number, parts=list(parts), deadline=DEADLINE)

    async def ask(self, agent: SimulatedAgent, part: str, parts: Sequence[str]) -> None:
        await agent.send(part, (self.number, part), type="work")

    async def listen(self, agent: SimulatedAgent) -> None:
        try:
            while True:
                self.take(agent, await agent.receive(timeout=RESEND, type="result"))
        except TimeoutError:
            pass

    def take(self, agent: SimulatedAgent, message: Message) -> None:
        number, part, value = message.payload
        if number != self.number or part in self.results:
            return
        self.count(agent, message, part, value)

    def count(self, agent: SimulatedAgent, message: Message, part: str, value: Any) -> None:
        self.results[part], self.by[part] = value, message.sender
        agent.observe("part_counted", round=self.number, part=part, by=message.sender, value=value)

    def merge(self, parts: Sequence[str]) -> tuple[Any, list[str]]:
        order = [part for part in parts if part in self.results]
        return list_of({part: self.results[part] for part in order}), order

    def missing(self, parts: Sequence[str]) -> list[str]:
        return [part for part in parts if part not in self.results]

    def more(self) -> dict[str, Any]:
        return {}


class CountsEarlierRounds(Coordinator):
    """19: takes an answer for what it waits for, whatever round it belongs to."""

    def take(self, agent: SimulatedAgent, message: Message) -> None:
        _, part, value = message.payload
        if part not in self.results:
            self.count(agent, message, part, value)


class MergesAsTheyCome(Coordinator):
    """20: the result is in the order of completion."""

    def merge(self, parts: Sequence[str]) -> tuple[Any, list[str]]:
        return list_of(self.results), list(self.results)


class CountsCopies(Coordinator):
    """Adds up whatever comes for this round."""

    def take(self, agent: SimulatedAgent, message: Message) -> None:
        number, part, value = message.payload
        if number == self.number:
            self.count(agent, message, part, value)


class CountsHedges(CountsCopies):
    """Asks the next agent too when one is slow, and adds up what both say."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[tuple[int, str], int] = {}

    async def ask(self, agent: SimulatedAgent, part: str, parts: Sequence[str]) -> None:
        tries = self.asked[self.number, part] = self.asked.get((self.number, part), 0) + 1
        to = parts[(parts.index(part) + (tries > 1)) % len(parts)]
        await agent.send(to, (self.number, part), type="work")

    def take(self, agent: SimulatedAgent, message: Message) -> None:
        number, part, _ = message.payload
        if number == self.number and self.by.get(part) != message.sender:
            super().take(agent, message)


class SaysNothing(Coordinator):
    """Merges what is here, and does not say that something is missing."""

    def missing(self, parts: Sequence[str]) -> list[str]:
        return []


class WaitsForEver(Coordinator):
    """Has a deadline, and does not keep it."""

    deadline = None


class Worker:
    """Does what it is asked for; ``lazy`` ones take so long that no deadline can wait for them."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    async def __call__(self, agent: SimulatedAgent) -> None:
        answers: dict[tuple[int, str], Any] = {}
        async for message in agent.inbox:
            if message.type == "done":
                agent.observe("decide", value=message.payload)
            elif message.type == "work":
                number, part = message.payload
                if (number, part) not in answers:
                    await asyncio.sleep(self.seconds or agent.random.uniform(0.01, 1))
                    value = answers[number, part] = self.made(part, number)
                    agent.observe("part_answered", round=number, part=part, value=value)
                await agent.send(message.sender, (number, part, answers[number, part]), type="result")

    def made(self, part: str, number: int) -> Any:
        return f"{part}{number}"


BASE: Mapping[str, Any] = {"title": "draft", "size": 0, "parts": {}}
"""What those start from who merge three ways."""


class Editor(Worker):
    """Adds a part to the document; in the first round two of them change its title too, in the third nobody anything."""

    def made(self, part: str, number: int) -> Any:
        if number == 3:
            return dict(BASE)
        title = f"by {part}" if number == 1 and part != "c" else "draft"
        return {**BASE, "title": title, "parts": {part: number}}


class ThreeWay(Coordinator):
    """Merges three ways what the agents have made of the base, and names the conflicts."""

    def merge(self, parts: Sequence[str]) -> tuple[Any, list[str]]:
        order = [part for part in parts if part in self.results]
        value, conflicts = merge_sides(dict(BASE), {part: self.results[part] for part in order})
        self.conflicts = [conflict.path for conflict in conflicts]
        return value, order

    def more(self) -> dict[str, Any]:
        return {"conflicts": self.conflicts}


class TheLastWins(ThreeWay):
    """Puts one document over the other: who changed nothing takes back what others have changed."""

    def merge(self, parts: Sequence[str]) -> tuple[Any, list[str]]:
        value, order = super().merge(parts)
        for part in order:
            value = {**value, **self.results[part]}
        return value, order


class DropsConflicts(ThreeWay):
    """Merges well, and says nothing of conflicts."""

    def more(self) -> dict[str, Any]:
        return {}


class SeesConflictsEverywhere(ThreeWay):
    """Takes equal changes, or none at all, for a conflict."""

    def more(self) -> dict[str, Any]:
        return {"conflicts": [*self.conflicts, "size"]}


def cast(coordinator: type[Coordinator], lazy: float = 0.0) -> dict[str, Any]:
    """The protocols of a coordinator and three workers, of which one may be lazy."""
    worker = Editor if issubclass(coordinator, ThreeWay) else Worker
    return {"boss": coordinator(), "a": worker(), "b": worker(lazy), "c": worker()}
