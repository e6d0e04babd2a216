"""Faults that a schedule injects: at the k-th step of an agent, or at a time."""

import asyncio
from typing import Any

import pytest

from pytest_convergence._engine.base.choices import CalmChoices, RecordingChoices
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.faults import FAULT_KINDS, skew_offset_seconds
from tests.unit.sim.harness import make_session, run_session, running_loop


def steps(count: int, log: list[Any]) -> Any:
    async def behaviour(agent: SimulatedAgent) -> None:
        for number in range(1, count + 1):  # step 1 starts the task; step n + 1 follows the n-th sleep
            log.append((number, round(running_loop().time(), 6)))
            await asyncio.sleep(0.001)

    return behaviour


def kinds(outcome: Outcome) -> list[tuple[str, int]]:
    wanted = {"crash", "restart", "pause", "resume", "stall", "rule"}
    return [(event.kind, event.at_ns) for event in outcome.trace if event.kind in wanted]


def test_a_crash_comes_before_the_step_that_the_schedule_names():
    log: list[Any] = []
    run_session(agents={"a": steps(5, log)}, faults=["crash"], schedule=Schedule.of({"crash a #3": 500_000}))
    begun = [number for number, _ in log]
    assert begun[0] == 1
    assert begun[begun.index(1, 1) :] == [1, 2, 3, 4, 5]
    assert max(begun[: begun.index(1, 1)]) < 3


@pytest.mark.parametrize("step", range(1, 12))
def test_every_step_of_a_run_can_be_crashed(step: int):
    log: list[Any] = []
    schedule = Schedule.of({f"crash a #{step}": 100})
    outcome = run_session(agents={"a": steps(5, log)}, faults=["crash"], schedule=schedule)
    assert [kind for kind, _ in kinds(outcome)] == ["crash", "restart"]
    assert outcome.converged


def test_an_outage_lasts_as_long_as_the_schedule_says():
    outcome = run_session(
        agents={"a": steps(5, [])}, faults=["pause"], schedule=Schedule.of({"pause a #2": 750_000})
    )
    (pause, began), (resume, ended) = kinds(outcome)
    assert (pause, resume, ended - began) == ("pause", "resume", 750_000_000)


def test_a_stall_lets_what_is_ready_go_first():
    order: list[str] = []

    def behaviour(name: str) -> Any:
        async def behave(agent: SimulatedAgent) -> None:
            for _ in range(2):
                order.append(name)
                await asyncio.sleep(0)

        return behave

    agents = {name: behaviour(name) for name in "abc"}
    run_session(agents=agents)
    assert "".join(order) == "abcabc"
    order.clear()
    run_session(agents=agents, schedule=Schedule.of({"stall a #1": 1}))
    assert "".join(order) == "bcabca"


def test_a_stall_never_reorders_the_steps_of_one_agent():
    log: list[int] = []

    async def behave(agent: SimulatedAgent) -> None:
        loop = running_loop()
        for number in range(10):
            loop.call_soon(log.append, number)
        await asyncio.sleep(0)

    for step in range(1, 13):
        log.clear()
        run_session(
            agents={"a": behave}, schedule=Schedule.of({f"stall a #{step}": 1, f"stall a #{step + 1}": 2_001})
        )
        assert log == list(range(10))


def test_the_worst_of_the_faults_that_meet_at_one_step_wins():
    schedule = Schedule.of({"stall a #2": 5_001, "pause a #2": 1_000, "crash a #2": 1_000})
    outcome = run_session(agents={"a": steps(3, [])}, faults=["crash", "pause"], schedule=schedule)
    assert [kind for kind, _ in kinds(outcome)] == ["crash", "restart"]


def test_a_schedule_crashes_an_agent_three_times_at_most():
    schedule = Schedule.of({f"crash a #{step}": 1 for step in range(1, 30)})
    outcome = run_session(agents={"a": steps(5, [])}, faults=["crash"], schedule=schedule)
    assert [kind for kind, _ in kinds(outcome)].count("crash") == 3
    assert outcome.converged


def test_faults_that_were_not_asked_for_do_not_come():
    schedule = Schedule.of({"crash a #2": 1, "pause a #2": 1, "partition #1": 3_000, "skew a #1": 10})
    assert kinds(run_session(agents={"a": steps(5, []), "b": None}, schedule=schedule)) == []


