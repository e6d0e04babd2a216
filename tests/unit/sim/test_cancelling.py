"""Cancellation as a choice: at the k-th await of a task."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import Schedule, SimulatedAgent, cancellable
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import make_session, on_stock_loop, simulate


async def three_waits(log: list[str]) -> str:
    """Wait three times, and say how far it came."""
    try:
        for step in (1, 2, 3):
            await asyncio.sleep(1)
            log.append(f"slept {step}")
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    return "done"


async def behave(agent: SimulatedAgent) -> tuple[str, list[str]]:
    """Start a task that may be cancelled, and say what became of it."""
    log: list[str] = []
    task = cancellable(three_waits(log), name="work")
    try:
        return await task, log
    except asyncio.CancelledError:
        return "cancelled", log


def run(deviations: dict[str, int]) -> Any:
    """Run it under named deviations."""
    return make_session(agents={"a": behave}, schedule=Schedule.of(deviations)).run()


def test_nothing_is_cancelled_under_the_calm_schedule() -> None:
    assert run({}).results["a"] == ("done", ["slept 1", "slept 2", "slept 3"])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_task_is_cancelled_while_it_waits_for_the_kth_time(step: int) -> None:
    outcome = run({f"cancel a/work #{step}": 1})
    slept = [f"slept {each}" for each in range(1, step)]
    assert outcome.results["a"] == ("cancelled", [*slept, "cancelled"])
    (event,) = [event for event in outcome.trace if event.kind == "cancel"]
    assert event.at == step - 1
    assert event.detail == {"task": "a/work", "step": step}


def test_a_late_cancellation_strikes_only_if_the_task_still_waits() -> None:
    assert run({"cancel a/work #1": 500_001}).results["a"] == ("cancelled", ["cancelled"])
    assert run({"cancel a/work #1": 1_500_001}).results["a"][0] == "done"


def test_seeds_cancel_now_and_then_and_are_replayed_by_their_deviations() -> None:
    fates = []
    for seed in range(60):
        session = make_session(agents={"a": behave}, seed=seed)
        session.is_recorded = True
        outcome = session.run()
        fates.append(outcome.results["a"][0])
        assert session.recorded is not None
        again = make_session(agents={"a": behave}, schedule=Schedule.of(session.recorded.deviations))
        assert again.run().results == outcome.results
    assert 2 <= fates.count("cancelled") <= 30


def test_a_behaviour_is_cancelled_at_its_kth_wait_on_request() -> None:
    log: list[str] = []

    async def work(_: SimulatedAgent) -> str:
        return await three_waits(log)

    session = make_session(agents={"a": work})
    session.agents["a"].cancel_at(2)
    assert session.run().results == {}
    assert log == ["slept 1", "cancelled"]


@pytest.mark.parametrize("step", [0, True, "1", 1.5])
def test_a_step_is_a_whole_number_from_one(step: Any) -> None:
    with pytest.raises(ConvergenceUsageError, match="a step is a whole number from 1"):
        make_session(agents=["a"]).agents["a"].cancel_at(step)


def test_behaviours_are_cancelled_by_schedules_where_that_is_among_the_faults() -> None:
    logs: list[str] = []

    async def work(_: SimulatedAgent) -> str:
        return await three_waits(logs)

    for seed in range(40):
        make_session(agents={"a": work}, seed=seed, faults=["cancel"]).run()
    assert "cancelled" in logs
    assert "slept 3" in logs


@pytest.mark.parametrize(
    ("cancel", "expected"), [(True, 2), ("work", 1), (lambda name: "other" in name, 1), (False, 0)]
)
def test_a_hosts_tasks_are_cancelled_where_it_says_which(cancel: Any, expected: int) -> None:
    async def work() -> None:
        await asyncio.sleep(1)

    async def other() -> None:
        await asyncio.sleep(1)

    async def main() -> int:
        tasks = [asyncio.create_task(each()) for each in (work, other)]
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(each, asyncio.CancelledError) for each in ends)

    deviations = {"cancel h/work #1": 1, "cancel h/other #1": 1}
    session = make_session(schedule=Schedule.of(deviations))
    session.host("h", main, cancel=cancel)
    assert session.run().results["h"] == expected


def test_tasks_of_the_same_name_are_told_apart() -> None:
    async def behave(_: SimulatedAgent) -> list[bool]:
        tasks = [cancellable(asyncio.sleep(1), name="nap") for _ in range(3)]
        await asyncio.wait(tasks)
        return [task.cancelled() for task in tasks]

    session = make_session(agents={"a": behave}, schedule=Schedule.of({"cancel a/nap(2) #1": 1}))
    assert session.run().results["a"] == [False, True, False]


def test_an_error_passes_through_and_a_closed_task_closes_what_it_drives() -> None:
    closed: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("closed")

    async def behave(_: SimulatedAgent) -> str:
        cancellable(wait())
        try:
            await cancellable(fail())
        except ValueError as error:
            return str(error)
        return ""

    assert make_session(agents={"a": behave}).run().results["a"] == "broken"
    assert closed == ["closed"]


def test_outside_an_agent_it_is_an_ordinary_task() -> None:
    async def main() -> str:
        task = cancellable(three_waits([]), name="plain")
        assert task.get_name() == "plain"
        return await task

    assert simulate(main) == "done"

    async def quick() -> str:
        return await cancellable(asyncio.sleep(0, "real"))

    assert on_stock_loop(quick) == "real"


def test_what_is_no_coroutine_is_refused() -> None:
    async def main() -> None:
        cancellable(3)  # type: ignore[arg-type]

    with pytest.raises(ConvergenceUsageError, match="takes a coroutine"):
        simulate(main)
