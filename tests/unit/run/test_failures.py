"""Whose fault is it? What raises, where, and how the run ends then."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis.errors import UnsatisfiedAssumption

from pytest_convergence._engine.base.effects import Effect, Send
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.goal import Criterion, Goal
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError, DeadlockError
from tests.unit.sim.harness import make_session, run_session


class Quiet:
    """A machine that does nothing; tests override what they need."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        self.name = name
        self.names = names

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return ()

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        return ()

    def on_timer(self, name: str) -> Iterable[Effect]:
        return ()

    def view(self) -> Any:
        return None


async def idle(agent: SimulatedAgent) -> None:
    pass


def test_an_exception_in_a_behaviour_names_the_agent_and_keeps_the_cause():
    async def bad(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)
        raise KeyError("lost")

    with pytest.raises(AgentError, match="agent 'b' raised KeyError: 'lost'") as caught:
        run_session(agents={"a": idle, "b": bad})
    assert caught.value.agent == "b"
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.outcome.state is SessionState.FAILED
    assert caught.value.outcome.duration == 1


def test_an_exception_in_the_scenario_comes_out_as_it_is():
    async def scenario(session: Session) -> None:
        raise LookupError("from the test")

    with pytest.raises(LookupError, match="from the test"):
        run_session(scenario, agents=2)


def test_pytest_fail_in_a_behaviour_fails_the_test():
    async def fails(agent: SimulatedAgent) -> None:
        pytest.fail("on purpose")

    with pytest.raises(pytest.fail.Exception, match="on purpose"):
        run_session(agents={"a": fails})


def test_pytest_skip_in_a_behaviour_skips_the_test():
    async def skips(agent: SimulatedAgent) -> None:
        pytest.skip("not today")

    with pytest.raises(pytest.skip.Exception, match="not today"):
        run_session(agents={"a": skips})


def test_an_assumption_in_a_behaviour_rejects_the_example():
    async def assumes(agent: SimulatedAgent) -> None:
        raise UnsatisfiedAssumption  # what hypothesis.assume(False) raises in a property test

    with pytest.raises(UnsatisfiedAssumption):
        run_session(agents={"a": assumes})


def test_keyboard_interrupt_in_a_behaviour_stops_at_once():
    async def interrupted(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)
        raise KeyboardInterrupt

    async def sleeps(agent: SimulatedAgent) -> None:
        await asyncio.sleep(10**4)

    session = make_session(agents={"a": interrupted, "b": sleeps})
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert session.state is SessionState.FAILED


def test_a_machine_that_cannot_be_made_is_its_agents_error():
    class Unmakeable(Quiet):
        def __init__(self, name: str, names: tuple[str, ...]) -> None:
            raise ValueError("boom")

    session = make_session(agents={"a": Unmakeable})
    with pytest.raises(AgentError, match="agent 'a' raised ValueError: boom"):
        session.run()
    assert session.state is SessionState.FAILED


def test_a_machine_that_cannot_be_made_again_is_its_agents_error():
    made = []

    class OnlyOnce(Quiet):
        def __init__(self, name: str, names: tuple[str, ...]) -> None:
            made.append(name)
            if len(made) > 1:
                raise ValueError("boom")

    async def scenario(session: Session) -> None:
        session.agents["a"].crash()
        session.agents["a"].restart()
        await session.sleep(1)

    with pytest.raises(AgentError, match="agent 'a' raised ValueError: boom"):
        run_session(scenario, agents={"a": OnlyOnce})


@pytest.mark.parametrize("method", ["on_start", "on_message", "on_timer", "view"])
def test_a_machine_that_raises_is_its_agents_error(method: str):
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("broken")

    machine = type("Broken", (Quiet,), {method: broken})

    class Starter(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            return [Send("a", "hello", None)]

    if method == "on_timer":
        from pytest_convergence._engine.base.effects import SetTimer

        machine.on_start = lambda self, durable: [SetTimer("t", 5)]  # type: ignore[attr-defined]
    with pytest.raises(AgentError, match="agent 'a' raised ZeroDivisionError: broken"):
        run_session(agents={"a": machine, "b": Starter})


def test_what_is_no_effect_is_its_agents_error():
    class Odd(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            return ["send"]  # type: ignore[list-item]

    with pytest.raises(AgentError, match="'send', which is no effect"):
        run_session(agents={"a": Odd})


def test_a_criterion_that_raises_fails_the_run_with_its_own_error():
    def broken(session: Session) -> bool:
        raise LookupError("criterion")

    session = make_session(agents=2, goal=Goal("g", [Criterion("broken", broken)]))
    with pytest.raises(LookupError, match="criterion"):
        session.run()
    assert session.state is SessionState.FAILED
    assert session.outcome is not None
    assert session.outcome.reasons == ("LookupError: criterion",)


def test_code_that_crashed_its_own_agent_may_raise_what_it_likes():
    async def crashes(agent: SimulatedAgent) -> None:
        agent.crash()
        raise ValueError("nobody listens")

    outcome = run_session(agents={"a": crashes, "b": idle})
    assert outcome.converged
    assert "a" not in outcome.results


def test_what_code_returns_that_crashed_its_own_agent_is_no_result():
    async def crashes(agent: SimulatedAgent) -> int:
        agent.crash()
        return 1

    outcome = run_session(agents={"a": crashes, "b": idle})
    assert outcome.results == {"b": None}


def test_tasks_that_await_each_other_are_a_deadlock():
    async def knot(agent: SimulatedAgent) -> None:
        tasks: list[asyncio.Task[None]] = []

        async def wait_for(other: int) -> None:
            await asyncio.sleep(1)
            await tasks[other]

        tasks += [asyncio.create_task(wait_for(1)), asyncio.create_task(wait_for(0))]
        await tasks[0]

    with pytest.raises(DeadlockError, match="nothing is runnable"):
        make_session(agents={"a": knot}).run()


def test_what_a_behaviour_raises_while_it_is_stopped_fails_the_test():
    async def checks(agent: SimulatedAgent) -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            assert not agent.is_alive, "left something open"

    async def scenario(session: Session) -> None:
        await session.sleep(1)

    with pytest.raises(AgentError, match="left something open") as caught:
        run_session(scenario, agents={"a": checks})
    assert caught.value.outcome.state is SessionState.FAILED


def test_the_first_failure_is_reported_not_what_follows_from_it():
    async def checks(agent: SimulatedAgent) -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            raise LookupError("second")

    async def scenario(session: Session) -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        run_session(scenario, agents={"a": checks})


def test_a_behaviour_that_returns_when_it_is_stopped_has_no_result():
    async def gives_in(agent: SimulatedAgent) -> str:
        try:
            await asyncio.sleep(10**6)
        except asyncio.CancelledError:
            return "stopped"
        return "done"

    async def scenario(session: Session) -> None:
        await session.sleep(1)

    outcome = run_session(scenario, agents={"a": gives_in})
    assert outcome.results == {}
    assert outcome.trace[-1].kind == "stop"
