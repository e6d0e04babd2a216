"""What coordination systems that only pretend get wrong, each as a test that the real thing passes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pytest_convergence import ByArbitration, ByVote, Conflict, ConvergenceEngine, Outcome, Session, Tally
from pytest_convergence._engine.patterns.quorum import VoteResult, vote_result
from pytest_convergence._engine.state.replica import Replica


def apart(write_a: Any, write_b: Any, **options: Any) -> tuple[Session, Outcome]:
    """Let a and b write while they cannot talk."""

    async def scenario(session: Session) -> None:
        a, b, *_ = session.agents.values()
        with session.network.partition([a], [b]):
            write_a(a.state)
            write_b(b.state)
            await session.sleep(1)

    session = ConvergenceEngine().create_session("apart", agents=["a", "b", "c"], **options)
    return session, session.run(scenario)


def test_a_true_conflict_is_reported_and_no_write_is_lost() -> None:
    _, outcome = apart(lambda state: state.set("x", 1), lambda state: state.set("x", 2))
    (conflict,) = outcome.conflicts
    assert conflict.path == "x"
    assert conflict.values == {"a": 1, "b": 2}
    assert conflict.resolution is not None
    assert conflict.resolution.value in (1, 2)


def test_disjoint_keys_converge() -> None:
    session, outcome = apart(lambda state: state.set("a", 1), lambda state: state.set("b", 2))
    assert outcome.converged
    assert outcome.conflicts == ()
    assert all(agent.state.as_dict() == {"a": 1, "b": 2} for agent in session.agents.values())


def test_key_order_never_matters() -> None:
    items = {"one": 1, "two": {"x": 1, "y": 2}, "three": [1, {"p": 1, "q": 2}]}
    checksums = set()
    for order in permutations(items):
        replica = Replica("a")
        for key in order:
            value = items[key]
            replica.set(key, dict(reversed(value.items())) if isinstance(value, dict) else value)
        checksums.add(replica.checksum)
    assert len(checksums) == 1


def test_nested_keys_are_in_the_checksum() -> None:
    a, b = Replica("a", {"deep": {"er": {"est": 1}}}), Replica("a", {"deep": {"er": {"est": 2}}})
    assert a.checksum != b.checksum


@pytest.mark.parametrize("resolve", ["last-write", "first-come", "priority", "merge", "rollback"])
def test_merging_replicas_is_commutative_associative_and_idempotent(resolve: str) -> None:
    states = []
    for number, name in enumerate("abc"):
        replica = Replica(name, now_ns=lambda number=number: number, resolve=resolve)  # type: ignore[misc]
        replica.merge({"title": name, "tags": [name], "size": {name: 1}})
        replica.increment("count", number + 1)
        states.append(replica)
    seen = set()
    for order in permutations(states):
        merged = Replica("reader", resolve=resolve)
        for state in (*order, *order):
            assert merged.join(state.delta_since(merged.clock))
        seen.add(merged.checksum)
    assert len(seen) == 1


def test_zero_votes_elect_nobody() -> None:
    _, outcome = apart(
        lambda state: state.set("x", 1),
        lambda state: state.set("x", 2),
        resolve=ByVote(vote=lambda conflict: None),
    )
    assert outcome.conflicts[0].resolution is None
    assert Tally({}, 3).leading == ()
    assert vote_result(["a", "b", "c"], {}) is VoteResult.PENDING


def test_arbitration_is_deterministic() -> None:
    def decide(agent: Any, conflict: Conflict) -> Any:
        return agent.random.choice(sorted(conflict.values.values()))

    def once(seed: int) -> tuple[Any, str]:
        session, outcome = apart(
            lambda state: state.set("x", 1),
            lambda state: state.set("x", 2),
            resolve=ByArbitration(arbiter="c", decide=decide),
            network="chaos",
            seed=seed,
        )
        values = {agent.state.get("x") for agent in session.agents.values()}
        assert len(values) == 1, "one verdict for all"
        return values.pop(), outcome.trace.digest()

    for seed in range(4):
        assert once(seed) == once(seed)


@pytest.mark.parametrize("resolve", ["last-write", "arbitration", "voting"])
def test_pending_counts_never_go_negative(resolve: str) -> None:
    engine = ConvergenceEngine()
    session = engine.create_session(
        "pending", agents=4, resolve=resolve, network="chaos", faults=["crash", "partition"], seed=5
    )
    seen: list[int] = []

    async def scenario(running: Session) -> None:
        for turn in range(4):
            for agent in running.agents.values():
                if agent.is_alive:
                    agent.state.set("x", f"{agent.name} {turn}")
            await running.sleep(0.5)
            seen.append(sum(conflict.resolution is None for conflict in running.conflicts))
            seen.append(engine.stats().active_sessions)

    outcome = session.run(scenario)
    assert min(seen) >= 0
    assert 0 <= outcome.metrics.unresolved <= outcome.metrics.conflicts
    assert outcome.metrics.handoffs_pending == 0
    assert engine.stats().active_sessions == 0


def test_the_error_of_a_handler_is_not_swallowed() -> None:
    session = ConvergenceEngine().create_session("handler", agents=["a", "b"])

    def handler(conflict: Conflict) -> None:
        raise RuntimeError(f"not expected at {conflict.path}")

    async def scenario(running: Session) -> None:
        a, b = running.agents.values()
        with running.network.partition([a], [b]):
            a.state.set("x", 1)
            b.state.set("x", 2)
            await running.sleep(1)

    session.on_conflict(handler)
    with pytest.raises(RuntimeError, match="not expected at x"):
        session.run(scenario)


def test_the_hierarchical_pattern_executes() -> None:
    session = ConvergenceEngine().create_session("tree", pattern="hierarchical", agents=["boss", "a", "b"])
    outcome = session.run(
        tree={"boss": ["a", "b"]}, task=[3, 4], split=list, work=lambda part: part * part, combine=sum
    )
    assert outcome.converged
    assert outcome.output == 25


def test_the_reactive_pattern_executes() -> None:
    heard: list[Any] = []
    session = ConvergenceEngine().create_session("topics", pattern="reactive", agents=["a", "b"])
    outcome = session.run(handlers={"order": {"b": heard.append}}, events=[("order", 1), ("order", 2)])
    assert outcome.converged
    assert heard == [1, 2]
