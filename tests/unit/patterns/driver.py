"""A tiny deterministic world for machines: a heap of events, a disk for each agent, seeded noise.

It is deliberately not the simulator of the package: the machines must hold in any world that carries out their effects
in order.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    AgentRef,
    Call,
    CancelCall,
    CancelTimer,
    Decide,
    Effect,
    Machine,
    Observe,
    Persist,
    Raised,
    Returned,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.base.messages import Message, snapshot
from pytest_convergence._engine.base.trace import TraceEvent

MS = 1_000_000
SECOND = 1000 * MS


class Noise(NamedTuple):
    """What a world does to messages and agents, as probabilities and nanoseconds; the default is calm."""

    latency: tuple[int, int] = (MS, MS)
    tail: float = 0.0  # the part of the messages that take up to 40 times as long
    loss: float = 0.0
    duplicate: float = 0.0
    crash: float = 0.0  # at each effect
    restart: tuple[int, int] = (10 * MS, 2000 * MS)
    partitions: int = 0
    target: float = 0.0  # how often an agent that stands or leads is cut off at once
    until: int = 10 * SECOND  # noise ends here
    work: tuple[int, int] = (10 * MS, 10 * MS)  # how long a function takes that a machine calls


UNIFORM = Noise((MS, 150 * MS), 0.02, 0.1, 0.1, 0.004, partitions=2)
FAST_RESTART = Noise((MS, 60 * MS), 0.0, 0.1, 0.1, 0.02, (MS, 60 * MS))
HEAVY_TAIL = Noise((MS, 60 * MS), 0.25, 0.05, 0.3, 0.002, partitions=1)
LEADER_TARGET = Noise((MS, 600 * MS), 0.2, 0.1, 0.1, 0.001, target=0.4, until=20 * SECOND)
PROFILES = (UNIFORM, FAST_RESTART, HEAVY_TAIL)


@dataclass
class Agent:
    """A machine, its disk and its timers."""

    name: str
    rank: int
    machine: Machine | None = None
    durable: dict[str, Any] = field(default_factory=dict)
    unsynced: list[tuple[str, Any]] = field(default_factory=list)
    timers: dict[str, tuple[int, bool]] = field(default_factory=dict)  # name to number, background
    calls: dict[str, int] = field(default_factory=dict)  # those under way: id to number
    life: int = 0


class Crash(Exception):
    """The agent died between two effects."""


class World:
    """Agents, the messages between them, and a trace of it all."""

    def __init__(
        self,
        agents: Sequence[str],
        make: Callable[[str], Machine],
        *,
        seed: int | None = None,
        noise: Noise = Noise(until=0),  # noqa: B008 - immutable
        watch: Callable[[TraceEvent], object] | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.functions = functions or {}  # what machines may call, by name: plain functions
        self.names = tuple(agents)
        self.make = make
        self.random = random.Random(seed)
        self.noise = noise
        self.now = 0
        self.trace: list[TraceEvent] = []
        self.watch = watch
        self.blocked: set[tuple[str, str]] = set()
        self.agents = {name: Agent(name, rank) for rank, name in enumerate(agents)}
        self.foreground = 0  # events in the heap that somebody waits for
        self._heap: list[tuple[int, int, bool, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._seq = 0
        self._dead: set[int] = set()  # events of the foreground that nobody waits for any more
        self._plan_partitions()
        for name in agents:
            self._at(0, self.start, name)

    # -- faults ----------------------------------------------------------------------------------------------------

    def _plan_partitions(self) -> None:
        for _ in range(self.noise.partitions):
            begin = self.random.randrange(self.noise.until)
            some = self.random.sample(self.names, self.random.randint(1, max(1, len(self.names) // 2)))
            self._at(begin, self.partition, some)
            self._at(min(begin + self.random.randrange(4 * SECOND), self.noise.until), self.heal)

    def partition(self, some: Iterable[str]) -> None:
        """Cut ``some`` off from the others."""
        inside = set(some)
        self.blocked = {(a, b) for a in self.names for b in self.names if (a in inside) != (b in inside)}

    def heal(self) -> None:
        """Let all messages through again."""
        self.blocked = set()

    def crash(self, name: str) -> None:
        """Kill an agent; unsynced writes are lost, kept up to some point, or torn."""
        agent = self.agents[name]
        if agent.machine is None:
            return
        agent.machine = None
        agent.life += 1
        for timer in list(agent.timers):
            self._disarm(agent, timer)
        for call in list(agent.calls):
            self._cancel(agent, call)
        kept = self.random.randint(0, len(agent.unsynced))
        agent.durable.update(agent.unsynced[:kept])
        if kept < len(agent.unsynced) and self.random.random() < 0.5:
            key, value = agent.unsynced[kept]
            agent.durable[key] = list(value)[: len(value) // 2]
        agent.unsynced = []
        self.record("crash", name)

    def start(self, name: str) -> None:
        """Begin a life."""
        agent = self.agents[name]
        if agent.machine is not None:
            return
        self.record("restart" if agent.life else "start", name)
        agent.machine = self.make(name)
        self._run(agent, agent.machine.on_start(snapshot(agent.durable)))

    # -- time ------------------------------------------------------------------------------------------------------

    def _at(self, at: int, call: Callable[..., None], *args: Any, background: bool = False) -> None:
        self._seq += 1
        self.foreground += not background
        heapq.heappush(self._heap, (at, self._seq, background, call, args))

    def step(self) -> None:
        """Let the next event happen."""
        at, seq, background, call, args = heapq.heappop(self._heap)
        self.now = at
        self.foreground -= not background and seq not in self._dead
        self._dead.discard(seq)
        call(*args)

    def run(
        self, *, until: int | None = None, when: Callable[[], bool] | None = None, events: int = 200_000
    ) -> bool:
        """Run to an instant, to a condition (returns whether it held), or until nothing but upkeep is left."""
        for _ in range(events):
            if when is not None and when():
                return True
            if not self._heap or (until is None and when is None and self.foreground == 0):
                return when is None
            if until is not None and self._heap[0][0] > until:
                self.now = until
                return False
            self.step()
        raise AssertionError(f"still busy after {events} events, at {self.now / SECOND} s")

    def settle(self, for_ns: int, when: Callable[[], bool]) -> bool:
        """Heal everything, bring everybody back, and run for a time or until the condition holds."""
        self.noise = Noise(latency=(MS, 20 * MS), until=0)
        self.heal()
        for name in self.names:
            self.start(name)
        return self.run(until=self.now + for_ns, when=when)

    # -- machines --------------------------------------------------------------------------------------------------

    def views(self) -> dict[str, Any]:
        """What the live agents expose."""
        return {
            name: agent.machine.view() for name, agent in self.agents.items() if agent.machine is not None
        }

    def live(self) -> tuple[str, ...]:
        """Who is alive."""
        return tuple(name for name, agent in self.agents.items() if agent.machine is not None)

    def command(self, name: str, command: str, argument: Any = None) -> None:
        """Give an agent's machine a command."""
        agent = self.agents[name]
        assert agent.machine is not None
        self._run(agent, agent.machine.on_command(command, argument))

    def facts(self, fact: str) -> list[tuple[str, Mapping[str, Any]]]:
        """All (agent, detail) of a fact."""
        observed = (event for event in self.trace if event.kind == "observe")
        return [(event.agent, event.detail) for event in observed if event.detail["fact"] == fact]

    def record(self, kind: str, agent: str, message: Message | None = None, detail: Any = None) -> None:
        """Write to the trace."""
        event = TraceEvent(len(self.trace), self.now, kind, agent, message, detail)
        self.trace.append(event)
        if self.watch is not None:
            self.watch(event)

    def _run(self, agent: Agent, effects: Iterable[Effect]) -> None:
        try:
            for effect in list(effects):
                if self._noisy() and self.random.random() < self.noise.crash:
                    raise Crash
                self._carry_out(agent, effect)
        except Crash:
            self.crash(agent.name)
            low, high = self.noise.restart
            self._at(self.now + self.random.randint(low, high), self.start, agent.name)

    def _carry_out(self, agent: Agent, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._send(agent, effect)
        elif isinstance(effect, SetTimer):
            self._arm(agent, effect)
        elif isinstance(effect, CancelTimer):
            self._disarm(agent, effect.name)
        elif isinstance(effect, Call):
            self._call(agent, effect)
        elif isinstance(effect, CancelCall):
            self._cancel(agent, effect.id)
        elif isinstance(effect, Persist):
            agent.unsynced.append((effect.key, snapshot(effect.value)))
            self.record("persist", agent.name, detail={"key": effect.key, "channel": "pattern"})
        elif isinstance(effect, Sync):
            agent.durable.update(agent.unsynced)
            agent.unsynced = []
            self.record("sync", agent.name, detail={"channel": "pattern"})
        elif isinstance(effect, Decide):
            self.record("decide", agent.name, detail={"value": effect.value})
        elif isinstance(effect, Observe):
            self.record("observe", agent.name, detail={"fact": effect.fact, **effect.data})
            if (
                effect.fact in ("leader", "round")
                and self._noisy()
                and self.random.random() < self.noise.target
            ):
                self.partition([agent.name])
                self._at(min(self.now + self.random.randrange(2 * SECOND), self.noise.until), self.heal)

    def _noisy(self) -> bool:
        return self.now < self.noise.until

    def _arm(self, agent: Agent, timer: SetTimer) -> None:
        if not timer.spread_ns:
            extra = 0
        elif self._noisy():
            extra = self.random.randint(0, timer.spread_ns)
        else:
            extra = timer.spread_ns * agent.rank // len(self.names)
        self._disarm(agent, timer.name)
        number = self._seq + 1
        agent.timers[timer.name] = (number, timer.background)
        at = self.now + timer.delay_ns + extra
        self._at(at, self._fire, agent.name, timer.name, number, background=timer.background)

    def _disarm(self, agent: Agent, timer: str) -> None:
        number, background = agent.timers.pop(timer, (0, True))
        if not background:
            self._dead.add(number)
            self.foreground -= 1

    def _fire(self, name: str, timer: str, armed: int) -> None:
        agent = self.agents[name]
        if agent.timers.get(timer, (0, True))[0] != armed:
            return
        del agent.timers[timer]
        assert agent.machine is not None
        self.record("timer", name, detail=timer)
        self._run(agent, agent.machine.on_timer(timer))

    def _call(self, agent: Agent, call: Call) -> None:
        self._cancel(agent, call.id)
        number = agent.calls[call.id] = self._seq + 1
        at = self.now + self.random.randint(*self.noise.work)
        self._at(at, self._answer, agent.name, call, number)

    def _cancel(self, agent: Agent, call: str) -> None:
        number = agent.calls.pop(call, None)
        if number is not None:
            self._dead.add(number)
            self.foreground -= 1

    def _answer(self, name: str, call: Call, number: int) -> None:
        agent = self.agents[name]
        if agent.calls.get(call.id) != number:
            return
        del agent.calls[call.id]
        assert agent.machine is not None
        arguments = [each.name if isinstance(each, AgentRef) else snapshot(each) for each in call.arguments]
        try:
            value = snapshot(self.functions[call.function](*arguments))
        except Exception as error:
            effects = agent.machine.on_command(RAISED, Raised(call.id, error))
        else:
            effects = agent.machine.on_command(RETURNED, Returned(call.id, value))
        self._run(agent, effects)

    def _send(self, agent: Agent, send: Send) -> None:
        link = (agent.name, send.to)
        number = self._numbers[link] = self._numbers.get(link, 0) + 1
        message = Message(
            *link, snapshot(send.payload), send.kind, number, self.now, len(self.trace) + 1, channel="pattern"
        )
        if agent.unsynced:
            self.record(
                "observe", agent.name, detail={"fact": "unsynced_send", "to": send.to, "kind": send.kind}
            )
        self.record("send", agent.name, message)
        noisy = self._noisy()
        if link in self.blocked or (noisy and self.random.random() < self.noise.loss):
            self.record("lost", send.to, message)
            return
        copies = 2 if noisy and self.random.random() < self.noise.duplicate else 1
        for _ in range(copies):
            delay = self.random.randint(*self.noise.latency)
            if noisy and self.random.random() < self.noise.tail:
                delay *= self.random.randint(2, 40)
            self._at(self.now + delay, self._deliver, message)

    def _deliver(self, message: Message) -> None:
        agent = self.agents[message.recipient]
        if agent.machine is None or (message.sender, message.recipient) in self.blocked:
            self.record("lost", message.recipient, message)
            return
        self.record("receive", message.recipient, message)
        self._run(agent, agent.machine.on_message(message.sender, message.type, snapshot(message.payload)))
