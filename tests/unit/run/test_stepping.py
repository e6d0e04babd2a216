"""A session that is driven step by step, from outside of its loop."""

import asyncio
import gc
from functools import partial
from typing import Any

import pytest

from pytest_convergence import (
    AgentError,
    BudgetExceeded,
    ConvergenceEngine,
    ConvergenceUsageError,
    DeadlockError,
    PropertyViolation,
    Session,
    SessionState,
    SimulatedAgent,
)
from pytest_convergence._engine.run.stepping import SteppedRun


class Stop(BaseException):
    """How a tool ends a test from inside."""


async def listener(agent: SimulatedAgent) -> None:
    heard: list[Any] = []
    agent.expose(lambda: list(heard))
    async for message in agent.inbox:
        heard.append(message.payload)


def make(**options: Any) -> Session:
    return ConvergenceEngine().create_session(
        "stepped", **{"agents": dict.fromkeys("ab", listener), "network": "lan", **options}
    )


def test_a_step_ends_with_its_instant_and_messages_stay_under_way() -> None:
    session = make()
    run = SteppedRun(session, {})
    a, b = session.agents.values()
    assert session.state is SessionState.EXECUTING
    run.step(lambda: a.send("b", "hello"))
    assert (session.now, b.exposed) == (0, [])
    run.step(lambda: session.sleep(0.01))
    assert (session.now, b.exposed) == (0.01, ["hello"])
    outcome = run.finish()
    assert not outcome.converged
    assert run.is_over
    run.close()
    run.close()


def test_a_step_returns_what_its_function_returns_plain_or_async() -> None:
    run = SteppedRun(make(), {})

    async def later() -> str:
        await asyncio.sleep(5)
        return "async"

    assert run.step(lambda: "plain") == "plain"
    assert run.step(later) == "async"
    assert asyncio._get_running_loop() is None
    run.close()


def digest_of_a_run() -> str:
    session = make(network="flaky", seed=5)
    run = SteppedRun(session, {})
    for number in range(20):
        run.step(partial(session.agents["a"].send, "b", number))
        run.step(lambda: session.sleep(0.003))
    digest = run.finish().trace.digest()
    run.close()
    return digest


def test_two_runs_of_the_same_steps_have_the_same_trace() -> None:
    assert digest_of_a_run() == digest_of_a_run()


def test_an_error_of_a_step_ends_the_session() -> None:
    session = make()
    run = SteppedRun(session, {})
    with pytest.raises(ZeroDivisionError):
        run.step(lambda: 1 / 0)
    assert run.is_over
    assert session.state is SessionState.FAILED
    with pytest.raises(ConvergenceUsageError, match="has ended: there are no more steps"):
        run.step(lambda: None)
    run.close()


def test_an_agent_that_fails_meanwhile_is_raised_by_the_step() -> None:
    async def fails(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)
        raise ValueError("late")

    session = make(agents={"a": fails})
    run = SteppedRun(session, {})
    with pytest.raises(AgentError, match="agent 'a' raised ValueError: late"):
        run.step(lambda: session.sleep(2))
    run.close()


def test_a_property_is_judged_after_each_step() -> None:
    session = make(sync="delta")
    session.always("small", lambda session: all(a.state.get("n", 0) < 2 for a in session.agents.values()))
    run = SteppedRun(session, {})
    run.step(lambda: session.agents["a"].state.set("n", 1))
    with pytest.raises(PropertyViolation, match="small"):
        run.step(lambda: session.agents["a"].state.set("n", 2))
    run.close()


def test_what_ends_a_test_is_carried_out_and_the_session_is_abandoned() -> None:
    finished: list[Session] = []
    session = make()
    session._finished_hook = lambda session, outcome: finished.append(session)
    run = SteppedRun(session, {})

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        run.step(stop)
    assert not run.is_over
    run.close()
    assert finished == []
    assert session.state.is_final


def test_a_step_that_waits_for_nothing_is_a_deadlock() -> None:
    session = make()
    run = SteppedRun(session, {})
    with pytest.raises(DeadlockError, match="somebody still waits"):
        run.step(session.agents["a"].receive)
    run.close()


def test_a_step_that_blocks_is_interrupted() -> None:
    session = make(real_timeout=0.2)
    run = SteppedRun(session, {})

    def block() -> None:
        while True:
            pass

    with pytest.raises(BudgetExceeded, match="real_timeout"):
        run.step(block)
    run.close()


def test_a_session_is_not_driven_while_a_loop_runs() -> None:
    async def inside() -> None:
        SteppedRun(make(), {})

    with pytest.raises(ConvergenceUsageError, match="step by step while an event loop is running"):
        asyncio.run(inside())


def test_inputs_and_a_second_run_are_checked() -> None:
    session = make()
    with pytest.raises(ConvergenceUsageError, match="no pattern that could take it"):
        SteppedRun(session, {"proposals": {}})
    SteppedRun(session, {}).close()
    with pytest.raises(ConvergenceUsageError, match="has run already"):
        SteppedRun(session, {})


def test_the_collector_is_off_between_steps_and_on_again_afterwards() -> None:
    assert gc.isenabled()
    run = SteppedRun(make(), {})
    assert not gc.isenabled()
    run.close()
    assert gc.isenabled()