def test_the_faults_of_a_schedule_add_to_those_of_the_session():
    schedule = Schedule.from_tape(bytes([255]) * 8, faults=("pause",))
    outcome = run_session(agents={"a": steps(5, [])}, schedule=schedule)
    assert ("pause", 0) in kinds(outcome)


def test_a_partition_begins_at_its_tick_and_ends_in_time():
    async def scenario(session: Session) -> None:
        await session.sleep(5)

    # Two agents have two groups: option = group + 2 x milliseconds.
    outcome = run_session(
        scenario, agents=["a", "b"], faults=["partition"], schedule=Schedule.of({"partition #3": 1 + 2 * 499})
    )
    assert kinds(outcome) == [("rule", 300_000_000), ("rule", 800_000_000)]


def test_ticks_of_partitions_count_from_the_begin_of_the_session():
    async def main() -> list[tuple[str, int]]:
        await asyncio.sleep(100)
        session = make_session(
            agents=["a", "b"], faults=["partition"], schedule=Schedule.of({"partition #3": 999})
        )
        return kinds(await session.execute(scenario))

    async def scenario(session: Session) -> None:
        await session.sleep(5)

    from tests.unit.sim.harness import simulate

    assert simulate(main) == [("rule", 100_300_000_000), ("rule", 100_800_000_000)]


def test_a_partition_that_lasts_does_not_keep_a_finished_world_awake():
    outcome = run_session(
        agents={"a": steps(200, []), "b": None},
        faults=["partition"],
        schedule=Schedule.of({"partition #1": 1 + 2 * 60_000}),
    )
    assert outcome.duration == pytest.approx(0.2)


def test_partitions_of_one_agent_do_not_exist():
    outcome = run_session(agents={"a": steps(3, [])}, faults=["partition"], seed=1)
    assert kinds(outcome).count(("rule", 0)) == 0


@pytest.mark.parametrize("count", [2, 3, 14])
def test_partitions_cut_off_some_and_never_all(count: int):
    async def scenario(session: Session) -> None:
        await session.sleep(60)

    outcome = run_session(scenario, agents=count, faults=["partition"], seed=3)
    words = [
        event.detail["rule"]
        for event in outcome.trace
        if event.kind == "rule" and event.detail["what"] == "began"
    ]
    assert len(words) > 10
    assert all(word.startswith("partition ") and " | " in word for word in words)


def test_skews_are_offsets_of_up_to_half_a_second():
    assert [skew_offset_seconds(option) for option in (0, 1, 499, 501, 1000)] == [
        0,
        -0.499,
        -0.001,
        0.001,
        0.5,
    ]

    async def scenario(session: Session) -> list[float]:
        return [agent.now() for agent in session.agents.values()]

    schedule = Schedule.of({"skew a #1": 400, "skew c #1": 700})
    outcome = run_session(scenario, agents=["a", "b", "c"], faults=["skew"], schedule=schedule)
    assert outcome.output == [-0.1, 0, 0.2]


def test_every_kind_of_fault_is_told_in_words():
    class Recorded:
        kind, seed, faults, is_calm, noise, branches = "seeded", 5, (), False, "uniform", ()

        def choices(self, stream: Any) -> RecordingChoices:
            self.recording = RecordingChoices(Schedule.seeded(5).choices(stream))
            return self.recording

    async def scenario(session: Session) -> None:
        await session.sleep(20)

    session = make_session(
        agents=dict.fromkeys("abcd", steps(200, [])), network="chaos", faults=list(FAULT_KINDS)
    )
    session.schedule = schedule = Recorded()  # type: ignore[assignment]
    session.run(scenario)
    first = {label.split()[0]: words for label, words in reversed(schedule.recording.words.items())}
    assert set(first) >= {"stall", "pause", "crash", "partition", "skew"}
    assert "held" in first["stall"]
    assert first["pause"].startswith("paused for ")
    assert first["crash"].startswith("crashed, back after ")
    assert " cut off for " in first["partition"]


def test_calm_has_no_faults_whatever_may_be_injected():
    outcome = run_session(
        agents={"a": steps(50, []), "b": None},
        faults=list(FAULT_KINDS),
        network="chaos",
        schedule=Schedule.calm(),
    )
    assert kinds(outcome) == []
    assert CalmChoices().rare("crash a", 1.0, None)(0) is None  # type: ignore[arg-type]
