"""How a run goes from begin to end: work, deadlocks, budgets, settling, the verdict, and what is cleared away."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.loop import WorldLoop
from pytest_convergence.errors import (
    BudgetExceeded,
    ConvergenceUsageError,
    DeadlockError,
    LivelockError,
)
from tests.unit.sim.harness import make_session, run_session, running_loop, simulate


async def idle(agent: SimulatedAgent) -> None:
    pass


async def listens(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


async def waits(agent: SimulatedAgent) -> None:
    await agent.receive()


# -- the end of the work -----------------------------------------------------------------------------------------------


def test_a_run_without_a_scenario_ends_when_every_behaviour_has_returned():
    async def works(agent: SimulatedAgent) -> str:
        await asyncio.sleep(3)
        return agent.name

    outcome = run_session(agents={"a": works, "b": works})
    assert outcome.results == {"a": "a", "b": "b"}
    assert outcome.duration == 3
    assert outcome.converged


def test_a_behaviour_that_waits_in_its_inbox_may_wait_for_ever():
    async def client(agent: SimulatedAgent) -> Any:
        return await agent.request("server", 1)

    outcome = run_session(agents={"server": listens, "client": client})
    assert outcome.results == {"client": 1}
    assert [event.agent for event in outcome.trace if event.kind == "stop"] == ["server"]


def test_an_agent_that_waits_in_its_inbox_and_elsewhere_is_no_server_at_rest():
    async def behaviour(agent: SimulatedAgent) -> None:
        serving = asyncio.create_task(listens(agent))
        await agent.receive(type="never")
        await serving

    with pytest.raises(DeadlockError):
        run_session(agents={"a": behaviour})


def test_a_scenario_that_returns_ends_the_work_and_stops_the_behaviours():
    stopped: list[str] = []

    async def works(agent: SimulatedAgent) -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            stopped.append(agent.name)

    async def scenario(session: Session) -> str:
        await session.sleep(1)
        return "done"

    outcome = run_session(scenario, agents={"a": works, "b": works})
    assert (outcome.output, outcome.results, stopped) == ("done", {}, ["a", "b"])


def test_finished_waits_for_every_behaviour():
    async def works(agent: SimulatedAgent) -> str:
        await asyncio.sleep(5)
        return "worked"

    async def scenario(session: Session) -> Any:
        results = await session.finished()
        return [results, session.now]

    assert run_session(scenario, agents={"a": works, "server": listens}).output == [{"a": "worked"}, 5]


def test_finished_returns_at_once_when_all_have_returned():
    async def scenario(session: Session) -> float:
        await session.sleep(1)
        await session.finished()
        return session.now

    assert run_session(scenario, agents={"a": idle}).output == 1


def test_finished_does_not_wait_for_the_crashed():
    async def works(agent: SimulatedAgent) -> None:
        await asyncio.sleep(10**6)

    async def scenario(session: Session) -> float:
        waiting = asyncio.create_task(session.finished())
        await session.sleep(1)
        session.agents["a"].crash()
        await waiting
        return session.now

    assert run_session(scenario, agents={"a": works}).output == 1


def test_code_that_refuses_to_be_cancelled_does_not_hold_up_the_end():
    async def stubborn(agent: SimulatedAgent) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def scenario(session: Session) -> None:
        await session.sleep(1)

    assert run_session(scenario, agents={"a": stubborn}).converged


def test_cleaning_up_may_take_a_few_turns():
    log: list[str] = []

    async def tidy(agent: SimulatedAgent) -> None:
        try:
            await asyncio.sleep(10**6)
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            log.append("tidy")

    async def scenario(session: Session) -> None:
        await session.sleep(1)

    run_session(scenario, agents={"a": tidy})
    assert log == ["tidy"]


# -- deadlock ----------------------------------------------------------------------------------------------------------


def test_a_deadlock_is_found_at_once_and_says_what_each_agent_awaits():
    async def scenario(session: Session) -> None:
        session.agents["dead"].crash()
        session.agents["held"].pause()
        await asyncio.Event().wait()

    async def sleeps(agent: SimulatedAgent) -> None:
        await asyncio.sleep(5)

    agents = {"idle": idle, "waits": waits, "dead": waits, "held": sleeps, "server": listens}
    with pytest.raises(DeadlockError) as caught:
        run_session(scenario, agents=agents)
    text = str(caught.value)
    assert "deadlock at virtual time 0 us" in text
    for line in (
        "the scenario waits: ",
        "idle has returned",
        "waits waits: ",
        "dead has crashed",
        "held is paused",
        "server waits",
    ):
        assert line in text
    assert caught.value.outcome.state is SessionState.FAILED


def test_periodic_upkeep_does_not_hide_a_deadlock():
    with pytest.raises(DeadlockError, match="at virtual time"):
        run_session(_waits_for_nothing, agents=3, pattern="leader-follower")


async def _waits_for_nothing(session: Session) -> None:
    await session.wait_for_leader()
    await asyncio.Event().wait()


def test_waiting_for_a_leader_goes_on_by_upkeep_alone():
    async def scenario(session: Session) -> str:
        return (await session.wait_for_leader()).name

    assert run_session(scenario, agents=3, pattern="leader-follower").output == "agent-1"


@pytest.mark.parametrize("limit", [{}, {"timeout": None}], ids=["by default", "without a limit"])
def test_waiting_for_a_leader_when_nobody_lives_is_a_deadlock(limit: dict[str, None]):
    async def scenario(session: Session) -> None:
        for agent in session.agents.values():
            agent.crash()
        await session.wait_for_leader(**limit)

    with pytest.raises(DeadlockError):
        run_session(scenario, agents=3, pattern="leader-follower")


def test_a_lost_message_that_somebody_waits_for_is_a_deadlock():
    async def sender(agent: SimulatedAgent) -> None:
        await agent.send("b", 1)

    schedule = Schedule.of({"deliver a→b #1": 1})
    with pytest.raises(DeadlockError, match="b waits"):
        run_session(agents={"a": sender, "b": waits}, schedule=schedule)


# -- budgets -----------------------------------------------------------------------------------------------------------


def test_the_budget_of_events_bounds_a_session():
    async def chatters(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0.001)

    with pytest.raises(BudgetExceeded, match="max_events=3,000") as caught:
        run_session(agents={"a": chatters}, max_events=3_000)
    assert caught.value.outcome.metrics.events <= 3_100


@pytest.mark.parametrize("option", ["run", "session", "goal"])
def test_the_budget_of_virtual_time_bounds_a_session(option: str):
    async def sleeps(agent: SimulatedAgent) -> None:
        await asyncio.sleep(100)

    options: dict[str, Any] = {"agents": {"a": sleeps}}
    run: dict[str, Any] = {}
    if option == "goal":
        from pytest_convergence._engine.run.goal import Goal

        options["goal"] = Goal("soon", timeout=10)
    else:
        (run if option == "run" else options)["timeout"] = 10
    with pytest.raises(BudgetExceeded, match="timeout=10 seconds") as caught:
        make_session(**options).run(**run)
    assert caught.value.outcome.duration == 10


def test_a_livelock_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pytest_convergence._engine.sim.world._LIVELOCK_STEPS", 5_000)

    async def spins(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError) as caught:
        run_session(agents={"a": spins})
    assert caught.value.outcome.state is SessionState.FAILED


def test_code_that_blocks_the_thread_is_interrupted_and_named():
    def blocks_here() -> None:
        while True:
            pass

    async def blocks(agent: SimulatedAgent) -> None:
        blocks_here()

    with pytest.raises(BudgetExceeded, match="real_timeout=1 seconds(.|\n)*blocks_here") as caught:
        run_session(agents={"a": blocks}, real_timeout=1)
    assert caught.value.outcome.state is SessionState.FAILED


# -- nothing is left ---------------------------------------------------------------------------------------------------


async def _messy(agent: SimulatedAgent) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)

    generator = numbers()
    await anext(generator)
    asyncio.create_task(asyncio.sleep(10**5))  # noqa: RUF006
    running_loop().call_later(10**5, print)
    asyncio.create_task(agent.receive())  # noqa: RUF006
    if agent.name == "a":
        agent.crash()
    await asyncio.sleep(10**5)


async def _short(session: Session) -> None:
    await session.sleep(0.5)
    if not session.agents["a"].is_alive:
        session.agents["a"].restart()
    await session.sleep(0.5)


def _alive() -> dict[str, int]:
    gc.collect()
    kinds: dict[str, int] = {}
    for each in gc.get_objects():
        name = type(each).__name__
        if isinstance(each, WorldLoop | asyncio.Task) or name in {
            "coroutine",
            "async_generator",
            "World",
            "Fabric",
            "Life",
        }:
            kinds[name] = kinds.get(name, 0) + 1
    return kinds


def test_nothing_of_a_run_stays_alive():
    run_session(_short, agents={"a": _messy, "b": _messy}, faults=["crash"], seed=1)
    before = _alive()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(20):
            run_session(
                _short,
                agents={"a": _messy, "b": _messy},
                faults=["crash", "pause"],
                network="lossy",
                seed=seed,
            )
        assert _alive() == before


def test_nothing_of_a_failed_run_stays_alive():
    async def fails(agent: SimulatedAgent) -> None:
        await asyncio.sleep(0.1)
        raise ValueError

    def run_one() -> None:
        with pytest.raises(Exception, match="ValueError"):
            run_session(_short, agents={"a": _messy, "b": fails})

    run_one()
    before = _alive()
    for _ in range(10):
        run_one()
    assert _alive() == before


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was_found(enabled: bool):
    seen: list[bool] = []

    async def main() -> None:
        seen.append(gc.isenabled())

    (gc.enable if enabled else gc.disable)()
    try:
        simulate(main)
        seen.append(gc.isenabled())
    finally:
        gc.enable()
    assert seen == [False, enabled]


def test_a_loop_is_closed_when_its_run_is_over():
    loops = []

    async def main() -> None:
        loops.append(running_loop())

    simulate(main)
    assert loops[0].is_closed()
    assert not loops[0].is_running()
    assert loops[0].world.closed


def test_a_run_inside_a_running_loop_is_refused():
    async def main() -> None:
        with pytest.raises(ConvergenceUsageError, match=r"await session.execute\(…\)"):
            make_session(agents=2).run()
        with pytest.raises(ConvergenceUsageError, match=r"await session.execute\(…\)"):
            simulate(main)

    simulate(main)


def test_executing_on_another_loop_is_refused():
    with pytest.raises(ConvergenceUsageError, match="needs the simulated loop"):
        asyncio.run(make_session(agents=2).execute())


def test_a_session_runs_once():
    session = make_session(agents=2)
    session.run()
    with pytest.raises(ConvergenceUsageError, match="a session runs once"):
        session.run()
