"""Sessions: set-up, schedules, leaders, properties, and what criteria ask."""

import asyncio
import gc
from typing import Any

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence.errors import ConvergenceUsageError, PropertyViolation
from tests.unit.sim.harness import make_session, run_session

# -- set-up ------------------------------------------------------------------------------------------------------------


def test_agents_are_numbered_named_or_none():
    assert list(make_session(agents=2).agents) == ["agent-1", "agent-2"]
    assert list(make_session(agents=["b", "a"]).agents) == ["b", "a"]
    assert list(make_session().agents) == []
    with pytest.raises(TypeError):
        make_session(agents=1).agents["x"] = None  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "seed", "kind"),
    [
        ({}, None, "calm"),
        ({"network": "lossy"}, 1, "seeded"),
        ({"faults": ["crash"]}, 1, "seeded"),
        ({"seed": 7}, 7, "seeded"),
        ({"schedule": Schedule.calm(), "network": "lossy"}, None, "calm"),
        ({"schedule": Schedule.of({}, seed=9)}, None, "listed"),
    ],
)
def test_a_session_is_calm_if_it_can_be(options: dict[str, Any], seed: int | None, kind: str):
    session = make_session(agents=2, **options)
    assert session.schedule.kind == kind
    assert (session.seed is None) == (seed is None)
    assert seed in (None, 1, session.seed)


def test_a_seed_that_is_not_given_derives_from_where_the_session_is_used():
    def seed(where: str) -> int | None:
        return ConvergenceEngine(seed_from=where).create_session("s", agents=2, network="lossy").seed

    assert seed("test_a") == seed("test_a") != seed("test_b")


def test_a_pattern_needs_agents():
    with pytest.raises(ConvergenceUsageError, match="the pattern 'consensus' needs agents"):
        make_session(pattern="consensus")


def test_states_must_be_those_of_the_agents():
    with pytest.raises(ConvergenceUsageError, match="states names the agent 'x', but the agents are a, b"):
        make_session(agents=["a", "b"], states={"x": {}})
    with pytest.raises(ConvergenceUsageError, match="but the agents are none"):
        make_session(states={"x": {}})


def test_initial_states_are_written_when_the_run_begins():
    outcome = run_session(agents=["a", "b"], states={"a": {"k": 1}, "b": {"l": 2}})
    assert outcome.converged


def test_what_was_written_before_the_run_is_shared_in_it():
    session = make_session(agents=["a", "b"])
    session.agents["a"].state.set("k", 1)
    assert session.run().converged
    assert session.agents["b"].state.get("k") == 1


