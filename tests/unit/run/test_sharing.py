"""Several sessions in one world: one after another, and at the same time."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import Effect, Send
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence.errors import BudgetExceeded, ConvergenceUsageError, DeadlockError, PropertyViolation
from tests.unit.run.test_failures import Quiet
from tests.unit.sim.harness import make_session, running_loop, simulate


async def ping(agent: SimulatedAgent) -> None:
    await asyncio.sleep(1)
    await agent.send("pong", "ball")


async def pong(agent: SimulatedAgent) -> Any:
    return (await agent.receive()).payload


async def stuck(agent: SimulatedAgent) -> None:
    await agent.receive()


TABLE_TENNIS = {"ping": ping, "pong": pong}


def test_a_session_adopts_the_world_of_an_async_test():
    async def main() -> list[float]:
        await asyncio.sleep(10)
        outcome = await make_session(agents=TABLE_TENNIS).execute()
        return [outcome.duration, running_loop().time()]

    assert simulate(main) == [1.001, 11.001]


def test_sessions_one_after_another_share_the_time():
    async def main() -> list[float]:
        ends = []
        for _ in range(2):
            outcome = await make_session(agents=TABLE_TENNIS).execute()
            ends.append(outcome.trace[-1].at)
        return ends

    assert simulate(main) == [1.001, 2.002]


def test_sessions_at_the_same_time_do_not_disturb_each_other():
    async def main() -> list[Any]:
        sessions = [make_session(agents=TABLE_TENNIS) for _ in range(3)]
        outcomes = await asyncio.gather(*(session.execute() for session in sessions))
        return [(outcome.results["pong"], outcome.metrics.sent) for outcome in outcomes]

    assert simulate(main) == [("ball", 1)] * 3


def test_a_session_that_ends_while_another_runs_leaves_it_to_its_own_end():
    async def slow(agent: SimulatedAgent) -> str:
        await asyncio.sleep(100)
        return "done"

    async def main() -> list[Any]:
        short, long = make_session(agents=TABLE_TENNIS), make_session(agents={"slow": slow, "ping": pong})
        first = asyncio.create_task(short.execute())
        await asyncio.sleep(0.5)
        second = asyncio.create_task(long.execute())
        await first
        with pytest.raises(DeadlockError, match="ping waits"):
            await second
        return [running_loop().time(), long._running().results]

    assert simulate(main) == [100.5, {"slow": "done"}]


def test_a_session_does_not_wait_for_a_message_of_another_that_is_long_on_its_way():
    async def greet(session: Session) -> None:
        session.agents["a"].state.set("greeting", "hello")

    async def main() -> tuple[float, bool]:
        away = make_session(agents=TABLE_TENNIS, network=Network(latency=1_000))
        first = asyncio.create_task(away.execute())
        await asyncio.sleep(2)
        near = make_session(agents=["a", "b"], network="lan")
        outcome = await near.execute(greet)
        took = running_loop().time() - 2
        await first
        return took, outcome.converged

    took, converged = simulate(main)
    assert converged
    assert took < 60


def test_a_deadlock_in_one_session_leaves_the_world_usable():
    async def main() -> Any:
        with pytest.raises(DeadlockError):
            await make_session(agents={"stuck": stuck}).execute()
        return (await make_session(agents=TABLE_TENNIS).execute()).converged

    assert simulate(main) is True


def test_after_its_sessions_a_world_still_finds_the_deadlock_of_the_test():
    async def main() -> None:
        await asyncio.gather(*(make_session(agents=TABLE_TENNIS).execute() for _ in range(2)))
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="the test still waits"):
        simulate(main)


def test_only_the_session_whose_time_is_up_fails():
    async def sleeper(agent: SimulatedAgent) -> str:
        await asyncio.sleep(50)
        return "slept"

    async def main() -> list[Any]:
        hasty, patient = make_session(agents={"s": sleeper}), make_session(agents={"s": sleeper})
        results = await asyncio.gather(hasty.execute(timeout=10), patient.execute(), return_exceptions=True)
        assert isinstance(results[1], object)
        return [type(results[0]), results[1].results["s"]]  # type: ignore[union-attr]

    assert simulate(main) == [BudgetExceeded, "slept"]


def test_the_test_may_go_on_after_a_session_that_used_up_its_time():
    async def scenario(session: Session) -> None:
        session.network.partition(["agent-1"])
        session.agents["agent-1"].state.set("k", 1)

    async def main() -> list[Any]:
        outcome = await make_session(agents=2).execute(scenario, timeout=10)
        await asyncio.sleep(9)
        return [outcome.converged, running_loop().time() > 9]

    assert simulate(main, timeout=10)[1] is True


def test_a_livelock_ends_every_session_of_the_world(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pytest_convergence._engine.sim.world._LIVELOCK_STEPS", 5_000)

    async def spin(agent: SimulatedAgent) -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> list[str]:
        sessions = [make_session(agents={"s": spin}), make_session(agents=TABLE_TENNIS)]
        results = await asyncio.gather(*(session.execute() for session in sessions), return_exceptions=True)
        return [type(result).__name__ for result in results]

    assert simulate(main) == ["LivelockError", "LivelockError"]


def test_properties_of_sessions_at_the_same_time_are_all_judged():
    async def main() -> list[str]:
        first, second = make_session(agents=TABLE_TENNIS), make_session(agents=TABLE_TENNIS)
        calls: list[str] = []
        first.always("first", lambda session: calls.append("first") or True)
        second.always("second", lambda session: session.now < 0.5)
        results = await asyncio.gather(first.execute(), second.execute(), return_exceptions=True)
        assert "first" in calls
        return [type(result).__name__ for result in results]

    assert simulate(main) == ["Outcome", PropertyViolation.__name__]


def test_what_is_left_of_a_session_changes_neither_trace_nor_world():
    async def main() -> list[Any]:
        outcome = await make_session(agents=3, pattern="leader-follower").execute()
        digest, events = outcome.trace.digest(), len(outcome.trace)
        await asyncio.sleep(3600)  # heartbeats would go on
        loop = running_loop()
        return [outcome.trace.digest() == digest, len(outcome.trace) == events, len(loop.world.events)]

    assert simulate(main) == [True, True, 0]


def test_the_agents_of_a_session_that_is_over_cannot_act():
    async def main() -> None:
        session = make_session(agents=["a", "b"])
        await session.execute()
        a = session.agents["a"]
        for action in (a.crash, lambda: a.state.set("k", 1), lambda: a.storage.get("k"), a.now):
            with pytest.raises(ConvergenceUsageError, match="the run is over"):
                action()
        with pytest.raises(ConvergenceUsageError, match="the run is over"):
            await a.send("b")

    simulate(main)


def test_a_restart_that_was_planned_for_later_happens_when_the_work_is_done_and_not_again():
    begun: list[float] = []

    async def behaviour(agent: SimulatedAgent) -> None:
        begun.append(running_loop().time())
        await asyncio.sleep(0.1)
        await asyncio.sleep(10**5)

    async def scenario(session: Session) -> None:
        await session.sleep(0.2)

    async def main() -> None:
        from pytest_convergence._engine.base.schedule import Schedule

        schedule = Schedule.of({"crash b #2": 3_600_000_000})
        await make_session(agents={"b": behaviour}, schedule=schedule, faults=["crash"]).execute(
            scenario, timeout=2
        )
        await asyncio.sleep(10_000)

    simulate(main)
    assert begun == [0, 0.2]


def test_messages_of_a_session_that_is_over_reach_nobody():
    arrived: list[Any] = []

    class Echo(Quiet):
        def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
            arrived.append(payload)
            return [Send(sender, kind, payload)]

    async def scenario(session: Session) -> None:
        await session.agents["starter"].send("echo", "late")
        await session.agents["starter"].send("starter", "late")

    async def main() -> None:
        session = make_session(agents={"echo": Echo, "starter": None}, network=Network(latency=5))
        await session.execute(scenario, timeout=1)
        await asyncio.sleep(100)

    simulate(main)
    assert arrived == []


def test_agents_draw_by_the_seed_of_their_session_whatever_world_it_runs_in():
    async def draws(agent: SimulatedAgent) -> list[float]:
        return [random.random(), agent.random.random()]

    def session() -> Session:
        return make_session(agents={"a": draws}, seed=7)

    async def main() -> list[Any]:
        return [(await session().execute()).results["a"] for _ in range(2)]

    alone = session().run().results["a"]
    assert simulate(main, seed=99) == [alone, alone]
