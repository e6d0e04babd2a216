"""Plans of faults: what they say, what they refuse, and that they strike."""

from typing import Any

import pytest

from pytest_convergence import Fault, FaultPlan, Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import make_session, run_session


async def _walker(agent: SimulatedAgent) -> int:
    begun = agent.storage.get("lives", 0) + 1
    agent.storage.put("lives", begun)
    await agent.storage.sync()
    for _ in range(30):
        await agent.session.sleep(0.1)
    return begun


def _run(*faults: Fault, agents: Any = ("a", "b", "c")) -> Outcome:
    return run_session(agents=dict.fromkeys(agents, _walker), schedule=FaultPlan(faults))


def _seen(outcome: Outcome, *kinds: str) -> list[tuple[str, str, float]]:
    return [(event.kind, event.agent, event.at) for event in outcome.trace if event.kind in kinds]


def test_an_agent_crashes_before_its_step_and_comes_back():
    outcome = _run(Fault.crash("b", step=10, seconds=0.25))
    (crash, restart) = _seen(outcome, "crash", "restart")
    assert crash[:2] == ("crash", "b")
    assert restart[:2] == ("restart", "b")
    assert restart[2] == pytest.approx(crash[2] + 0.25)
    assert outcome.results == {"a": 1, "b": 2, "c": 1}


def test_an_agent_is_paused_before_its_step():
    (pause, resume) = _seen(_run(Fault.pause("c", step=5, seconds=2)), "pause", "resume")
    assert pause[:2] == ("pause", "c")
    assert resume[2] == pytest.approx(pause[2] + 2)


def test_a_group_is_cut_off_at_a_time():
    outcome = _run(Fault.partition(["c", "a"], at=0.5, seconds=1))
    rules = [
        (event.at, event.detail["rule"], event.detail["what"])
        for event in outcome.trace
        if event.kind == "rule"
    ]
    assert rules == [(0.5, "partition a, c | b", "began"), (1.5, "partition a, c | b", "healed")]
    assert outcome.metrics.faults == {"partition": 1}


def test_faults_of_one_plan_strike_together():
    outcome = _run(Fault.crash("a", step=3), Fault.pause("b", step=4), Fault.partition("c", at=0.1))
    assert outcome.metrics.faults == {"crash": 1, "pause": 1, "partition": 1}
    assert outcome.converged


def test_the_empty_plan_is_calm():
    outcome = _run()
    assert FaultPlan().is_calm
    assert outcome.schedule.is_calm
    assert (
        outcome.trace.digest()
        == run_session(agents=dict.fromkeys("abc", _walker), schedule=Schedule.of({})).trace.digest()
    )


def test_a_plan_makes_the_same_run_again():
    plan = (Fault.crash("a", step=12), Fault.partition(["b"], at=0.3, seconds=0.7))
    assert _run(*plan).trace.digest() == _run(*plan).trace.digest()


def test_a_plan_shows_what_evaluates_to_it():
    plan = FaultPlan(
        (
            Fault.crash("a", step=3, seconds=0.12),
            Fault.pause("b", step=1, seconds=2),
            Fault.partition(["a", "c"], at=0.5, seconds=1),
        )
    )
    assert eval(repr(plan)) == plan
    assert str(plan) == (
        "a crashes before its step 3, back after 120 ms; b is paused before its step 1, for 2 s; "
        "a, c cut off at 500 ms for 1 s"
    )
    assert str(FaultPlan()) == "calm"
    schedule = plan.schedule(["a", "b", "c"], seed=4)
    assert eval(repr(schedule)) == schedule
    assert schedule.faults == ("crash", "pause", "partition")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Fault.crash("a", step=0), "step must be a whole number >= 1, not 0"),
        (lambda: Fault.pause("a", step=True), "step must be a whole number"),
        (lambda: Fault.crash("", step=1), "a fault hits an agent by its name"),
        (lambda: Fault.crash("a", step=1, seconds=0), "seconds must be at least 1e-06"),
        (lambda: Fault.partition([], at=1), "name at least one agent"),
        (lambda: Fault.partition(["a"], at=0.05), "at must be a multiple of 0.1 seconds"),
        (lambda: Fault.partition(["a"], at=0.25), "at must be a multiple of 0.1 seconds"),
        (lambda: Fault.partition(["a"], at=1, seconds=0.0001), "seconds must be at least 0.001"),
        (lambda: FaultPlan(("crash",)), "a plan consists of faults such as"),  # type: ignore[arg-type]
        (
            lambda: FaultPlan((Fault.crash("a", step=1), Fault.pause("a", step=1))),
            "these faults go not together: a crashes before its step 1",
        ),
        (
            lambda: FaultPlan((Fault.partition("a", at=1, seconds=2), Fault.partition("b", at=2))),
            "these faults go not together: a cut off at 1 s",
        ),
        (
            lambda: FaultPlan(tuple(Fault.crash("a", step=step) for step in range(1, 5))),
            "'a' crashes 4 times",
        ),
    ],
)
def test_plans_that_make_no_sense_are_refused(make: Any, words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("fault", "agents", "words"),
    [
        (Fault.crash("d", step=1), 3, r"unknown agent in the fault plan 'd'"),
        (Fault.partition(["agent-1", "agent-2"], at=1), 2, "nobody is left"),
        (Fault.partition(["agent-1"], at=1), 13, "among 13 agents a schedule cannot cut off just these"),
    ],
)
def test_plans_that_do_not_fit_the_agents_are_refused(fault: Fault, agents: int, words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        make_session(agents=agents, schedule=FaultPlan((fault,)))


def test_faults_are_given_with_agents_too():
    session = make_session(agents=["a", "b"])
    assert Fault.crash(session.agents["a"], step=1) == Fault.crash("a", step=1)  # type: ignore[arg-type]


def test_a_schedule_is_a_schedule_or_a_plan():
    with pytest.raises(
        ConvergenceUsageError, match="schedule must be a Schedule, a token or a FaultPlan, not 7"
    ):
        make_session(agents=2, schedule=7)