@pytest.mark.parametrize(
    ("scenario", "options", "words"),
    [
        (lambda session: None, {}, "the scenario must be a coroutine function"),
        (None, {"timeout": 0}, "timeout must be greater than 0"),
        (None, {"timeout": -1}, "timeout must be"),
        (None, {"proposals": {}}, "no pattern that could take it"),
    ],
)
def test_wrong_runs_are_refused(scenario: Any, options: dict[str, Any], words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        make_session(agents=2).run(scenario, **options)


def test_the_inputs_of_a_pattern_are_checked_before_the_run():
    with pytest.raises(ConvergenceUsageError):
        make_session(agents=2, pattern="consensus").run(proposals={"nobody": 1})


def test_a_session_tells_where_it_stands():
    session = make_session(agents=2)
    assert "initializing, 2 agents, calm" in repr(session)
    session.run()
    assert "converged" in repr(session)
    assert session.agreement() == 1
    assert session.messages_lost == 0
    assert session.conflicts == ()


def test_before_its_run_a_session_knows_little():
    session = make_session(agents=2, pattern="leader-follower")
    assert session.agreement() == 0
    assert session.leader is None
    assert session.messages_lost == 0
    assert session.sometimes_reached == {}
    with pytest.raises(ConvergenceUsageError, match="is not running yet"):
        _ = session.now


def test_a_session_without_agents_runs_its_scenario():
    async def scenario(session: Session) -> float:
        await session.sleep(2)
        return session.now

    outcome = run_session(scenario)
    assert (outcome.output, outcome.converged, outcome.agreement) == (2, True, 1)


def test_sleeping_takes_a_length_of_time():
    async def scenario(session: Session) -> None:
        with pytest.raises(ConvergenceUsageError, match="seconds must be"):
            await session.sleep(-1)

    run_session(scenario, agents=1)


# -- leaders -----------------------------------------------------------------------------------------------------------


def test_a_leader_is_found_and_followed():
    async def scenario(session: Session) -> list[str]:
        first = await session.wait_for_leader()
        assert session.leader is first
        assert await session.wait_for_leader() is first
        return [first.name]

    assert run_session(scenario, agents=3, pattern="leader-follower").output == ["agent-1"]


def test_waiting_for_a_leader_can_time_out():
    async def scenario(session: Session) -> str:
        first = await session.wait_for_leader()
        with pytest.raises(TimeoutError) as caught:
            await session.wait_for_leader(other_than=first, timeout=5)
        with pytest.raises(ConvergenceUsageError, match="timeout must be"):
            await session.wait_for_leader(timeout=-1)
        with pytest.raises(ConvergenceUsageError, match="unknown agent 'agent-9'"):
            await session.wait_for_leader(other_than="agent-9")
        return str(caught.value)

    outcome = run_session(scenario, agents=3, pattern="leader-follower")
    assert outcome.output == "no leader other than 'agent-1', which leads, within 5 virtual seconds."


def test_waiting_for_another_leader_while_nothing_happens_to_the_first_ends_by_itself():
    async def scenario(session: Session) -> tuple[float, str]:
        first = await session.wait_for_leader()
        began = session.now
        with pytest.raises(TimeoutError) as caught:
            await session.wait_for_leader(other_than=first)
        return session.now - began, str(caught.value)

    seconds, said = run_session(scenario, agents=3, pattern="leader-follower").output
    assert seconds == pytest.approx(3_600)
    assert said == "no leader other than 'agent-1', which leads, within 3600 virtual seconds."


def test_waiting_for_another_leader_says_nothing_of_the_first_once_it_is_down():
    async def scenario(session: Session) -> str:
        first = await session.wait_for_leader()
        first.crash()
        with pytest.raises(TimeoutError) as caught:
            await session.wait_for_leader(other_than=first, timeout=0.001)
        return str(caught.value)

    outcome = run_session(scenario, agents=3, pattern="leader-follower")
    assert outcome.output == "no leader other than 'agent-1' within 0.001 virtual seconds."


def test_without_the_pattern_there_are_no_leaders():
    async def scenario(session: Session) -> None:
        assert session.leader is None
        with pytest.raises(ConvergenceUsageError, match="has no leaders to wait for"):
            await session.wait_for_leader()

    run_session(scenario, agents=3)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_task_is_led_by_the_leader(is_async: bool):
    async def slow(leader: Any, followers: Any) -> Any:
        return [leader.name, len(followers)]

    def quick(leader: Any, followers: Any) -> Any:
        return [leader.name, len(followers)]

    outcome = run_session(agents=3, pattern="leader-follower", inputs={"task": slow if is_async else quick})
    assert outcome.output == ["agent-1", 2]


# -- properties --------------------------------------------------------------------------------------------------------


async def _writes(session: Session) -> None:
    for number in range(5):
        await session.sleep(1)
        session.agents["agent-1"].state.set("n", number)


def test_always_fails_at_the_step_that_breaks_it():
    session = make_session(agents=2)
    session.always("small", lambda s: s.agents["agent-1"].state.get("n", 0) < 3)
    with pytest.raises(
        PropertyViolation, match="small: this must always hold, but after an event of agent-1"
    ) as caught:
        session.run(_writes)
    assert caught.value.outcome.duration == 4
    assert [violation.property for violation in caught.value.violations] == ["small"]


def test_never_fails_at_the_step_that_reaches_it():
    session = make_session(agents=2)
    session.never("three", lambda s: s.agents["agent-2"].state.get("n") == 3)
    with pytest.raises(PropertyViolation, match="three: this must never hold, but") as caught:
        session.run(_writes)
    assert 4 < caught.value.outcome.duration < 4.1  # when the other replica hears of it


def test_eventually_is_judged_at_the_end():
    session = make_session(agents=2)
    session.eventually("four", lambda s: s.agents["agent-2"].state.get("n") == 4)
    assert session.run(_writes).converged
    other = make_session(agents=2)
    other.eventually("five", lambda s: s.agents["agent-2"].state.get("n") == 5)
    with pytest.raises(
        PropertyViolation, match="five: this must hold in the end, but when the world had settled it did not"
    ):
        other.run(_writes)


def test_sometimes_tells_what_was_reached():
    session = make_session(agents=2)
    session.sometimes("two", lambda s: s.agents["agent-1"].state.get("n") == 2)
    session.sometimes("nine", lambda s: s.agents["agent-1"].state.get("n") == 9)
    assert session.run(_writes).converged
    assert session.sometimes_reached == {"two": True, "nine": False}


def test_a_property_can_be_added_while_the_session_runs():
    async def scenario(session: Session) -> None:
        session.always("never ten", lambda s: s.agents["agent-1"].state.get("n") != 10)
        session.agents["agent-1"].state.set("n", 10)
        await session.sleep(1)

    with pytest.raises(PropertyViolation, match="never ten"):
        run_session(scenario, agents=2)


def test_properties_have_different_names():
    session = make_session(agents=2)
    session.always("x", bool)
    with pytest.raises(ConvergenceUsageError, match="has a property named 'x' already"):
        session.never("x", bool)


def test_a_predicate_that_raises_fails_the_run_with_its_own_error():
    session = make_session(agents=2)
    session.always("broken", lambda s: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.run(_writes)
    other = make_session(agents=2)
    other.eventually("broken", lambda s: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        other.run(_writes)


def test_a_predicate_that_writes_is_not_judged_inside_its_own_judgement():
    session = make_session(agents=2)
    state = session.agents["agent-2"].state
    session.always("meddles", lambda s: state.get("seen") or state.set("seen", True) or True)
    assert session.run(_writes).converged


def test_conflicts_are_listed_once():
    async def scenario(session: Session) -> None:
        with session.network.partition(["a"]):
            for agent in session.agents.values():
                agent.state.set("k", agent.name)
            await session.sleep(1)

    outcome = run_session(scenario, agents=["a", "b", "c"], network=Network(latency=0.01))
    assert {conflict.path for conflict in outcome.conflicts} == {"k"}
    assert outcome.metrics.conflicts == len(outcome.conflicts)


def test_an_interrupted_clearing_away_leaves_no_task_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def interrupted(loop: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_convergence._engine.run.hosting._finish", interrupted)

    async def fails(agent: Any) -> None:
        await asyncio.sleep(1)
        raise KeyboardInterrupt

    async def waits(agent: Any) -> None:
        await agent.receive()

    with pytest.raises(KeyboardInterrupt):
        run_session(agents={"a": fails, "b": waits})
    gc.collect()
    assert "destroyed" not in caplog.text


def test_a_session_that_shares_no_state_makes_no_replicas():
    async def quiet(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)

    session = make_session(agents={"a": quiet, "b": quiet})
    assert session.run().converged
    assert all(agent._replica is None for agent in session.agents.values())
    assert session._handoffs is None


def test_a_replica_that_is_asked_for_in_the_middle_of_a_run_synchronises():
    async def late(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)
        agent.state.set("title", "late")

    async def reader(agent: SimulatedAgent) -> object:
        await asyncio.sleep(5)
        return agent.state.get("title")

    assert make_session(agents={"a": late, "b": reader}).run().results["b"] == "late"


def test_a_replica_that_is_asked_for_after_the_run_is_empty_and_cannot_be_written():
    async def quiet(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)

    session = make_session(agents={"a": quiet})
    session.run()
    assert session.agents["a"].state.as_dict() == {}
    with pytest.raises(ConvergenceUsageError, match="the run is over"):
        session.agents["a"].state.set("title", "too late")
