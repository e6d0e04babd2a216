"""Floors: the least that a simulator written in Python does for the same work, to see what a bar can ask for.

1. ``bare`` and ``ideal``: with no links, faults, steps that can be named, trace or budgets.
2. ``told``: with what each message has to be told by, and no more. It goes over a link that numbers it and keeps order,
   draws its fate, is kept in a trace that tells who sent and who received it and when; each step is counted, and may be
   disturbed. No fault ever happens, nothing has a bound, and all of it stands in one function.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import chain, count
from typing import Any

from benchmarks.references import LATENCY, sleepers

_NEVER = 1 << 62
_RECEIVED = 1 << 32


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


class _ToldLink:
    __slots__ = ("fate", "last", "number", "target")

    def __init__(self, target: _ToldNode, fate: Callable[[], int]) -> None:
        self.target = target
        self.fate = fate
        self.number = self.last = 0


class _ToldNode:
    __slots__ = ("fuse", "index", "links", "name", "owner", "steps")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.links: dict[str, _ToldLink] = {}
        self.steps = 0
        self.fuse = _NEVER
        self.owner: Any = None


class _ToldNetwork:
    """Links, fates, a heap and a trace. ``post`` stands once as a function, and once in the loop of the machines."""

    def __init__(self, agents: int, trace: bool) -> None:
        self.names = [f"a{index}" for index in range(agents)]
        self.nodes = {name: _ToldNode(name, index) for index, name in enumerate(self.names)}
        self.events: list[tuple[int, int, _ToldNode, tuple[Any, ...]]] = []
        self.log: list[int] = []
        self.messages: list[tuple[Any, ...]] = []
        self.record: Callable[[tuple[int, int, int]], None] | None = self.log.extend if trace else None
        self.keep = self.messages.append
        self.fate, self.number = _delays(2), count().__next__
        self.now = self.uid = 0

    def post(self, node: _ToldNode, to: str, kind: str, item: int) -> None:
        link = node.links.get(to)
        if link is None:
            link = node.links[to] = _ToldLink(self.nodes[to], self.fate)
        link.number = number = link.number + 1
        self.uid = uid = self.uid + 1
        now = self.now
        message = (node.name, to, item, kind, number, now, uid)
        if self.record is not None:
            self.record((now, node.index, uid))
            self.keep(message)
        at = now + link.fate()
        if at < link.last:
            at = link.last
        else:
            link.last = at
        heapq.heappush(self.events, (at, self.number(), link.target, message))


def told_machine_gossip(agents: int = 100, messages: int = 100_000, *, trace: bool = True) -> int:
    """The gossip of the machines with links, fates and a trace in the shortest code."""
    left, uid = messages, 0
    draw = random.Random(1).random
    network = _ToldNetwork(agents, trace)
    names, nodes, events, fate = network.names, network.nodes, network.events, network.fate
    record, keep, sequence = network.record, network.keep, network.number

    class Gossip:
        def on_message(self, sender: str, kind: str, item: int) -> Iterable[tuple[str, str, int]]:
            nonlocal left
            if left <= 0:
                return ()
            left -= 1
            return ((names[int(draw() * agents)], "gossip", item),)

    for node in nodes.values():
        node.owner = Gossip()
        network.post(node, names[int(draw() * agents)], "gossip", 0)
    while events:
        now, _, node, message = heapq.heappop(events)
        node.steps = step = node.steps + 1
        if step >= node.fuse:
            break
        if record is not None:
            record((now, node.index | _RECEIVED, message[6]))
        for to, kind, item in node.owner.on_message(message[0], message[3], message[2]):
            link = node.links.get(to)
            if link is None:
                link = node.links[to] = _ToldLink(nodes[to], fate)
            link.number = number = link.number + 1
            uid += 1
            sent = (node.name, to, item, kind, number, now, uid)
            if record is not None:
                record((now, node.index, uid))
                keep(sent)
            at = now + link.fate()
            if at < link.last:
                at = link.last
            else:
                link.last = at
            heapq.heappush(events, (at, sequence(), link.target, sent))
    return messages


class _ToldInbox:
    __slots__ = ("messages", "network", "node")

    def __init__(self, network: _ToldNetwork, node: _ToldNode) -> None:
        self.messages: deque[tuple[Any, ...]] = deque()
        self.network = network
        self.node = node

    def __aiter__(self) -> _ToldInbox:
        return self

    @types.coroutine
    def __anext__(self) -> Generator[None, None, tuple[Any, ...]]:
        while not self.messages:
            yield
        taken = self.messages.popleft()
        network = self.network
        if network.record is not None:
            network.record((network.now, self.node.index | _RECEIVED, taken[6]))
        return taken


class _ToldAgent:
    __slots__ = ("inbox", "network", "node", "run")

    def __init__(self, network: _ToldNetwork, node: _ToldNode) -> None:
        self.network = network
        self.node = node
        self.inbox = _ToldInbox(network, node)
        self.run: tuple[Any, ...] = ()

    async def send(self, to: str, payload: int) -> None:
        self.network.post(self.node, to, "message", payload)


def told_agent_gossip(agents: int = 100, messages: int = 100_000, *, trace: bool = True) -> int:
    """The gossip of the agents with links, fates and a trace, each step in the agent's context and as its own task."""
    left = messages
    draw = random.Random(1).random
    network = _ToldNetwork(agents, trace)
    names, events = network.names, network.events
    loop = asyncio.SelectorEventLoop()
    enter, leave = asyncio._enter_task, asyncio._leave_task

    async def gossip(agent: _ToldAgent) -> None:
        nonlocal left
        await agent.send(names[int(draw() * agents)], 0)
        async for message in agent.inbox:
            if left <= 0:
                return
            left -= 1
            await agent.send(names[int(draw() * agents)], message[2])

    for node in network.nodes.values():
        agent = node.owner = _ToldAgent(network, node)
        task = loop.create_task(asyncio.sleep(0))  # only for its name
        agent.run = agent.inbox.messages.append, gossip(agent).send, contextvars.copy_context(), task
        agent.run[1](None)
    while left > 0:
        network.now, _, node, message = heapq.heappop(events)
        node.steps = step = node.steps + 1
        if step >= node.fuse:
            break
        append, send, context, task = node.owner.run
        append(message)
        enter(loop, task)
        context.run(send, None)
        leave(loop, task)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
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
        loop.run_until_complete(sleepers(tasks, sleeps))
    finally:
        loop.close()
    return tasks * sleeps
