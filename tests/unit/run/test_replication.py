"""Replicas in a session: what is observed of them, what is counted, and that causality is what the messages make it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.state.sync import SYNCS
from tests.unit.sim.harness import run_session


async def _writes(session: Session) -> None:
    a, b, c = session.agents.values()
    for number in range(3):
        a.state.set("x", number)
        b.state.increment("n")
        await session.sleep(0.02)
        c.state.append("log", number)
        await session.sleep(0.7)


@pytest.mark.parametrize("sync", SYNCS)
def test_a_write_has_seen_another_only_if_messages_brought_word_of_it(sync: str) -> None:
    trace = run_session(_writes, agents=["a", "b", "c"], sync=sync, network="wan", seed=3).trace
    causality = trace.causality()
    writes = [event for event in trace if event.kind == "state"]
    assert len(writes) == 9
    seen = 0
    for earlier, later in permutations(writes, 2):
        if later.detail["write"].has_seen(earlier.detail["write"]):
            assert causality.happens_before(earlier, later)
            seen += 1
    assert seen > 9, "some have seen those of others"


@pytest.mark.parametrize("sync", SYNCS)
def test_replicas_say_what_they_hold_when_they_learn_that_another_holds_the_same(sync: str) -> None:
    outcome = run_session(_writes, agents=["a", "b", "c"], sync=sync, network="wan", seed=3)
    facts = [
        event for event in outcome.trace if event.kind == "observe" and event.detail["fact"] == "replica"
    ]
    assert {event.agent for event in facts} == {"a", "b", "c"}
    ends: dict[str, Any] = {event.agent: event.detail for event in facts}
    assert ends["a"]["seen"] == ends["b"]["seen"] == ends["c"]["seen"] == {"a": 3, "b": 3, "c": 3}
    assert len({detail["state"] for detail in ends.values()}) == 1
    said: dict[Any, list[Any]] = {}
    for event in facts:
        said.setdefault((event.agent, tuple(event.detail["seen"].items())), []).append(event.detail)
    assert all(each == same[0] for same in said.values() for each in same), (
        "who is sent what it has stays as it is"
    )
    if sync == "full":
        assert any(len(same) > 1 for same in said.values()), "and says so"


def test_how_long_replicas_differ_is_counted() -> None:
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        with session.network.partition([a], [b]):
            a.state.set("x", 1)
            await session.sleep(10)
        await session.sleep(10)
        b.state.set("y", 1)
        await session.sleep(10)

    metrics = run_session(scenario, agents=["a", "b"], network="perfect").metrics
    assert 10 < metrics.divergence_seconds < 19
    assert metrics.sync_operations == metrics.protocol_messages
    assert metrics.sync_seconds < 1


def test_replicas_that_nobody_writes_to_leave_no_trace() -> None:
    async def scenario(session: Session) -> None:
        await session.sleep(1)
        assert session.agents["a"].state.get("x") is None

    outcome = run_session(scenario, agents=["a", "b"], sync="event")
    assert outcome.metrics.sync_operations == 0
    assert not [event for event in outcome.trace if event.kind == "observe"]
