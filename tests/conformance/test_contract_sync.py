"""The five ways to synchronise replicas, and every way to resolve conflicts under each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from pytest_convergence import Crdt, Delta, EventLog, Full, Outcome, Session, Siblings
from pytest_convergence import strategies as cst

SYNCS = ("full", "delta", "event", "crdt", "vector-clock")
RESOLVES = ("priority", "first-come", "last-write", "merge", "arbitration", "voting", "rollback")

Factory = Callable[..., Session]


@pytest.mark.parametrize("sync", SYNCS)
@settings(max_examples=20)
@given(
    schedule=cst.schedules(faults=["loss", "duplicate", "delay", "crash"]), states=cst.conflicting_states()
)
def test_documents_converge_in_every_way(
    convergence_session_factory: Factory, sync: str, schedule: Any, states: Any
) -> None:
    session = convergence_session_factory(agents=states.agents, states=states, sync=sync, schedule=schedule)
    assert session.run().converged


async def _apart(session: Session) -> None:
    """Three agents write while a partition keeps one of them away, twice."""
    a, b, c = session.agents.values()
    a.state.set("plan", {"title": "draft", "size": 1})
    await session.sleep(5)
    with session.network.partition([a], [b, c]):
        a.state.set("plan.title", "from a")
        b.state.set("plan.title", "from b")
        a.state.increment("votes", 2)
        b.state.increment("votes", 3)
        c.state.add("tags", "new")
        a.state.append("log", "a")
        c.state.append("log", "c")
        await session.sleep(5)
    await session.sleep(5)
    with session.network.partition([a, b], [c]):
        a.state.insert("text", 0, *"Hello")
        c.state.discard("tags", "new")
        b.state.add("tags", "new")
        b.state.delete("plan.size")
        c.state.set("plan.owner", "c")
        await session.sleep(5)


def _run(factory: Factory, **options: Any) -> tuple[Session, Outcome]:
    session = factory(agents=["a", "b", "c"], **options)
    return session, session.run(_apart)


@pytest.mark.parametrize("resolve", RESOLVES)
@pytest.mark.parametrize("sync", SYNCS)
def test_a_scenario_runs_under_every_combination(
    convergence_session_factory: Factory, sync: str, resolve: str
) -> None:
    session, outcome = _run(convergence_session_factory, sync=sync, resolve=resolve)
    assert outcome.converged, outcome.reasons
    assert [conflict.path for conflict in outcome.conflicts] == ["plan.title"]
    assert set(outcome.conflicts[0].values.values()) == {"from a", "from b"}
    state = session.agents["a"].state.as_dict()
    assert state["votes"] == 5
    assert state["tags"] == {"new"}
    assert sorted(state["log"]) == ["a", "c"]
    assert "".join(state["text"]) == "Hello"
    assert state["plan"]["owner"] == "c"


@pytest.mark.parametrize("resolve", RESOLVES)
def test_every_way_ends_with_the_same_document_and_the_same_conflicts(
    convergence_session_factory: Factory, resolve: str
) -> None:
    ends = []
    for sync in SYNCS:
        session, outcome = _run(convergence_session_factory, sync=sync, resolve=resolve)
        listed = [(conflict.id, conflict.path, conflict.values) for conflict in outcome.conflicts]
        ends.append((session.agents["b"].state.as_dict(), session.agents["b"].state.checksum, listed))
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize(
    "sync",
    [Full(interval=0.2), Delta(interval=0.2), EventLog(snapshot_every=2), Crdt(period=0.05), Siblings(interval=3)],
    ids=repr,
)  # fmt: skip
def test_a_strategy_may_have_options(convergence_session_factory: Factory, sync: Any) -> None:
    _, outcome = _run(convergence_session_factory, sync=sync)
    assert outcome.converged
    assert outcome.metrics.sync == sync.name


def test_the_bytes_that_each_way_sends_are_counted(convergence_session_factory: Factory) -> None:
    """A large document of which little changes."""

    async def scenario(session: Session) -> None:
        a = session.agents["a"]
        a.state.merge({f"field {number}": "x" * 50 for number in range(50)})
        await session.sleep(10)
        for number in range(10):
            a.state.set("field 1", number)
            await session.sleep(10)

    sent = {}
    for sync in SYNCS:
        metrics = convergence_session_factory(agents=["a", "b", "c"], sync=sync).run(scenario).metrics
        assert metrics.sync_operations > 0
        assert metrics.sync_seconds > 0
        assert metrics.divergence_seconds > 0
        sent[sync] = metrics.sync_bytes
    assert all(sent[sync] < sent["full"] for sync in SYNCS if sync != "full")


def test_a_session_that_shares_nothing_sends_nothing(convergence_session_factory: Factory) -> None:
    async def scenario(session: Session) -> None:
        await session.sleep(1)

    metrics = convergence_session_factory(agents=3, sync="crdt").run(scenario).metrics
    assert metrics.sync == "none"
    assert metrics.sync_operations == metrics.sync_bytes == 0


@pytest.mark.parametrize("sync", SYNCS)
def test_what_was_synced_survives_a_crash(convergence_session_factory: Factory, sync: str) -> None:
    async def scenario(session: Session) -> None:
        a, b = session.agents["a"], session.agents["b"]
        a.state.set("x", 1)
        a.state.set("x", 2)
        a.state.increment("n", 5)
        await session.sleep(5)
        version = b.state.version
        b.crash()
        a.state.set("y", 3)
        await session.sleep(5)
        b.restart()
        assert b.state.version >= version
        assert b.state.get("x") == 2
        b.state.increment("n", 2)

    session = convergence_session_factory(agents=["a", "b", "c"], sync=sync)
    assert session.run(scenario).converged
    assert session.agents["c"].state.as_dict() == {"x": 2, "y": 3, "n": 7}


@pytest.mark.parametrize("sync", SYNCS)
def test_who_was_told_tells_the_rest_when_the_author_is_gone(
    convergence_session_factory: Factory, sync: str
) -> None:
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a, b], [c]):
            a.state.set("x", 1)
            await session.sleep(3)
            a.crash()
        await session.sleep(30)
        assert c.state.get("x") == 1

    assert convergence_session_factory(agents=["a", "b", "c"], sync=sync).run(scenario).converged


def test_a_strategy_of_ones_own_has_a_name_and_makes_machines(convergence_session_factory: Factory) -> None:
    class Chatty:
        name = "chatty"

        def machine(self, replica: Any, peers: Any) -> Any:
            return Delta(interval=0.01).machine(replica, peers)

    _, outcome = _run(convergence_session_factory, sync=Chatty())
    assert outcome.converged
    assert outcome.metrics.sync == "chatty"
