"""What a run counts: by facts, by events, and not what did not happen."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import Fault, FaultPlan
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.outcome import Outcome, RunMetrics
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.state.sync import Delta
from pytest_convergence.errors import PropertyViolation
from tests.unit.sim.harness import make_session, run_session, simulate


def _observing(*facts: tuple[str, dict[str, Any]], wait: float = 1.0) -> RunMetrics:
    async def scenario(session: Session) -> None:
        for fact, data in facts:
            session.agents["a"].observe(fact, **data)
            await session.sleep(wait)

    return run_session(scenario, agents=["a", "b"]).metrics


@pytest.mark.parametrize(
    ("facts", "numbers"),
    [
        ([("retry", {}), ("retry", {"recalled": True})], {"retries": 1}),
        ([("dead_letter", {"item": 1})], {"dead_letters": 1}),
        ([("stale_read", {})] * 2, {"stale_reads": 2}),
        ([("lost_update", {})], {"lost_updates": 1}),
        ([("duplicate_effect", {})], {"duplicate_effects": 1}),
        ([("effect", {"key": [1]}), ("effect", {"key": [2]}), ("effect", {"key": [1]})], {"duplicate_effects": 1}),
        ([("effect", {"key": 1, "stage": "x"}), ("effect", {"key": 1, "stage": "y"})], {"duplicate_effects": 0}),
        ([("effect", {"item": 1}), ("effect", {"item": 1, "recalled": True})], {"duplicate_effects": 0}),
        ([("effect", {}), ("effect", {})], {"duplicate_effects": 0}),
        ([("round", {"round": 2}), ("round", {"round": 1}), ("round", {"round": "x"})], {"rounds": 2}),
        ([("sync", {"bytes": 10, "seconds": 0.5}), ("sync", {"bytes": 5})],
         {"sync_operations": 2, "sync_bytes": 15, "sync_delivered": 1, "sync_seconds": 0.5}),
        ([("conflict_detected", {"id": 1}), ("conflict_resolved", {"id": 1}), ("conflict_resolved", {"id": 1})],
         {"conflict_seconds": 1.0}),
        ([("conflict_resolved", {"id": 1})], {"conflict_seconds": 0.0}),
        ([("unheard of", {})], {"retries": 0}),
    ],
)  # fmt: skip
def test_facts_are_counted_by_their_name(facts: list[tuple[str, dict[str, Any]]], numbers: dict[str, float]):
    metrics = _observing(*facts)
    assert {name: getattr(metrics, name) for name in numbers} == numbers


def test_handoffs_are_pending_until_they_end():
    metrics = _observing(
        ("handoff_requested", {"id": 1, "reason": "escalation"}),
        ("handoff_requested", {"id": 2, "reason": "timeout"}),
        ("handoff_requested", {"id": 2, "reason": "timeout"}),
        ("handoff_requested", {"id": 3}),
        ("handoff_completed", {"id": 1}),
        ("handoff_expired", {"id": 2}),
        ("handoff_completed", {"id": 2}),
    )
    assert (metrics.handoffs_requested, metrics.handoffs, metrics.handoffs_pending) == (3, 1, 1)
    assert metrics.handoffs_by == {"escalation/completed": 1, "timeout/expired": 1}
    assert metrics.handoff_seconds == 4.0 + 4.0


def test_nobody_leads_between_two_leaders():
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        await session.sleep(2)  # nobody leads yet
        a.observe("leader", term=1)
        a.observe("leader", term=1)  # said again, which is no election
        await session.sleep(3)
        a.crash()
        await session.sleep(5)
        b.observe("leader", term=2)
        await session.sleep(7)
        b.observe("step_down", reason="tired")
        b.observe("step_down", reason="tired")
        await session.sleep(1)

    metrics = run_session(scenario, agents=["a", "b"]).metrics
    assert metrics.elections == 2
    assert metrics.unavailable_seconds == 2 + 5 + 1


def test_two_leaders_at_a_time_are_not_less_than_one():
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        a.observe("leader", term=1)
        b.observe("leader", term=2)
        await session.sleep(1)
        a.observe("follow", leader="b", term=2)
        await session.sleep(1)

    assert run_session(scenario, agents=["a", "b"]).metrics.unavailable_seconds == 0


def test_where_nobody_ever_leads_nobody_is_missed():
    assert run_session(agents=2).metrics.unavailable_seconds == 0


def test_faults_are_counted_by_kind_whoever_causes_them():
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a]), session.network.one_way_partition([b], [c]):
            await session.sleep(1)
        with session.network.drop():
            b.pause()
            b.resume()
            c.crash()

    plan = FaultPlan((Fault.partition(["a"], at=5.0),))
    metrics = run_session(scenario, agents=["a", "b", "c"], schedule=plan).metrics
    assert metrics.faults == {"partition": 2, "pause": 1, "crash": 1}
    assert metrics.crashes == 1


async def _writes(agent: SimulatedAgent) -> None:
    agent.state.set(agent.name, 1)


def test_the_strategy_of_the_synchronisation_is_named_where_there_was_one():
    assert run_session(agents={"a": _writes, "b": None}).metrics.sync == "delta"
    assert run_session(agents={"a": _writes, "b": None}, sync=Delta()).metrics.sync == "delta"
    metrics = run_session(agents=2).metrics
    assert (metrics.sync, metrics.sync_operations, metrics.state_versions) == ("none", 0, 0)


def test_what_replicas_do_is_counted():
    metrics = run_session(agents={"a": _writes, "b": _writes}, network="lan").metrics
    assert (metrics.state_updates, metrics.state_versions) == (2, 4)
    assert 0 < metrics.sync_delivered <= metrics.sync_operations
    assert metrics.sync_bytes > 0
    assert metrics.sync_seconds > 0
    assert metrics.divergence_seconds > 0


def test_steps_are_those_of_the_session_alone():
    async def scenario(session: Session) -> None:
        for _ in range(10):
            await session.sleep(1)

    assert run_session(agents=2).metrics.events <= 3
    assert 10 <= run_session(scenario, agents=2).metrics.events <= 25


def test_a_violated_property_counts_as_what_it_proves():
    async def scenario(session: Session) -> None:
        session.never("this", lambda session: True)
        await session.sleep(1)

    session = make_session(agents=1)
    with pytest.raises(PropertyViolation):
        session.run(scenario)
    assert session.outcome is not None
    assert session.outcome.metrics.violations == 1
    assert session.outcome.metrics.outcome == "failed"


def test_what_is_held_back_or_under_way_at_the_end_has_not_been_received():
    async def held(session: Session) -> None:
        session.network.hold()
        await session.agents["a"].send("b", "never comes")

    async def delayed(session: Session) -> None:
        with session.network.delay(100):
            await session.agents["a"].send("b", "comes too late")
        await session.agents["a"].send("b", "comes")

    metrics = run_session(held, agents=["a", "b"]).metrics
    assert (metrics.sent, metrics.received, metrics.lost) == (1, 0, 0)
    session = make_session(agents=["a", "b"])
    metrics = session.run(delayed, timeout=10).metrics
    assert (metrics.sent, metrics.received, metrics.lost) == (2, 1, 0)


def test_sessions_of_one_world_do_not_count_each_others_messages():
    async def sends(session: Session) -> None:
        await session.agents["a"].send("b", "comes")
        await session.agents["a"].send("b", "comes, and is acknowledged", ack=True)

    async def is_slow(session: Session) -> None:
        with session.network.delay(5):
            await session.agents["a"].send("b", "is under way when the other session ends")
            await session.sleep(2)

    async def both() -> list[Outcome]:
        swift, slow = make_session(agents=["a", "b"]), make_session(agents=["a", "b"])
        return list(await asyncio.gather(swift.execute(sends), slow.execute(is_slow)))

    swift, slow = simulate(both)
    assert (swift.metrics.sent, swift.metrics.received) == (3, 3)
    assert (slow.metrics.sent, slow.metrics.received, slow.metrics.lost) == (1, 1, 0)


def test_numbers_cross_process_boundaries():
    import json

    numbers = _observing(("retry", {}), ("handoff_requested", {"id": 1})).as_dict()
    assert json.loads(json.dumps(numbers)) == numbers


# -- what the outcome says -------------------------------------------------------------------------------------------------


def test_agents_that_were_cut_off_or_crashed_at_the_end_are_named():
    async def scenario(session: Session) -> None:
        _, b, c, _ = session.agents.values()
        session.network.partition([b])
        b.state.set("alone", True)
        c.crash()
        await session.sleep(1)

    outcome = run_session(scenario, agents=["a", "b", "c", "d"])
    assert outcome.converged
    assert (outcome.cut_off, outcome.crashed) == (("b",), ("c",))
    assert "cut off at the end, and not compared with the others: b" in str(outcome)
    assert "crashed at the end, and not compared: c" in str(outcome)
    plain = run_session(agents=2)
    assert (plain.cut_off, plain.crashed) == ((), ())


def test_a_split_vote_says_who_voted_for_what():
    outcome = run_session(
        agents=["a", "b", "c", "d"],
        pattern="consensus",
        inputs={"proposals": {"a": 1, "b": 2, "c": 1, "d": 3}},
    )
    assert outcome.reasons == (
        "the consensus pattern came to no result in 10 rounds: a, c voted for 1; b voted for 2; d voted for 3; a quorum is "
        "3 of 4",
    )


# -- violated predicates ---------------------------------------------------------------------------------------------------


def _violation(test: Any, kind: str = "always") -> str:
    async def pays(agent: SimulatedAgent) -> None:
        agent.expose(lambda: ["ledger"])
        await agent.session.sleep(1)
        agent.state.set("balance", 90)

    session = make_session(agents={"bank": pays, "idle": None})
    getattr(session, kind)("balance kept", test)
    with pytest.raises(PropertyViolation) as caught:
        session.run()
    return str(caught.value)


def test_a_violated_predicate_says_what_was_returned_and_what_the_agents_hold():
    text = _violation(lambda session: session.agents["bank"].state.get("balance", 100) == 100)
    assert text == (
        "balance kept: this must always hold, but after an event of bank it did not (at 1 s)\n"
        "    bank: state {'balance': 90}, exposes ['ledger']"
    )


def test_a_predicate_that_returns_no_truth_value_is_quoted():
    text = _violation(lambda session: session.agents["bank"].state.get("balance", 100) - 90)
    assert "but after an event of bank it did not: the predicate returned 0 (at 1 s)" in text


def test_a_predicate_may_assert():
    def kept(session: Session) -> bool:
        balance = session.agents["bank"].state.get("balance", 100)
        assert balance == 100, f"the balance is {balance}"
        return True

    text = _violation(kept)
    assert text.splitlines()[1] == "    the balance is 90"
    assert "must never hold" in _violation(
        lambda session: session.agents["bank"].state.get("balance"), "never"
    )
    assert "must hold in the end, but when the world had settled it did not" in _violation(
        lambda session: session.agents["idle"].state.get("balance") == 100, "eventually"
    )


def test_a_predicate_is_no_coroutine_function():
    async def later(session: Session) -> bool:
        return True

    with pytest.raises(Exception, match="the predicate of the property 'p' is a coroutine function"):
        make_session(agents=1).always("p", later)


def test_agents_that_hold_a_lot_are_described_briefly():
    async def hoards(agent: SimulatedAgent) -> None:
        agent.state.set(f"of {agent.name}", "x" * 500)

        def broken() -> Any:
            raise LookupError

        if agent.name == "agent-1":
            agent.expose(broken)
        if agent.name == "agent-2":
            agent.crash()
        await agent.session.sleep(1)

    session = make_session(agents={f"agent-{n}": hoards for n in range(1, 21)})
    with pytest.raises(Exception, match="LookupError"):
        session.run()
    text = session.describe_agents()
    assert "exposes nothing: its function raised LookupError" in text
    assert "has crashed" in text
    assert text.splitlines()[-1] == "and 8 more"
    assert max(map(len, text.splitlines())) < 250
