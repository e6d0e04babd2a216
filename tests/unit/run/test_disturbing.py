"""Noise at work: profiles, branches, and that what was recorded of them needs neither to come again."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, Schedule, SimulatedAgent
from pytest_convergence._engine.base.noise import NOISE_PROFILES
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import BudgetExceeded, ConvergenceUsageError


async def busy(agent: SimulatedAgent) -> None:
    """Leads now and then, and talks."""
    for number in range(30):
        if agent.random.random() < 0.2:
            agent.observe("leader", term=number)
        await agent.send(agent.random.choice(agent.peers), number)
        await asyncio.sleep(agent.random.random() / 5)


FAULTS = ["crash", "pause", "partition"]


def run(
    schedule: Schedule, *, recorded: bool = False, surveyed: bool = False, agents: str = "abc"
) -> tuple[Session, Outcome]:
    session = ConvergenceEngine().create_session(
        "noisy", agents=dict.fromkeys(agents, busy), network="lossy", faults=FAULTS, schedule=schedule
    )
    session.is_recorded, session.is_surveyed = recorded, surveyed
    return session, session.run()


def faults(outcome: Outcome) -> list[Any]:
    return [event for event in outcome.trace if event.kind in ("crash", "pause", "rule", "stall")]


@pytest.mark.parametrize("noise", NOISE_PROFILES)
def test_what_a_profile_has_done_comes_again_by_its_deviations_alone(noise: str) -> None:
    for seed in range(4):
        session, first = run(Schedule.seeded(seed, noise=noise), recorded=True)
        assert session.recorded is not None
        again = Schedule.of(session.recorded.deviations, seed=seed)
        assert run(again)[1].trace.digest() == first.trace.digest()


@pytest.mark.parametrize("noise", NOISE_PROFILES)
def test_recording_changes_nothing(noise: str) -> None:
    schedule = Schedule.seeded(3, noise=noise, branches=((1_000_000_000, 7), (2_000_000_000, 8)))
    assert run(schedule)[1].trace.digest() == run(schedule, recorded=True)[1].trace.digest()


@pytest.mark.parametrize("seed", range(4))
def test_a_survey_changes_nothing_and_knows_every_step(seed: int) -> None:
    """A fault is looked for before each step, where otherwise nobody would."""
    session, first = run(Schedule.seeded(seed), recorded=True)
    assert session.recorded is not None
    again = Schedule.of(session.recorded.deviations, seed=seed)
    surveyed, same = run(again, recorded=True, surveyed=True)
    assert same.trace.digest() == first.trace.digest()
    assert surveyed.recorded is not None
    survey = surveyed.recorded.survey
    assert survey is not None
    for name in "abc":
        numbers = [step.number for step in survey.steps if step.agent == name]
        assert numbers == list(range(1, len(numbers) + 1))
    assert survey.moments.keys() == session.recorded.deviations.keys()
    assert {"crash a", "pause b", "isolate c", "deliver a→b"} <= survey.faults.keys()
    assert not any(stem.startswith("stall") for stem in survey.faults)


def test_a_branch_is_like_its_trunk_up_to_where_it_leaves() -> None:
    at_ns = 1_000_000_000
    trunk = run(Schedule.seeded(5))[1].trace
    branch = run(Schedule.seeded(5, branches=((at_ns, 6),)))[1].trace
    before = [[event for event in trace if event.at_ns < at_ns] for trace in (trunk, branch)]
    assert before[0] == before[1]
    assert trunk.digest() != branch.digest()


def test_fast_restarts_are_short_and_follow_a_send() -> None:
    outcomes = [run(Schedule.seeded(seed, noise="fast-restart"))[1] for seed in range(10)]
    crashes = 0
    for outcome in outcomes:
        events = list(outcome.trace)
        for place, event in enumerate(events):
            if event.kind == "crash":
                crashes += 1
                back = next(
                    each for each in events[place:] if each.kind == "restart" and each.agent == event.agent
                )
                assert back.at_ns - event.at_ns <= 100_000_000
    assert crashes > 5


def test_noise_that_aims_hits_who_leads_more_often_than_uniform_noise() -> None:
    def hits(noise: str) -> float:
        found = cut = 0
        for seed in range(10):
            last_led: dict[str, int] = {}
            for event in run(Schedule.seeded(seed, noise=noise), agents="abcdef")[1].trace:
                if event.kind == "observe" and event.detail["fact"] == "leader":
                    last_led[event.agent] = event.at_ns
                elif event.kind == "rule" and event.detail["what"] == "began":
                    cut += 1
                    newest = max(last_led, key=last_led.__getitem__, default="nobody")
                    group = event.detail["rule"].removeprefix("partition ").split(" | ")[0].split(", ")
                    found += newest in group and len(group) <= 2
        return found / cut

    assert hits("leader-target") > 1.5 * hits("uniform")


def test_no_profile_injects_what_the_test_does_not_allow() -> None:
    for noise in NOISE_PROFILES:
        for seed in range(4):
            session = ConvergenceEngine().create_session(
                "quiet", agents=dict.fromkeys("abc", busy), schedule=Schedule.seeded(seed, noise=noise)
            )
            outcome = session.run()
            assert {event.kind for event in faults(outcome)} <= {"stall"}
            assert outcome.metrics.lost == outcome.metrics.duplicated == 0


def test_a_seeded_schedule_says_its_noise_and_its_branches() -> None:
    schedule = Schedule.seeded(1, noise="swarm", branches=((1_500_000_000, 2),))
    assert str(schedule) == "seed 1, swarm, from 1.5 s on seed 2"
    assert eval(repr(schedule)) == schedule
    assert str(Schedule.seeded(1)) == "seed 1"
    with pytest.raises(ConvergenceUsageError, match="unknown noise profile 'swarms': did you mean 'swarm'"):
        Schedule.seeded(1, noise="swarms")


async def waits_for_everybody(agent: SimulatedAgent) -> None:
    """An election that needs every vote: it ends well as long as all come back."""
    votes = set()
    leader = min(agent.name, *agent.peers)
    agent.expose(lambda: leader if len(votes) == len(agent.peers) or agent.name != leader else None)
    while True:
        if agent.name != leader:
            await agent.send(leader, "yes")
        try:
            message = await agent.receive(timeout=0.5)
        except TimeoutError:
            continue
        if message.payload == "yes" and message.sender not in votes:
            votes.add(message.sender)
            if len(votes) == len(agent.peers):
                agent.observe("leader", term=1)
                await agent.broadcast("done")
        elif message.payload == "done":
            agent.observe("follow", leader=leader, term=1)


def elect(option: int, protocol: Any = None) -> Outcome:
    async def scenario(session: Session) -> None:
        await session.sleep(5)

    session = ConvergenceEngine().create_session(
        "core",
        pattern="leader-follower",
        agents=["a", "b", "c", "d", "e"],
        protocol=protocol,
        faults=["crash"],
        schedule=Schedule.of({"freeze #1": option} if option else {}),
    )
    return session.run(scenario)


def test_a_live_quorum_must_make_progress_without_the_others() -> None:
    for option in (0, 1, 5, 15):  # nobody, a, e, d and e
        outcome = elect(option)
        assert outcome.converged
        assert (
            sum(event.kind == "crash" for event in outcome.trace) == (0, 1, 1, 2)[(0, 1, 5, 15).index(option)]
        )


def test_searches_freeze_a_minority_now_and_then_and_tell_who() -> None:
    told = set()
    for seed in range(30):
        session = ConvergenceEngine().create_session(
            "core",
            pattern="leader-follower",
            agents=5,
            faults=["crash"],
            schedule=Schedule.seeded(seed, noise="leader-target"),
        )
        session.is_recorded = True
        assert session.run().converged
        assert session.recorded is not None
        told |= {words for label, words in session.recorded.words.items() if label == "freeze #1"}
    assert 2 <= len(told) <= 15
    assert all(words.endswith("down for good when the faults stop") for words in told)


KINDS = ("deliver", "stall", "pause", "crash", "isolate", "partition")


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_schedule_of_one_kind_nothing_else_deviates(kind: str) -> None:
    found = set()
    for noise in NOISE_PROFILES:
        for seed in range(6):
            session, _ = run(Schedule.seeded(seed, noise=noise, only=(kind,)), recorded=True)
            assert session.recorded is not None
            found |= {label.partition(" ")[0] for label in session.recorded.deviations}
    assert found == {kind}


@pytest.mark.parametrize("noise", NOISE_PROFILES)
@pytest.mark.parametrize("only", [("deliver", "crash"), ("isolate",)], ids="-".join)
def test_recording_changes_nothing_of_a_schedule_of_few_kinds(noise: str, only: tuple[str, ...]) -> None:
    schedule = Schedule.seeded(3, noise=noise, only=only, branches=((1_000_000_000, 7),))
    assert run(schedule)[1].trace.digest() == run(schedule, recorded=True)[1].trace.digest()


def test_a_run_that_nobody_waits_for_ends_at_its_horizon() -> None:
    session = ConvergenceEngine().create_session("noisy", agents=dict.fromkeys("abc", busy))
    session.horizon_ns = 500_000_000
    with pytest.raises(BudgetExceeded, match=r"0\.5 "):
        session.run()
