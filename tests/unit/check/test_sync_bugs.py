"""Bugs that people write into the synchronisation of replicas, and the properties that catch them.

The agents are a user's own: coroutines that exchange messages, observe what their replicas hold, and expose it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence.errors import RunFailure

AGENTS = ("a", "b", "c")
ROUNDS = 4
Behaviour = Callable[[SimulatedAgent], Any]


class Counters:
    """A replica of a user's own: a counter for each agent, and the ids of the updates that it is made of."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent = agent
        self.counts: dict[str, int] = dict.fromkeys(AGENTS, 0)
        self.seen: set[str] = set()
        self.agent.expose(lambda: self.counts)

    def observe(self) -> None:
        self.agent.observe(
            "replica", seen=sorted(self.seen), state=dict(self.counts), version=sum(self.counts.values())
        )

    def add(self, number: int) -> dict[str, Any]:
        update = {"id": f"{self.agent.name} {number}", "agent": self.agent.name, "by": number}
        self.take(update)
        return update

    def take(self, update: Mapping[str, Any]) -> None:
        self.seen.add(update["id"])
        self.counts[update["agent"]] += update["by"]
        self.observe()


async def events(agent: SimulatedAgent, *, twice: bool) -> None:
    """Tells every update until it is acknowledged. The bug: one that comes twice is applied twice."""
    replica = Counters(agent)
    unacked: dict[tuple[str, str], dict[str, Any]] = {}

    async def work() -> None:
        for number in range(1, ROUNDS + 1):
            update = replica.add(number)
            unacked.update(((peer, update["id"]), update) for peer in agent.peers)
            await asyncio.sleep(0.05)

    async def tell() -> None:
        while True:
            for (peer, _), update in sorted(unacked.items()):
                await agent.send(peer, update, type="update")
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(tell())
        async for message in agent.inbox:
            if message.type == "ack":
                unacked.pop((message.sender, message.payload), None)
                continue
            if twice or message.payload["id"] not in replica.seen:
                replica.take(message.payload)
            await agent.send(message.sender, message.payload["id"], type="ack")


async def deltas(agent: SimulatedAgent, *, until_acked: bool) -> None:
    """Tells what came since the last acknowledgement. The bug: since the last *sending*."""
    replica = Counters(agent)
    own: list[dict[str, Any]] = []
    known = dict.fromkeys(agent.peers, 0)

    async def work() -> None:
        for number in range(1, ROUNDS + 1):
            own.append(replica.add(number))
            await asyncio.sleep(0.05)

    async def tell() -> None:
        while True:
            for peer in agent.peers:
                if known[peer] < len(own):
                    await agent.send(peer, own[known[peer] :], type="delta")
                    if not until_acked:
                        known[peer] = len(own)
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(tell())
        async for message in agent.inbox:
            if message.type == "ack":
                known[message.sender] = max(known[message.sender], message.payload)
                continue
            for update in message.payload:
                if update["id"] not in replica.seen:
                    replica.take(update)
            latest = max(update["by"] for update in message.payload)
            await agent.send(message.sender, latest, type="ack")


async def states(agent: SimulatedAgent, *, add: bool) -> None:
    """Sends its whole state now and then, and merges those of others. The bug: counters are added up on merge."""
    replica = Counters(agent)

    async def work() -> None:
        for number in range(1, ROUNDS + 1):
            replica.add(number)
            await asyncio.sleep(0.05)

    async def tell() -> None:
        for _ in range(40):
            for peer in agent.peers:
                await agent.send(peer, (sorted(replica.seen), replica.counts), type="state")
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(tell())
        async for message in agent.inbox:
            seen, counts = message.payload
            replica.seen.update(seen)
            for name, count in counts.items():
                mine = replica.counts[name]
                replica.counts[name] = mine + count if add else max(mine, count)
            replica.observe()


