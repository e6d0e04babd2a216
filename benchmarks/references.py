"""What the cases are measured against: SimPy, trio's autojump clock, looptime, CPython's own event loop."""

from __future__ import annotations

import asyncio
import random
from typing import Any

LATENCY = (0.001, 0.05)


def simpy_gossip(agents: int = 100, messages: int = 30_000, payload: Any = 0) -> int:
    """Reference R: a process and a Store for each agent, a timeout callback as latency."""
    import simpy

    rng = random.Random(1)
    env = simpy.Environment()
    stores = [simpy.Store(env) for _ in range(agents)]
    left = messages

    def send(to: Any, item: Any) -> None:
        delay = LATENCY[0] + rng.random() * (LATENCY[1] - LATENCY[0])
        env.timeout(delay).callbacks.append(lambda _: to.put(item))

    def process(own: Any) -> Any:
        nonlocal left
        while True:
            item = yield own.get()
            if left <= 0:
                return
            left -= 1
            send(stores[int(rng.random() * agents)], item)

    for store in stores:
        env.process(process(store))
        send(store, payload)
    env.run()
    return messages


def trio_sleeps(tasks: int = 10, sleeps: int = 200) -> int:
    """Sleeps on trio's autojump clock."""
    import trio
    import trio.testing

    async def sleeper(number: int) -> None:
        for _ in range(sleeps):
            await trio.sleep(1 + number / 10)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(sleeper, number)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return tasks * sleeps


async def sleepers(tasks: int, sleeps: int) -> None:
    async def sleeper(number: int) -> None:
        for _ in range(sleeps):
            await asyncio.sleep(1 + number / 10)

    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(sleeper(number))


def looptime_sleeps(tasks: int = 10, sleeps: int = 20) -> int:
    """Sleeps on looptime's patched loop, with its defaults: it asks the real selector often before each jump of time."""
    import looptime

    loop = looptime.new_event_loop(start=0)
    try:
        loop.run_until_complete(sleepers(tasks, sleeps))
    finally:
        loop.close()
    return tasks * sleeps


async def ping_pong(rounds: int) -> None:
    """Two tasks and two queues of asyncio."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def ponger() -> None:
        for _ in range(rounds):
            await back.put(await there.get())

    pong = asyncio.get_running_loop().create_task(ponger())
    for number in range(rounds):
        await there.put(number)
        await back.get()
    await pong


def stock_ping_pong(rounds: int = 10_000) -> int:
    """The ping-pong on CPython's own loop."""
    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(ping_pong(rounds))
    finally:
        loop.close()
    return rounds
