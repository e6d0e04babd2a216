"""Rows 19 and 20: rounds in which everybody does a part, and one collects and merges the answers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pytest_convergence import Message, SimulatedAgent
from tests.quality.planted.bug import Bug, Case

PARTS: Final = ["ann", "bob", "cleo", "dan"]


class Collector:
    """Asks for every part until it has them all, in each of two rounds."""

    async def __call__(self, agent: SimulatedAgent) -> None:
        merged = []
        for number in (1, 2):
            agent.observe("round", round=number, parts=PARTS, deadline=60)
            results = await self.collect(agent, number)
            order = self.order(results)
            merged.append([results[part] for part in order])
            agent.observe("merged", round=number, value=merged[-1], order=order)
        agent.observe("decide", value=merged)
        for _ in range(40):  # some may not hear it at first
            await agent.broadcast(merged, type="result")
            await asyncio.sleep(0.5)

    async def collect(self, agent: SimulatedAgent, number: int) -> dict[str, Any]:
        results: dict[str, Any] = {}
        while len(results) < len(PARTS):
            for part in (part for part in PARTS if part not in results):
                await agent.send(part, number, type="work")
            try:
                while len(results) < len(PARTS):
                    message = await agent.receive(timeout=0.1, type="answer")
                    part, value = message.sender, message.payload["value"]
                    if self.counts(message, number) and part not in results:
                        results[part] = value
                        agent.observe("part_counted", round=number, part=part, by=part, value=value)
            except TimeoutError:
                continue  # ask again
        return results

    def counts(self, message: Message, number: int) -> bool:
        return bool(message.payload["round"] == number)

    def order(self, results: dict[str, Any]) -> list[str]:
        return PARTS


class CountsAnyRound(Collector):
    def counts(self, message: Message, number: int) -> bool:
        return True


class MergesAsTheyCome(Collector):
    def order(self, results: dict[str, Any]) -> list[str]:
        return list(results)


async def worker(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        if message.type == "result":
            agent.observe("decide", value=message.payload)
        else:
            value = f"{agent.name} {message.payload}"
            agent.observe("part_answered", round=message.payload, part=agent.name, value=value)
            await agent.send(message.sender, {"round": message.payload, "value": value}, type="answer")


def listed(results: dict[str, Any]) -> list[Any]:
    return list(results.values())


def case(collector: Collector) -> Case:
    return Case(
        {
            "pattern": "parallel-merge",
            "agents": ["boss", *PARTS],
            "protocol": {"boss": collector.__call__, **dict.fromkeys(PARTS, worker)},
            "network": "lossy",
            "faults": ["crash", "partition"],
        },
        {"tasks": dict.fromkeys(PARTS), "work": worker, "merge": listed},
    )


TWIN: Final = case(Collector())
BUGS: Final = (
    Bug(19, "earlier round counted", case(CountsAnyRound()), TWIN, ("round_isolation",), 300),
    Bug(20, "merged as they come", case(MergesAsTheyCome()), TWIN, ("merge_order_independent",), 30),
)
