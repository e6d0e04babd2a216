"""Partial-order reduction visits each equivalence class of orders exactly once, whatever the program."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_convergence import ConvergenceEngine, Network
from pytest_convergence.explore.dpor import OrderSearch, Step
from pytest_convergence.explore.exhaustive import Exhaustive

_MOST_STATES = 400

Name = tuple[int, int, int]
"""Sender, recipient, number on the link."""


class Program(NamedTuple):
    """Agents that send at the start, and react to a delivery by what they have received so far, in order."""

    starts: list[tuple[int, int, int]]  # sender, recipient, hops
    reactions: list[list[int]]  # recipients; which of these lists, depends on all that the agent has received
    keeps_order: bool

    def react(self, agent: int, history: tuple[tuple[int, int, int], ...]) -> list[tuple[int, int]]:
        hops = history[-1][2]
        place = zlib.crc32(repr((agent, history)).encode()) % len(self.reactions)
        return [(to, hops - 1) for to in self.reactions[place]] if hops else []


class Run:
    """One run of a program, delivery by delivery."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.received: dict[int, tuple[tuple[int, int, int], ...]] = {}
        self.sent: dict[tuple[int, int], int] = {}
        self.under_way: dict[Name, tuple[int, int]] = {}  # hops, deliveries before it was sent
        self.log: list[tuple[Name, int]] = []
        for sender, recipient, hops in program.starts:
            self.send(sender, recipient, hops)

    def send(self, sender: int, recipient: int, hops: int) -> None:
        number = self.sent[sender, recipient] = self.sent.get((sender, recipient), 0) + 1
        self.under_way[sender, recipient, number] = (hops, len(self.log))

    def enabled(self) -> list[Name]:
        heads: dict[object, Name] = {}
        for name in self.under_way:
            heads.setdefault(name[:2] if self.program.keeps_order else name, name)
        return list(heads.values())

    def deliver(self, name: Name) -> None:
        hops, known = self.under_way.pop(name)
        sender, recipient, number = name
        history = self.received[recipient] = (
            *self.received.get(recipient, ()),
            (sender, number, hops),
        )
        self.log.append((name, known))
        for to, left in self.program.react(recipient, history):
            self.send(recipient, to, left)

    def order(self) -> tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...]:
        return tuple(sorted(self.received.items()))


def all_orders(program: Program) -> set[object]:
    """By brute force: every interleaving of deliveries."""
    ends: set[object] = set()
    seen: set[object] = set()
    todo: list[tuple[Name, ...]] = [()]
    while todo:
        path = todo.pop()
        run = Run(program)
        for name in path:
            run.deliver(name)
        if run.order() in seen:
            continue
        seen.add(run.order())
        assume(len(seen) < _MOST_STATES)
        if not run.under_way:
            ends.add(run.order())
        todo += [(*path, name) for name in run.enabled()]
    return ends


def visited_orders(program: Program) -> list[object]:
    """By partial-order reduction."""
    search = OrderSearch()
    visited: list[object] = []
    bits: dict[Name, int] = {}
    names: dict[int, Name] = {}
    while search.advance():
        run = Run(program)
        for step in search.prefix:
            run.deliver(names[step.bit])
        while run.under_way:
            run.deliver(run.enabled()[0])
        steps = []
        before: dict[int, int] = {}
        after: list[tuple[int, int]] = []
        for name, known in run.log:
            sender, recipient, _ = name
            bit = bits.setdefault(name, 1 << len(bits))
            names[bit] = name
            cause = next((past for agent, past in reversed(after[:known]) if agent == sender), 0)
            past = cause | before.get(recipient, 0)
            line = name[:2] if program.keeps_order else name
            steps.append(Step(bit, recipient, past, cause, line))
            before[recipient] = past | bit
            after.append((recipient, past | bit))
        assert search.ran(steps), "an order came about that was asleep"
        visited.append(run.order())
    assert search.pending == 0
    return visited


_agents = st.integers(0, 3)
_programs = st.builds(
    Program,
    starts=st.lists(st.tuples(_agents, _agents, st.integers(0, 2)), max_size=5),
    reactions=st.lists(st.lists(_agents, max_size=2), min_size=1, max_size=4),
    keeps_order=st.booleans(),
)


@given(_programs)
def test_each_equivalence_class_is_run_exactly_once(program: Program) -> None:
    wanted = all_orders(program)
    visited = visited_orders(program)
    assert len(visited) == len(set(visited)) == len(wanted)
    assert set(visited) == wanted


def agent_of(program: Program, number: int) -> Callable[[Any], Any]:
    """One agent of the program as a behaviour; it keeps what it received in ``heard``, which its session shows."""

    async def behaviour(agent: Any) -> None:
        history: tuple[tuple[int, int, int], ...] = ()
        for sender, recipient, hops in program.starts:
            if sender == number:
                await agent.send(f"agent-{recipient}", hops)
        async for message in agent.inbox:
            history = (*history, (int(message.sender[-1]), message.number, message.payload))
            agent.expose(lambda shown=history: shown)
            for to, left in program.react(number, history):
                await agent.send(f"agent-{to}", left)

    return behaviour


@settings(max_examples=25)
@given(_programs)
def test_the_same_holds_for_agents_in_the_simulated_world(program: Program) -> None:
    wanted = all_orders(program)
    assume(len(wanted) <= 40)
    agents = {f"agent-{number}": agent_of(program, number) for number in range(4)}
    network = Network(reorder=0.0 if program.keeps_order else 0.1)
    search, visited = Exhaustive(), []
    while search.advance():
        session = ConvergenceEngine().create_session(
            "law", agents=agents, network=network, schedule=search.schedule()
        )
        session.run()
        search.learn()
        heard = {number: session.agents[f"agent-{number}"].exposed for number in range(4)}
        visited.append(tuple((number, history) for number, history in heard.items() if history))
    assert search.summary == f"exhausted: {len(wanted)} schedule{'s' * (len(wanted) != 1)}"
    assert set(visited) == wanted
    assert len(visited) == len(wanted)