async def versions(agent: SimulatedAgent, *, per_message: bool) -> None:
    """Tells whoever has an older version its state. The bug: a version for each message, not for each change."""
    counts = dict.fromkeys(AGENTS, 0)
    version = 0
    agent.expose(lambda: counts)

    def observe() -> None:
        agent.observe("replica", seen=dict(counts), state=dict(counts), version=version)

    async def work() -> None:
        nonlocal version
        for _ in range(ROUNDS):
            counts[agent.name] += 1
            version += 1
            observe()
            await asyncio.sleep(0.05)

    async def tell() -> None:
        for _ in range(40):
            for peer in agent.peers:
                await agent.send(peer, counts, type="state")
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(tell())
        async for message in agent.inbox:
            news = any(count > counts[name] for name, count in message.payload.items())
            counts.update({name: max(count, counts[name]) for name, count in message.payload.items()})
            version += news or per_message
            observe()


def found(behaviour: Behaviour, seed: int, network: str = "flaky") -> str:
    """Run the behaviour in three agents; return what was violated, how the run ended, or nothing."""
    session = ConvergenceEngine().create_session(
        "replicas", agents=dict.fromkeys(AGENTS, behaviour), network=network, seed=seed, trace=False
    )

    async def scenario(session: Any) -> None:
        await session.sleep(10)

    try:
        outcome = session.run(scenario)
    except RunFailure as failure:
        return str(failure)
    return "" if outcome.converged else "diverged"


def _with(function: Callable[..., Any], **chosen: bool) -> Behaviour:
    async def behaviour(agent: SimulatedAgent) -> None:
        await function(agent, **chosen)

    return behaviour


@pytest.mark.parametrize(
    ("bug", "name", "seeds", "at_least"),
    [
        pytest.param(_with(events, twice=True), "sec", 10, 8, id="event applied twice"),
        pytest.param(_with(deltas, until_acked=False), "sync_equivalence", 10, 8, id="delta since last sent"),
        pytest.param(_with(states, add=True), "sec", 10, 10, id="counters summed on merge"),
        pytest.param(
            _with(versions, per_message=True), "idempotent_resync", 10, 10, id="a version for each message"
        ),
    ],
)
def test_a_bug_in_a_synchronisation_is_caught(bug: Behaviour, name: str, seeds: int, at_least: int) -> None:
    caught = [name in found(bug, seed) for seed in range(seeds)]
    assert sum(caught) >= at_least


@pytest.mark.parametrize("network", ["perfect", "lan", "wan", "lossy", "flaky", "chaos"])
@pytest.mark.parametrize(
    "correct",
    [
        pytest.param(_with(events, twice=False), id="events"),
        pytest.param(_with(deltas, until_acked=True), id="deltas"),
        pytest.param(_with(states, add=False), id="states"),
        pytest.param(_with(versions, per_message=False), id="versions"),
    ],
)
def test_without_the_bug_nothing_is_reported(correct: Behaviour, network: str) -> None:
    assert [found(correct, seed, network) for seed in range(3)] == [""] * 3


async def _counts(agent: SimulatedAgent, *, durable: bool) -> None:
    """Numbers its versions. The bug: from 1 again after a restart."""
    version = agent.storage.get("version", 0) if durable else 0
    while version < 5:
        version += 1
        agent.storage.put("version", version)
        await agent.storage.sync()
        agent.observe("replica", seen=list(range(version)), state=version, version=version)
        await asyncio.sleep(1)


@pytest.mark.parametrize(("durable", "name"), [(False, "monotonic_version"), (True, "")])
def test_a_version_that_begins_anew_after_a_restart_is_caught(durable: bool, name: str) -> None:
    session = ConvergenceEngine().create_session("one", agents={"a": _with(_counts, durable=durable)})

    async def scenario(session: Any) -> None:
        await session.sleep(2.5)
        session.agents["a"].crash()
        session.agents["a"].restart()
        await session.sleep(10)

    try:
        session.run(scenario)
        violated = ""
    except RunFailure as failure:
        violated = str(failure)
    assert name in violated
    assert bool(name) == bool(violated)
