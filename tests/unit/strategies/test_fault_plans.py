"""Drawn plans of faults: they fit the agents, they shrink to what matters, they find what they should."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from pytest_convergence import FaultPlan
from pytest_convergence import strategies as cst
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import run_session

_FIXED = settings(
    derandomize=True,
    database=None,
    max_examples=2_000,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
_FEW = settings(max_examples=50, deadline=None)


@_FEW
@given(cst.fault_plans(["a", "b", "c"]))
def test_every_plan_fits_its_agents(plan: FaultPlan):
    schedule = plan.schedule(["a", "b", "c"])
    assert len(schedule.deviations) == len(plan.faults) <= 4
    assert eval(repr(plan), {"FaultPlan": FaultPlan, "Fault": __import__("pytest_convergence").Fault}) == plan


@_FEW
@given(cst.fault_plans(1))
def test_one_agent_is_never_cut_off_from_itself(plan: FaultPlan):
    assert all(fault.kind != "partition" for fault in plan.faults)


@_FEW
@given(cst.fault_plans(2, kinds=["crash"], most=2, steps=5))
def test_a_plan_keeps_to_what_was_asked_for(plan: FaultPlan):
    assert len(plan.faults) <= 2
    assert all(fault.kind == "crash" and 1 <= fault.at <= 5 for fault in plan.faults)


def test_the_simplest_plan_is_that_nothing_happens():
    assert find(cst.fault_plans(), lambda plan: True, settings=_FIXED) == FaultPlan()
    assert find(st.from_type(FaultPlan), lambda plan: True, settings=_FIXED) == FaultPlan()


@pytest.mark.parametrize("kind", ["crash", "pause", "partition"])
def test_a_plan_shrinks_to_the_one_fault_that_matters(kind: str):
    plan = find(
        cst.fault_plans(),
        lambda plan: any(fault.kind == kind and len(plan.faults) >= 1 for fault in plan.faults),
        settings=_FIXED,
    )
    (fault,) = plan.faults
    assert (fault.kind, fault.seconds) == (kind, 0.001)
    assert fault.at == (0.1 if kind == "partition" else 1)


def test_the_crash_that_loses_an_unsynced_write_is_found():
    def is_lost(plan: FaultPlan) -> bool:
        async def shop(agent: SimulatedAgent) -> Any:
            told = agent.storage.get("told")
            if told is None and agent.now() < 0.5:
                agent.storage.put("told", True)
                await agent.session.sleep(1)
                await agent.storage.sync()
                return True
            return told

        return run_session(agents={"shop": shop}, schedule=plan).results["shop"] is None

    plan = find(cst.fault_plans(["shop"], kinds=["crash"]), is_lost, settings=_FIXED)
    (fault,) = plan.faults
    assert fault.kind == "crash"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kinds": ["crush"]}, r"unknown kind of fault 'crush': did you mean 'crash'\?"),
        ({"kinds": "crash"}, "kinds must be a list"),
        ({"most": 0}, "most must be a whole number from 1 up"),
        ({"steps": 1.5}, "steps must be a whole number from 1 up"),
        ({"agents": 0}, "at least one agent"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        cst.fault_plans(**arguments)
