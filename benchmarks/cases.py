"""What is measured: sessions of agents, of machines, of plain asyncio code; sleeps; tiny sessions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.references import LATENCY, ping_pong, sleepers
from pytest_convergence import ConvergenceEngine, Network, Send

NETWORK = Network(latency=LATENCY, loss=1e-9, duplicate=1e-9)
"""Loss and duplication possible, and so rare that the gossip does not die of them."""


def _session(**options: Any) -> Any:
    options = {"network": NETWORK, "seed": 1, "max_events": 10**9, "real_timeout": None} | options
    return ConvergenceEngine().create_session("benchmark", **options)


def agent_gossip(agents: int = 100, messages: int = 100_000, *, trace: bool = True, payload: Any = 0) -> int:
    """Coroutine behaviours that pass messages on at random."""
    left = messages
    rng = random.Random(1)
    names = [f"a{number}" for number in range(agents)]

    async def gossip(agent: Any) -> None:
        nonlocal left
        await agent.send(names[int(rng.random() * agents)], payload)
        async for message in agent.inbox:
            if left <= 0:
                return
            left -= 1
            await agent.send(names[int(rng.random() * agents)], message.payload)

    _session(agents=dict.fromkeys(names, gossip), trace=trace).run()
    return messages


def machine_gossip(
    agents: int = 100, messages: int = 100_000, *, trace: bool = True, payload: Any = 0, named: bool = False
) -> int:
    """The same traffic by state machines without coroutines.

    Args:
        named: whether they return ``Send(to, kind, payload)`` and not the plain tuple that stands for it.
    """
    left = messages
    draw = random.Random(1).random
    names = [f"a{number}" for number in range(agents)]

    class Gossip:
        def __init__(self, name: str, everybody: tuple[str, ...]) -> None:
            self.name = name

        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Any]:
            return (Send(names[int(draw() * agents)], "gossip", payload),)

        def on_message(self, sender: str, kind: str, item: Any) -> Iterable[Any]:
            nonlocal left
            if left <= 0:
                return ()
            left -= 1
            return ((names[int(draw() * agents)], "gossip", item),)

        def on_timer(self, name: str) -> Iterable[Any]:
            return ()

    class NamedGossip(Gossip):
        def on_message(self, sender: str, kind: str, item: Any) -> Iterable[Any]:
            nonlocal left
            if left <= 0:
                return ()
            left -= 1
            return (Send(names[int(draw() * agents)], "gossip", item),)

    machine = NamedGossip if named else Gossip
    _session(agents=dict.fromkeys(names, machine), trace=trace).run()
    return messages


def asyncio_gossip(tasks: int = 100, messages: int = 100_000) -> int:
    """Unmodified asyncio code: queues, call_later, sleep."""
    left = messages
    rng = random.Random(1)

    async def worker(own: asyncio.Queue[int], queues: list[asyncio.Queue[int]]) -> None:
        nonlocal left
        loop = asyncio.get_running_loop()
        while left > 0:
            item = await own.get()
            left -= 1
            other = queues[int(rng.random() * tasks)]
            delay = LATENCY[0] + rng.random() * (LATENCY[1] - LATENCY[0])
            loop.call_later(delay, other.put_nowait, item)

    async def scenario(session: Any) -> None:
        queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(tasks)]
        workers = [asyncio.create_task(worker(queue, queues)) for queue in queues]
        for queue in queues:
            queue.put_nowait(0)
        while left > 0:
            await asyncio.sleep(1)
        for task in workers:
            task.cancel()

    _session().run(scenario)
    return messages


def world_ping_pong(rounds: int = 10_000) -> int:
    """Two tasks and two queues on the simulated loop."""

    async def scenario(session: Any) -> None:
        await ping_pong(rounds)

    _session().run(scenario)
    return rounds


def world_sleeps(tasks: int = 10, sleeps: int = 2_000) -> int:
    """Sleeps on the simulated loop."""

    async def scenario(session: Any) -> None:
        await sleepers(tasks, sleeps)

    _session().run(scenario)
    return tasks * sleeps


async def _client(agent: Any) -> Any:
    return await agent.request("server", "hello")


async def _server(agent: Any) -> None:
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


TRIO = {"server": _server, "client-1": _client, "client-2": _client}


def tiny_sessions(count: int = 300) -> int:
    """Three agents, created, run and thrown away, with trace."""
    for _ in range(count):
        ConvergenceEngine().create_session("tiny", agents=TRIO).run()
    return count
