"""Row 22: a chief gives a task to a clerk, with a deadline, and tries again when no result comes."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any, Final

from pytest_convergence import SimulatedAgent
from tests.quality.planted.bug import Bug, Case

CLERKS: Final = ("ann", "bob", "cleo", "dan")
SECONDS: Final = 2.0
PROPERTIES: Final = ("one_result_per_task", "deadline_respected", "cancel_propagates")


async def chief(agent: SimulatedAgent, *, takes_any_attempt: bool = False) -> None:
    """Give each clerk a part, and again to whoever is late."""
    disk = agent.storage

    async def part(clerk: str) -> None:
        attempt = disk.get(clerk, 0)
        while not disk.get(f"{clerk} done"):
            attempt += 1
            disk.put(clerk, attempt)
            await disk.sync()
            agent.observe("delegate", task=clerk, parent="job", to=clerk, attempt=attempt, seconds=SECONDS)
            await agent.send(clerk, attempt)
            try:
                async with asyncio.timeout(1.5):
                    while True:
                        done = (await agent.receive(sender=clerk, type="result")).payload
                        if done == attempt or takes_any_attempt:
                            break
            except TimeoutError:
                continue
            agent.observe("accept", task=clerk, attempt=done)
            disk.put(f"{clerk} done", True)
            await disk.sync()

    async with asyncio.TaskGroup() as group:
        for clerk in CLERKS:
            group.create_task(part(clerk))


async def chief_who_takes_any_attempt(agent: SimulatedAgent) -> None:
    await chief(agent, takes_any_attempt=True)


async def clerk(agent: SimulatedAgent, *, most: float = SECONDS) -> None:
    """Work on what is asked for, as long as there is time."""
    async for message in agent.inbox:
        work = {"task": agent.name, "attempt": message.payload}
        agent.observe("begin", seconds=SECONDS, **work)
        try:
            async with asyncio.timeout(most):
                await asyncio.sleep(agent.random.uniform(0, 3))
        except TimeoutError:
            agent.observe("end", how="stopped", **work)
        else:
            agent.observe("end", how="done", **work)
            await agent.send("chief", message.payload, type="result")


async def tireless_clerk(agent: SimulatedAgent) -> None:
    await clerk(agent, most=60)


@cache
def case(boss: Any = chief, worker: Any = clerk) -> Case:
    agents = {"chief": boss, **dict.fromkeys(CLERKS, worker)}
    options = {"agents": agents, "properties": list(PROPERTIES), "network": "lossy"}
    return Case(options | {"faults": ["crash", "partition"]})


BUGS: Final = (
    Bug(
        22,
        "superseded result accepted",
        case(chief_who_takes_any_attempt),
        case(),
        ("one_result_per_task",),
        30,
    ),
    Bug(22, "works past its deadline", case(worker=tireless_clerk), case(), ("deadline_respected",), 30),
)
