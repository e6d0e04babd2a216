"""Lives: a crash is not a cancellation, a restart begins from the top, a pause keeps what comes, in order."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence.errors import AgentCrashedError, ConvergenceUsageError
from tests.unit.sim.harness import make_session, run_session, running_loop


async def idle(agent: SimulatedAgent) -> None:
    pass


def kinds_of(outcome: Any, agent: str) -> list[str]:
    return [event.kind for event in outcome.trace if event.agent == agent]


# -- crash -------------------------------------------------------------------------------------------------------------


def test_a_crashed_agent_runs_no_further_step_and_no_finally_before_the_run_is_over():
    log: list[str] = []

    async def victim(agent: SimulatedAgent) -> None:
        try:
            await asyncio.sleep(10)
            log.append("slept")
        finally:
            log.append("finally")

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.agents["v"].crash()
        await session.sleep(100)
        assert log == []

    run_session(scenario, agents={"v": victim})
    assert log == ["finally"]  # its coroutine was closed when nothing could be touched any more


def test_the_finally_of_a_crashed_agent_can_touch_nothing():
    refused: list[str] = []

    async def victim(agent: SimulatedAgent) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            for action in (
                lambda: agent.state.set("x", 1),
                lambda: agent.storage.put("x", 1),
                lambda: agent.send("w", "from beyond").send(None),
                agent.crash,
                lambda: agent.observe("fact"),
                lambda: agent.random,
            ):
                with pytest.raises(ConvergenceUsageError, match="the run is over") as caught:
                    action()
                refused.append(str(caught.value))

    session = make_session(agents={"v": victim, "w": None})

    async def scenario(session: Session) -> str:
        await session.sleep(1)
        session.agents["v"].crash()
        await session.sleep(1)
        return ""

    outcome = session.run(scenario)
    assert len(refused) == 6
    assert "state" not in [event.kind for event in outcome.trace]
    assert session.agents["v"].state.as_dict() == {}


def test_the_finally_of_a_dead_life_cannot_act_for_the_next_one():
    refused: list[str] = []

    async def victim(agent: SimulatedAgent) -> None:
        if agent.storage.get("restarted"):
            return
        generator = numbers(agent)
        await anext(generator)
        await asyncio.sleep(100)

    async def numbers(agent: SimulatedAgent) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            try:
                agent.state.set("x", "dead")
            except (AgentCrashedError, ConvergenceUsageError) as error:
                refused.append(type(error).__name__)

    async def scenario(session: Session) -> None:
        v = session.agents["v"]
        await session.sleep(1)
        v.storage.put("restarted", True)
        await v.storage.sync()
        v.crash()
        v.restart()
        await session.sleep(1)

    session = make_session(agents={"v": victim})
    session.run(scenario)
    assert len(refused) == 1
    assert session.agents["v"].state.as_dict() == {}


def test_an_agent_that_crashes_itself_stops_at_its_next_await():
    log: list[str] = []

    async def victim(agent: SimulatedAgent) -> None:
        agent.crash()
        log.append("same step")
        for action in (lambda: agent.state.set("x", 1), lambda: agent.storage.put("x", 1)):
            with pytest.raises(AgentCrashedError):
                action()
        with pytest.raises(AgentCrashedError):
            await agent.send("w", "hello")
        await asyncio.sleep(0)
        log.append("next step")

    session = make_session(agents={"v": victim, "w": idle})
    outcome = session.run()
    assert outcome.converged
    assert log == ["same step"]
    assert session.agents["v"].state.as_dict() == {}


def test_tasks_of_a_crashed_agent_die_with_it():
    log: list[str] = []

    async def child(name: str) -> None:
        while True:
            await asyncio.sleep(1)
            log.append(name)

    async def victim(agent: SimulatedAgent) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("a"))
            group.create_task(child("b"))

    async def scenario(session: Session) -> None:
        await session.sleep(2.5)
        session.agents["v"].crash()
        await session.sleep(100)

    run_session(scenario, agents={"v": victim})
    assert log == ["a", "b", "a", "b"]


def test_a_timer_of_a_dead_life_never_fires():
    log: list[str] = []

    async def victim(agent: SimulatedAgent) -> None:
        running_loop().call_later(5, log.append, "fired")
        await asyncio.sleep(0)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.agents["v"].crash()
        session.agents["v"].restart()
        await session.sleep(5)

    run_session(scenario, agents={"v": victim})
    assert log == ["fired"]  # the timer of the second life; that of the first is gone


def test_what_a_dead_agent_waited_for_does_not_keep_the_world_awake():
    async def sleeper(agent: SimulatedAgent) -> None:
        await asyncio.sleep(10_000)

    async def killer(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)
        agent.session.agents["s"].crash()

    assert run_session(agents={"s": sleeper, "k": killer}).duration == 1


def test_messages_in_flight_survive_the_crash_of_their_sender():
    async def sender(agent: SimulatedAgent) -> None:
        await agent.send("r", "last words")
        agent.crash()

    async def receiver(agent: SimulatedAgent) -> Any:
        return (await agent.receive()).payload

    assert run_session(agents={"s": sender, "r": receiver}).results == {"r": "last words"}


def test_messages_to_a_crashed_agent_are_lost():
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        b.crash()
        await a.send("b", "lost")
        await session.sleep(1)
        b.restart()
        await session.sleep(1)

    outcome = run_session(scenario, agents=["a", "b"])
    assert kinds_of(outcome, "b") == ["crash", "lost", "restart"]
    assert outcome.metrics.lost == 1


def test_a_message_that_arrives_after_the_restart_is_delivered():
    async def scenario(session: Session) -> Any:
        a, b = session.agents.values()
        await a.send("b", "late")
        b.crash()
        b.restart()
        return (await b.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == "late"


def test_crashing_twice_and_acting_while_crashed_are_refused():
    async def scenario(session: Session) -> None:
        a = session.agents["a"]
        a.crash()
        assert not a.is_alive
        for action in (
            a.crash,
            a.pause,
            a.resume,
            lambda: a.storage.put("k", 1),
            lambda: a.state.set("k", 1),
        ):
            with pytest.raises(AgentCrashedError, match="agent 'a' has crashed"):
                action()
        with pytest.raises(AgentCrashedError):
            await a.send("b")
        with pytest.raises(AgentCrashedError):
            await a.receive()
        a.restart()
        with pytest.raises(ConvergenceUsageError, match="only a crashed agent can restart"):
            a.restart()

    run_session(scenario, agents=["a", "b"])


# -- restart -----------------------------------------------------------------------------------------------------------


def test_a_restart_begins_from_the_top_with_what_was_durable():
    async def counts(agent: SimulatedAgent) -> int:
        lives = agent.storage.get("lives", 0) + 1
        agent.storage.put("lives", lives)
        await agent.storage.sync()
        agent.storage.put("volatile", lives)
        await asyncio.sleep(10)
        assert agent.storage.get("volatile") == lives
        return lives

    async def scenario(session: Session) -> None:
        for _ in range(2):
            await session.sleep(1)
            session.agents["c"].crash()
            session.agents["c"].restart()
        await session.finished()

    outcome = run_session(scenario, agents={"c": counts})
    assert outcome.results == {"c": 3}
    assert kinds_of(outcome, "c").count("start") == 3


def test_the_result_of_an_earlier_life_is_forgotten():
    async def once(agent: SimulatedAgent) -> str:
        if agent.storage.get("again"):
            await asyncio.sleep(10**6)
        return "first"

    async def scenario(session: Session) -> dict[str, Any]:
        agent = session.agents["o"]
        await session.sleep(1)
        agent.storage.put("again", True)
        await agent.storage.sync()
        agent.crash()
        agent.restart()
        await session.sleep(1)
        return {}

    assert run_session(scenario, agents={"o": once}).results == {}


def test_a_crash_inside_a_finally_ends_the_cleaning_up():
    log: list[str] = []

    async def victim(agent: SimulatedAgent) -> None:
        try:
            raise LookupError
        finally:
            agent.crash()
            await asyncio.sleep(0)
            log.append("cleaned up")

    outcome = run_session(agents={"v": victim, "w": idle})
    assert outcome.converged
    assert log == []


# -- pause -------------------------------------------------------------------------------------------------------------


def test_a_paused_agent_takes_no_step_and_goes_on_where_it_was():
    times: list[float] = []

    async def ticks(agent: SimulatedAgent) -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            times.append(running_loop().time())

    async def scenario(session: Session) -> None:
        await session.sleep(1.5)
        session.agents["t"].pause()
        await session.sleep(5)
        assert len(times) == 1
        session.agents["t"].resume()
        await session.finished()

    run_session(scenario, agents={"t": ticks})
    assert times == [1, 6.5, 7.5, 8.5]


def test_messages_wait_for_a_paused_agent_in_order():
    async def reader(agent: SimulatedAgent) -> list[Any]:
        return [(await agent.receive()).payload for _ in range(6)]

    async def scenario(session: Session) -> None:
        reader, writer = session.agents["r"], session.agents["w"]
        for number in range(6):
            if number == 2:
                reader.pause()
            await writer.send("r", number)
            await session.sleep(0.1)
        reader.resume()
        await session.finished()

    assert run_session(scenario, agents={"r": reader, "w": None}).results["r"] == list(range(6))


def test_what_came_in_a_pause_comes_before_what_comes_at_the_instant_of_its_end():
    async def reader(agent: SimulatedAgent) -> list[Any]:
        return [(await agent.receive()).payload for _ in range(2)]

    async def scenario(session: Session) -> None:
        reader, writer = session.agents["r"], session.agents["w"]
        world = session._running().world
        reader.pause()
        await writer.send("r", "in the pause")  # arrives after one second
        await session.sleep(1.5)
        # Before the second message, at the same instant.
        world.at(world.now_ns + 10**9, lambda _: reader.resume(), None)
        await writer.send("r", "at its end")
        await session.finished()

    outcome = run_session(scenario, agents={"r": reader, "w": None}, network=Network(latency=1))
    assert outcome.results["r"] == ["in the pause", "at its end"]


def test_steps_that_a_pause_has_parked_run_in_order():
    log: list[int] = []

    async def victim(agent: SimulatedAgent) -> None:
        loop = running_loop()
        for number in range(5):
            loop.call_later(1 + number / 10, log.append, number)
        loop.call_later(3, log.append, 5)
        await asyncio.sleep(4)

    async def scenario(session: Session) -> None:
        await session.sleep(0.5)
        session.agents["v"].pause()
        await session.sleep(2.5)  # the last timer is due at this very instant
        session.agents["v"].resume()
        await session.finished()

    run_session(scenario, agents={"v": victim})
    assert log == list(range(6))


def test_pausing_twice_is_one_pause():
    async def scenario(session: Session) -> None:
        a = session.agents["a"]
        a.pause()
        a.pause()
        a.resume()
        a.resume()
        assert not session._running().fabric.nodes["a"].is_paused

    assert kinds_of(run_session(scenario, agents=["a"]), "a") == ["pause", "resume"]


def test_a_pause_of_the_test_outlasts_a_stall_of_the_schedule():
    times: list[float] = []

    async def ticks(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0.1)
            times.append(running_loop().time())

    async def scenario(session: Session) -> None:
        await session.sleep(0.1005)  # the step at 0.1 s is stalled until 0.101 s
        session.agents["t"].pause()
        await session.sleep(5)
        assert times == []
        session.agents["t"].resume()
        await session.sleep(0.05)
        assert len(times) == 1

    # Option 1001 is a stall of a millisecond.
    run_session(scenario, agents={"t": ticks}, schedule=Schedule.of({"stall t #2": 1_001}))
    assert times[0] == pytest.approx(5.1005)


def test_a_pause_of_the_test_outlasts_a_pause_of_the_schedule():
    async def ticks(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0.1)

    async def scenario(session: Session) -> bool:
        await session.sleep(0.15)
        session.agents["t"].pause()
        await session.sleep(5)
        return session._running().fabric.nodes["t"].is_paused

    outcome = run_session(
        scenario, agents={"t": ticks}, schedule=Schedule.of({"pause t #2": 1_000_000}), faults=["pause"]
    )
    assert outcome.output is True


def test_the_end_of_a_stall_belongs_to_the_life_that_was_stalled():
    async def ticks(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0.1)

    async def scenario(session: Session) -> bool:
        t = session.agents["t"]
        await session.sleep(0.101)  # stalled from 0.1 s on, for a second
        t.crash()
        t.restart()
        t.pause()
        await session.sleep(5)
        return session._running().fabric.nodes["t"].is_paused

    schedule = Schedule.of({"stall t #2": 1_000_001})
    assert run_session(scenario, agents={"t": ticks}, schedule=schedule).output is True


def test_a_restart_that_the_schedule_has_planned_is_for_the_life_that_it_ended():
    async def ticks(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0.1)

    async def scenario(session: Session) -> bool:
        t = session.agents["t"]
        await session.sleep(0.15)
        assert not t.is_alive  # the schedule crashed it at its second step, and wants it back after a second
        t.restart()
        t.crash()  # on purpose, for good
        await session.sleep(5)
        return t.is_alive

    schedule = Schedule.of({"crash t #2": 1_000_000})
    assert run_session(scenario, agents={"t": ticks}, schedule=schedule, faults=["crash"]).output is False


# -- entropy -----------------------------------------------------------------------------------------------------------


def test_each_agent_draws_from_a_stream_of_its_own():
    async def draws(agent: SimulatedAgent) -> list[float]:
        return [random.random(), agent.random.random()]

    both = run_session(agents={"a": draws, "b": draws}, seed=5).results
    alone = run_session(agents={"a": draws}, seed=5).results
    other = run_session(agents={"a": draws}, seed=6).results
    assert both["a"] == alone["a"] != both["b"]
    assert alone["a"] != other["a"]
