"""Happens-before is read from the trace; vector clocks agree with it, both ways."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_convergence._engine.base.causality import Causality
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import run_session

Orders = dict[int, set[int]]


def _trace(seed: int, steps: int = 12, **options: Any) -> Any:
    async def scenario(session: Session) -> None:
        agents = list(session.agents.values())
        rng = agents[0].random
        for number in range(steps):
            sender, recipient = rng.sample(agents, 2)
            await sender.send(recipient, number)
            if rng.random() < 0.5:
                await session.sleep(0.01)
            mailbox = rng.choice(agents)._mailbox
            assert mailbox is not None
            mailbox.take()
            rng.choice(agents).observe("step", number=number)

    return run_session(scenario, agents=["a", "b", "c"], network="lossy", seed=seed, **options).trace


def _reached_from(events: list[TraceEvent]) -> Orders:
    """For each event, all that happened before it: by the definition, without clocks."""
    last: dict[str, int] = {}
    sendings: dict[int, int] = {}
    before: Orders = {}
    for event in events:
        sources = [last[event.agent]] if event.agent in last else []
        if event.kind == "receive" and event.message is not None and event.message.uid in sendings:
            sources.append(sendings[event.message.uid])
        if event.kind == "send" and event.message is not None:
            sendings[event.message.uid] = event.index
        before[event.index] = set(sources).union(*(before[source] for source in sources))
        last[event.agent] = event.index
    return before


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_clocks_say_what_the_definition_says(seed: int):
    causality = Causality(_trace(seed))
    pairs = list(causality.clocks())
    events = [event for event, _ in pairs]
    before = _reached_from(events)
    for one, clock in pairs:
        assert causality.clock(one) == clock
        assert {event.index for event in causality.past(one)} == before[one.index] | {one.index}
        for other, later in pairs:
            precedes = one.index in before[other.index]
            assert causality.happens_before(one, other) is precedes
            assert (clock < later) is precedes
            concurrent = one is not other and not precedes and other.index not in before[one.index]
            assert causality.concurrent(one.index, other.index) is concurrent


def test_losses_and_copies_are_nobodys_events():
    trace = _trace(1, steps=60)
    causality = trace.causality()
    inside = [event for event, _ in causality.clocks()]
    outside = [event for event in trace if event.kind in {"lost", "duplicate"}]
    assert len(inside) + len(outside) == len(trace)
    assert outside
    with pytest.raises(ConvergenceUsageError, match="has no place in the causal order"):
        causality.clock(outside[0])
    with pytest.raises(ConvergenceUsageError, match="event 99999 has no place"):
        causality.happens_before(99_999, inside[0])


def test_no_event_happens_before_itself():
    causality = _trace(2).causality()
    first = next(event for event, _ in causality.clocks())
    assert not causality.happens_before(first, first)
    assert not causality.concurrent(first, first)


def test_a_reception_whose_sending_has_left_the_window_starts_from_nothing():
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        await a.send("b", "old")
        for _ in range(12_000):
            a.observe("filler")
            await session.sleep(0.001)
        await b.receive()

    trace = run_session(scenario, agents=["a", "b"], trace=10).trace
    causality = trace.causality()
    received = next(event for event in trace if event.kind == "receive")
    assert dict(causality.clock(received)) == {"b": 1}
    assert dict(list(causality.clocks())[-1][1])["b"] == 1
