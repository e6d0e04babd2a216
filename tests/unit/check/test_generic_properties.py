"""The properties that hold for all agents: nobody dies unheard, and in the end all come to rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_convergence import AgentError, Criterion, Goal, Network, PropertyViolation, SimulatedAgent, Stage
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import find_property
from tests.unit.sim.harness import run_session


async def careless(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        await agent.reply(message, 10 // message.payload)


async def careful(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        try:
            await agent.reply(message, 10 // message.payload)
        except ZeroDivisionError:
            await agent.reply(message, "no")


async def asks_for_zero(agent: SimulatedAgent) -> None:
    await agent.send("server", 0)


def test_an_agent_that_dies_of_what_it_did_not_declare_breaks_a_property_by_name():
    with pytest.raises(AgentError, match="server") as caught:
        run_session(agents={"server": careless, "client": asks_for_zero})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.outcome is not None
    (violation,) = caught.value.outcome.violations
    assert (violation.property, violation.agents) == ("no_unhandled_exception", ("server",))
    assert "ZeroDivisionError" in violation.message


def test_an_agent_that_handles_its_exceptions_or_crashes_by_itself_does_not():
    async def gives_up(agent: SimulatedAgent) -> None:
        agent.crash()

    outcome = run_session(agents={"server": careful, "client": asks_for_zero, "third": gives_up})
    assert outcome.violations == ()


async def echo(agent: SimulatedAgent) -> None:
    """The bug: answers answers."""
    async for message in agent.inbox:
        await agent.send(message.sender, message.payload)


async def answers_once(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        if message.type != "answer":
            await agent.send(message.sender, message.payload, type="answer")


async def starts(session: Any) -> None:
    await session.agents["a"].send("b", "hello")


def test_agents_that_answer_answers_never_come_to_rest():
    with pytest.raises(
        PropertyViolation, match="quiescence: the agents never come to rest: messages are on their way"
    ):
        run_session(
            starts,
            agents={"a": echo, "b": echo},
            properties=["quiescence"],
            network=Network(latency=0.5),
            timeout=60,
        )


@pytest.mark.parametrize("network", ["perfect", "lan", "wan", "lossy", "flaky", "chaos"])
def test_agents_that_answer_once_come_to_rest(network: str):
    for seed in range(5):
        outcome = run_session(
            starts,
            agents={"a": answers_once, "b": answers_once},
            properties=["quiescence"],
            network=network,
            seed=seed,
        )
        assert outcome.violations == ()


async def never_ends(agent: SimulatedAgent, task: Any) -> Any:
    while True:
        await asyncio.sleep(0.01)


async def soon(session: Any) -> None:
    await session.sleep(1)


def test_a_pattern_whose_functions_never_end_does_not_come_to_rest():
    with pytest.raises(
        PropertyViolation, match="quiescence: .* never come to rest: functions of the pattern run"
    ):
        run_session(
            soon,
            pattern="pipeline",
            agents=["a"],
            inputs={"stages": [Stage("work", "a", never_ends)], "items": [1]},
            timeout=600,
        )


async def says_for_ever(agent: SimulatedAgent) -> None:
    while True:
        await agent.broadcast("hello")
        await asyncio.sleep(0.01)


def test_behaviours_beside_a_protocol_may_go_on_unless_rest_is_asked_for():
    options: dict[str, Any] = {
        "pattern": "consensus",
        "agents": {"a": says_for_ever, "b": says_for_ever},
        "inputs": {"proposals": {"a": "a", "b": "a"}},
        "network": Network(latency=0.5),
        "timeout": 600,
    }
    assert run_session(soon, **options).violations == ()
    with pytest.raises(PropertyViolation, match="quiescence"):
        run_session(soon, **options, properties=["quiescence"])


def test_nobody_need_rest_while_somebody_is_cut_off():
    checker = find_property("quiescence").checker(Scope(("a", "b")))
    moving = FinalState(0, core=("a",), views={"a": 1, "b": 1}, moving=("views change",))
    assert checker.finish(moving) is None


def test_quiescence_speaks_of_the_end_alone():
    checker = find_property("quiescence").checker(Scope(("a",)))
    assert checker.feed(TraceEvent(-1, 0, "observe", "a", None, {"fact": "term"})) is None
    assert checker.finish(FinalState(0)) is None


def test_two_equal_reports_of_a_replica_are_no_change():
    checker = find_property("idempotent_resync").checker(Scope(("a",)))

    def replica(**data: Any) -> Any:
        return checker.feed(TraceEvent(-1, 0, "observe", "a", None, {"fact": "replica", **data}))

    assert replica(seen=[1], state=1, version=1) is None
    assert replica(seen=[1], state=1, version=1) is None
    assert replica(seen=[1], state=1) is None
    assert replica(seen=[1, 2], state=2, version=2) is None
    assert "its state became 3" in replica(seen=[1, 2], state=3, version=2).message
    assert "its version went from 2 to 4" in replica(seen=[1, 2], state=3, version=4).message


# -- liveness of a core ------------------------------------------------------------------------------------------------


def _polite(needed: int) -> Any:
    """Make agents that greet until they have heard so many names, their own included."""

    async def polite(agent: SimulatedAgent) -> None:
        heard = {agent.name}
        agent.expose(lambda: {"content": len(heard) >= needed})
        await agent.broadcast("hello", type="hello")
        while True:
            try:
                message = await agent.receive(timeout=1 if len(heard) < needed else None)
            except TimeoutError:
                await agent.broadcast("hello", type="hello")
                continue
            heard.add(message.sender)
            if message.type == "hello":
                await agent.reply(message, "welcome")

    return polite


async def _one_goes_for_good(session: Any) -> None:
    session.agents["c"].crash()


def _run_without_c(needed: int, **options: Any) -> Any:
    content = Criterion(
        "content",
        lambda session: all(each.exposed["content"] for each in session.agents.values() if each.is_alive),
    )
    return run_session(
        _one_goes_for_good,
        **{"agents": dict.fromkeys("abc", _polite(needed)), "goal": Goal("peace", [content]), **options},
        properties=["liveness_core"],
        timeout=60,
    )


def test_agents_that_wait_for_everybody_make_no_progress_without_one():
    with pytest.raises(PropertyViolation) as caught:
        _run_without_c(3)
    (violation,) = caught.value.violations
    assert (violation.property, violation.agents) == ("liveness_core", ("a", "b"))
    assert violation.message.startswith("a, b are a live quorum and make no progress without c: ")


@pytest.mark.parametrize("network", ["perfect", "lan", "wan", "lossy", "flaky", "chaos"])
def test_agents_that_wait_for_a_quorum_make_progress_without_the_others(network: str):
    for seed in range(5):
        assert _run_without_c(2, network=network, seed=seed).violations == ()


def test_less_than_a_quorum_need_not_make_progress():
    final = FinalState(0, ("a",), lacking=lambda: ["nothing came about"])
    assert find_property("liveness_core").checker(Scope(("a", "b", "c"))).finish(final) is None
