"""A run is a pure function of its deviations and its seed: what a seeded run chose, listed, gives the same run again."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_convergence._engine.base.choices import Choices, RecordingChoices, Stream, split_label
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.sim.conditions import PROFILES, Network
from pytest_convergence._engine.sim.faults import FAULT_KINDS
from pytest_convergence.errors import RunFailure
from tests.unit.sim.harness import make_session

NETWORKS = [*PROFILES, Network(latency=(0.01, 0.02), loss=0.2, duplicate=0.2, reorder=0.2)]


class Recorded:
    """Stands for a schedule, and keeps what it chose."""

    def __init__(self, schedule: Schedule) -> None:
        self.seed, self.kind, self.faults = schedule.seed, schedule.kind, schedule.faults
        self.is_calm, self.noise, self.branches = schedule.is_calm, schedule.noise, schedule.branches
        self._schedule = schedule
        self.recording: RecordingChoices | None = None

    def choices(self, stream: Callable[[int], Stream]) -> Choices:
        self.recording = RecordingChoices(self._schedule.choices(stream))
        return self.recording

    def as_list(self) -> Schedule:
        assert self.recording is not None
        return Schedule.of(self.recording.deviations, seed=self.seed)


async def _gossip(agent: SimulatedAgent) -> list[Any]:
    heard = []
    agent.storage.put("lives", agent.storage.get("lives", 0) + 1)
    if agent.random.random() < 0.5:
        await agent.storage.sync()
    for number in range(6):
        await agent.send(agent.random.choice(agent.peers), number)
        agent.state.set(f"{agent.name}.{number % 2}", number)
        try:
            heard.append((await agent.receive(timeout=0.2)).payload)
        except TimeoutError:
            await asyncio.sleep(0.05)
    return heard


def _run(schedule: Any, network: Any, faults: list[str], workload: str, *, trace: bool = True) -> Outcome:
    options: dict[str, Any] = {
        "trace": trace,
        "network": network,
        "faults": faults,
        "schedule": schedule,
        "max_events": 200_000,
    }
    inputs: dict[str, Any] = {}
    if workload == "gossip":
        options["agents"] = dict.fromkeys("abc", _gossip)
    else:
        options |= {"agents": 3, "pattern": workload, "timeout": 60}
        if workload == "consensus":
            inputs["proposals"] = {"agent-1": 1, "agent-2": 2, "agent-3": 2}
    session = make_session(agents=options.pop("agents"), **{**options, "schedule": None})
    session.schedule = schedule
    try:
        return session.run(**inputs)
    except RunFailure as failure:
        assert isinstance(failure.outcome, Outcome)
        return failure.outcome


FAULTS = st.lists(st.sampled_from(FAULT_KINDS), unique=True)
WORKLOADS = st.sampled_from(["gossip", "consensus", "leader-follower"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NETWORKS), FAULTS, WORKLOADS)
@example(1, "chaos", list(FAULT_KINDS), "gossip")
@example(2, "flaky", list(FAULT_KINDS), "leader-follower")
def test_the_listed_deviations_of_a_seeded_run_give_the_same_run(
    seed: int, network: Any, faults: list[str], workload: str
):
    recorded = Recorded(Schedule.seeded(seed))
    first = _run(recorded, network, faults, workload)
    again = _run(recorded.as_list(), network, faults, workload)
    assert again.trace.digest() == first.trace.digest()
    assert again.reasons == first.reasons


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NETWORKS), FAULTS, WORKLOADS)
def test_recording_a_run_does_not_change_it(seed: int, network: Any, faults: list[str], workload: str):
    plain = Schedule.seeded(seed)
    recorded = _run(Recorded(plain), network, faults, workload)
    assert _run(plain, network, faults, workload).trace.digest() == recorded.trace.digest()


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(NETWORKS), FAULTS, WORKLOADS)
def test_the_listed_deviations_of_a_tape_give_the_same_run(
    tape: bytes, network: Any, faults: list[str], workload: str
):
    recorded = Recorded(Schedule.from_tape(tape, seed=9))
    first = _run(recorded, network, faults, workload)
    assert _run(recorded.as_list(), network, faults, workload).trace.digest() == first.trace.digest()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NETWORKS), FAULTS, WORKLOADS)
def test_a_replay_records_what_it_was_told(seed: int, network: Any, faults: list[str], workload: str):
    recorded = Recorded(Schedule.seeded(seed))
    _run(recorded, network, faults, workload)
    again = Recorded(recorded.as_list())
    _run(again, network, faults, workload)
    assert recorded.recording is not None
    assert again.recording is not None
    assert again.recording.deviations == recorded.recording.deviations
    assert again.recording.words == recorded.recording.words


LABEL = re.compile(
    r"(deliver \S+→\S+|timer \S+/\S+|(storage|skew|stall|pause|crash|isolate|cancel) \S+|partition) #\d+"
)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NETWORKS), WORKLOADS)
def test_labels_name_a_link_or_an_agent(seed: int, network: Any, workload: str):
    recorded = Recorded(Schedule.seeded(seed))
    _run(recorded, network, list(FAULT_KINDS), workload)
    assert recorded.recording is not None
    for label, option in recorded.recording.deviations.items():
        assert LABEL.fullmatch(label), label
        assert option > 0
        split_label(label)


@pytest.mark.parametrize("workload", ["gossip", "consensus", "leader-follower"])
@pytest.mark.parametrize("network", PROFILES)
def test_a_list_without_deviations_is_the_calm_run(network: str, workload: str):
    listed, calm = Schedule.of({}), Schedule.calm()
    first, second = (_run(schedule, network, list(FAULT_KINDS), workload) for schedule in (listed, calm))
    assert first.trace.digest() == second.trace.digest()
    assert {event.kind for event in first.trace}.isdisjoint(
        {"lost", "duplicate", "crash", "pause", "stall", "rule"}
    )


def test_taking_a_deviation_away_leaves_the_others_where_they_were():
    deviations = {"deliver a→b #2": 1, "deliver b→c #3": 1, "deliver c→a #1": 1}

    def lost(chosen: dict[str, int]) -> set[str]:
        outcome = _run(Schedule.of(chosen, seed=3), "perfect", [], "gossip")
        return {
            event.message.id for event in outcome.trace if event.kind == "lost" and event.message is not None
        }

    assert lost(deviations) == {"a→b #2", "b→c #3", "c→a #1"}
    for label in deviations:
        rest = {other: option for other, option in deviations.items() if other != label}
        assert lost(rest) == {other.removeprefix("deliver ") for other in rest}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NETWORKS), FAULTS, WORKLOADS)
def test_the_same_seed_gives_the_same_run(seed: int, network: Any, faults: list[str], workload: str):
    first, second = (_run(Schedule.seeded(seed), network, faults, workload) for _ in range(2))
    assert first.trace.digest() == second.trace.digest()
    assert first.metrics.events == second.metrics.events


def test_different_seeds_give_different_runs():
    digests = {_run(Schedule.seeded(seed), "lossy", [], "gossip").trace.digest() for seed in range(10)}
    assert len(digests) == 10


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(NETWORKS), FAULTS, WORKLOADS)
def test_a_run_is_the_same_with_the_trace_switched_off(
    seed: int, network: Any, faults: list[str], workload: str
):
    traced, untraced = (
        _run(Schedule.seeded(seed), network, faults, workload, trace=trace) for trace in (True, False)
    )
    assert len(untraced.trace) == 0
    assert (untraced.results, untraced.output, untraced.duration) == (
        traced.results,
        traced.output,
        traced.duration,
    )
    numbers, others = untraced.metrics.as_dict(), traced.metrics.as_dict()
    assert {**numbers, "real_seconds": 0} == {**others, "real_seconds": 0}
