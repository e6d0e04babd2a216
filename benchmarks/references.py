"""What the cases are measured against: SimPy, trio's autojump clock, looptime, CPython's own event loop.

The functions whose names begin with ``bare`` or ``ideal`` are floors: the least that a simulator written in Python does for
the same work. They have no links, faults, steps that can be named, trace or budgets.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import types
from collections.abc import Callable, Generator, Iterable
from itertools import chain, count
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


def _delays(seed: int) -> Callable[[], int]:
    """Draw latencies in nanoseconds, in batches: the cheapest way."""
    draw = random.Random(seed).random
    least, greatest = (int(seconds * 1e9) for seconds in LATENCY)
    batches: Iterable[list[int]] = iter(
        lambda: [least + int(draw() * (greatest - least)) for _ in range(64)], [-1]
    )
    return chain.from_iterable(batches).__next__


def bare_machine_gossip(agents: int = 100, messages: int = 100_000) -> int:
    """The gossip of the machines with nothing but a heap of messages, a latency for each, and a table of machines."""
    left = messages
    draw, delay, number = random.Random(1).random, _delays(2), count().__next__
    names = [f"a{index}" for index in range(agents)]
    events: list[tuple[int, int, str, str, str, int]] = []

    class Gossip:
        def on_message(self, sender: str, kind: str, item: int) -> Iterable[tuple[str, str, int]]:
            nonlocal left
            if left <= 0:
                return ()
            left -= 1
            return ((names[int(draw() * agents)], "gossip", item),)

    machines = {name: Gossip() for name in names}
    for name in names:
        heapq.heappush(events, (delay(), number(), name, names[int(draw() * agents)], "gossip", 0))
    while events:
        now, _, sender, name, kind, item = heapq.heappop(events)
        for to, sent, what in machines[name].on_message(sender, kind, item):
            heapq.heappush(events, (now + delay(), number(), name, to, sent, what))
    return messages


class _BareInbox:
    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages: list[tuple[str, int]] = []

    def __aiter__(self) -> _BareInbox:
        return self

    @types.coroutine
    def __anext__(self) -> Generator[None, None, tuple[str, int]]:
        while not self.messages:
            yield
        return self.messages.pop()


class _BareAgent:
    __slots__ = ("inbox", "name", "post", "step")

    def __init__(self, name: str, post: Callable[[str, str, int], None]) -> None:
        self.name = name
        self.inbox = _BareInbox()
        self.post = post
        self.step: Callable[[None], object] = print

    async def send(self, to: str, payload: int) -> None:
        self.post(self.name, to, payload)


def bare_agent_gossip(agents: int = 100, messages: int = 100_000) -> int:
    """The gossip of the agents by coroutines that are stepped straight from a heap of messages: no tasks, no asyncio."""
    left, now = messages, 0
    draw, delay, number = random.Random(1).random, _delays(2), count().__next__
    names = [f"a{index}" for index in range(agents)]
    events: list[tuple[int, int, str, tuple[str, int]]] = []

    def post(name: str, to: str, payload: int) -> None:
        heapq.heappush(events, (now + delay(), number(), to, (name, payload)))

    async def gossip(agent: _BareAgent) -> None:
        nonlocal left
        await agent.send(names[int(draw() * agents)], 0)
        async for message in agent.inbox:
            if left <= 0:
                return
            left -= 1
            await agent.send(names[int(draw() * agents)], message[1])

    team = {name: _BareAgent(name, post) for name in names}
    for agent in team.values():
        agent.step = gossip(agent).send
        agent.step(None)
    while left > 0:
        now, _, name, message = heapq.heappop(events)
        team[name].inbox.messages.append(message)
        team[name].step(None)
    return messages


def bare_tiny_sessions(count: int = 300) -> int:
    """A server and two clients as tasks of CPython's own loop, which is made once and not counted; two queues for each."""

    async def client(server: asyncio.Queue[Any], own: asyncio.Queue[Any]) -> Any:
        server.put_nowait((own, "hello"))
        return await own.get()

    async def serve(server: asyncio.Queue[Any]) -> None:
        while True:
            answer, text = await server.get()
            answer.put_nowait(text)

    async def session() -> None:
        server: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        serving = loop.create_task(serve(server))
        clients = [loop.create_task(client(server, asyncio.Queue())) for _ in range(2)]
        for each in clients:
            await each
        serving.cancel()

    loop = asyncio.SelectorEventLoop()
    try:
        for _ in range(count):
            loop.run_until_complete(session())
    finally:
        loop.close()
    return count


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


async def _sleepers(tasks: int, sleeps: int) -> None:
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
        loop.run_until_complete(_sleepers(tasks, sleeps))
    finally:
        loop.close()
    return tasks * sleeps


class _Nothing:
    def cancel(self) -> None:
        """There is nothing that could be taken back."""


class _IdealLoop(asyncio.SelectorEventLoop):
    """The least that a loop of virtual time can do for ``asyncio.sleep``: no contexts, no handles, no cancelling."""

    _ready: Any
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[float, int, Any, Any]] = []
        self.now = 0.0
        self.sequence = count().__next__

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        self._ready.append((callback, args, context))
        return _NOTHING

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        heapq.heappush(self.events, (self.now + delay, self.sequence(), callback, args))
        return _NOTHING

    def _run_once(self) -> None:
        ready = self._ready
        while not self._stopping:
            if not ready:
                self.now, _, callback, args = heapq.heappop(self.events)
                callback(*args)
            while ready:
                callback, args, context = ready.popleft()
                if context is None:
                    callback(*args)
                else:
                    context.run(callback, *args)


_NOTHING = _Nothing()


def ideal_sleeps(tasks: int = 10, sleeps: int = 2_000) -> int:
    """Sleeps on a loop that does as little as can be."""
    loop = _IdealLoop()
    try:
        loop.run_until_complete(_sleepers(tasks, sleeps))
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
