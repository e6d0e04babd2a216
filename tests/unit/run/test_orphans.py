"""What a task of an agent raises and nobody awaits fails the test, and names the agent."""

import asyncio
import gc
import logging
from typing import Any

import pytest

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError, DeadlockError
from tests.unit.sim.harness import make_session, run_session, simulate


async def _breaks(after: float = 1.0) -> None:
    await asyncio.sleep(after)
    raise LookupError("lost")


async def _careless(agent: SimulatedAgent) -> str:
    task = asyncio.create_task(_breaks(), name="helper")
    await asyncio.sleep(10)
    return f"{task.get_name()} was forgotten"


def test_an_exception_that_nobody_awaits_fails_the_test_and_names_agent_and_task():
    with pytest.raises(
        AgentError, match="agent 'a' raised LookupError in its task 'helper', which nobody awaited: lost"
    ) as caught:
        run_session(agents={"a": _careless, "b": None})
    assert caught.value.agent == "a"
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.outcome is not None
    assert not caught.value.outcome.converged


def test_nothing_of_it_is_only_logged(caplog: pytest.LogCaptureFixture):
    with pytest.raises(AgentError):
        run_session(agents={"a": _careless})
    gc.collect()
    assert not caplog.records


def test_a_task_that_was_thrown_away_fails_the_run_when_it_is():
    async def throws_away(agent: SimulatedAgent) -> None:
        asyncio.create_task(_breaks())  # noqa: RUF006 - as careless people do
        for _ in range(500):
            await asyncio.create_task(asyncio.sleep(0.01))
        gc.collect()
        await asyncio.sleep(100)

    session = make_session(agents={"a": throws_away})
    with pytest.raises(
        AgentError, match="agent 'a' raised LookupError in its task 'Task-.*', which nobody awaited"
    ):
        session.run()


async def _asks(agent: SimulatedAgent) -> str:
    task = asyncio.create_task(_breaks())
    await asyncio.sleep(10)
    try:
        await task
    except LookupError:
        return "asked"
    return "not raised"


async def _looks(agent: SimulatedAgent) -> str:
    task = asyncio.create_task(_breaks())
    await asyncio.wait([task])
    return type(task.exception()).__name__


async def _groups(agent: SimulatedAgent) -> str:
    how = "not raised"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_breaks(1))
            group.create_task(_breaks(2))
    except* LookupError:
        how = "grouped"
    return how


async def _gathers(agent: SimulatedAgent) -> list[str]:
    answers = await asyncio.gather(_breaks(1), _breaks(2), return_exceptions=True)
    return [type(answer).__name__ for answer in answers]


async def _cancels(agent: SimulatedAgent) -> str:
    task = asyncio.create_task(_breaks())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(2)
    return "cancelled"


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (_asks, "asked"),
        (_looks, "LookupError"),
        (_groups, "grouped"),
        (_gathers, ["LookupError", "LookupError"]),
        (_cancels, "cancelled"),
    ],
)
def test_an_exception_that_somebody_asks_for_is_nobody_else_s_business(behaviour: Any, result: Any):
    assert run_session(agents={"a": behaviour}).results["a"] == result


def test_a_callback_that_raises_fails_the_test():
    def explode() -> None:
        raise LookupError("boom")

    async def sets(agent: SimulatedAgent) -> None:
        asyncio.get_running_loop().call_later(1, explode)
        await asyncio.sleep(10)

    with pytest.raises(AgentError, match="agent 'a' raised LookupError in its callback .*explode: boom"):
        run_session(agents={"a": sets})


def test_a_handler_of_the_user_s_own_goes_before():
    heard: list[str] = []

    def explode() -> None:
        raise LookupError("boom")

    async def sets(agent: SimulatedAgent) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: heard.append(repr(context["exception"])))
        loop.call_later(1, explode)
        await asyncio.sleep(10)

    assert run_session(agents={"a": sets}).converged
    assert heard == ["LookupError('boom')"]


def test_what_code_of_a_crashed_agent_left_behind_concerns_nobody():
    async def scenario(session: Session) -> None:
        await session.sleep(2)
        session.agents["a"].crash()
        await session.sleep(2)

    assert run_session(scenario, agents={"a": _careless, "b": None}).converged


def test_a_task_of_the_scenario_is_the_scenario_s():
    async def scenario(session: Session) -> None:
        session.helper = asyncio.create_task(_breaks())  # type: ignore[attr-defined]
        await session.sleep(2)

    with pytest.raises(LookupError) as caught:
        run_session(scenario, agents=2)
    assert "(the scenario raised this in its task " in caught.value.__notes__[0]


def test_another_failure_mentions_it():
    async def waits(agent: SimulatedAgent) -> None:
        task = asyncio.create_task(_breaks(), name="helper")
        await asyncio.Event().wait()
        await task

    with pytest.raises(DeadlockError) as caught:
        run_session(agents={"a": waits})
    assert caught.value.__notes__ == [
        "(also, a raised LookupError in its task 'helper', which nobody awaited: lost)"
    ]


def test_outside_of_a_session_it_is_logged_as_asyncio_does(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with caplog.at_level(logging.ERROR, "asyncio"):
        simulate(main)
    assert "Exception in callback" in caplog.text
