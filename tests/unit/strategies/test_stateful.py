"""What a state machine offers besides the rules of its subclass."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from pytest_convergence import ConvergenceUsageError, Fault, FaultPlan, SimulatedAgent
from pytest_convergence import strategies as cst

rule: Any = stateful.rule
initialize: Any = stateful.initialize
invariant: Any = stateful.invariant
_FEW = settings(
    derandomize=True,
    database=None,
    max_examples=30,
    stateful_step_count=15,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Replicas(cst.ConvergenceStateMachine):
    """Three replicas that write, under every fault that machines know."""

    faults: ClassVar[Iterable[str]] = ("crash", "pause", "partition")
    seen: ClassVar[list[str]] = []

    def session_options(self) -> Mapping[str, Any]:
        return {"agents": 3, "sync": "delta", "resolve": "last-write", "network": "lan"}

    @rule(agent=cst.ConvergenceStateMachine.agents, value=st.integers(0, 3))
    def write(self, agent: SimulatedAgent, value: int) -> None:
        if agent.is_alive:
            agent.state.set("value", value)

    @invariant()
    async def the_world_is_there(self) -> None:
        await self.settle()

    def verdict(self, outcome: Any) -> None:
        super().verdict(outcome)
        self.seen += [event.kind for event in outcome.trace]


def test_a_machine_crashes_pauses_and_cuts_off_agents_and_all_is_well_in_the_end() -> None:
    Replicas.seen.clear()
    run_state_machine_as_test(Replicas, settings=_FEW)
    assert {"crash", "restart", "pause", "resume", "rule"} <= set(Replicas.seen)


def test_a_machine_without_faults_has_no_such_rules() -> None:
    class Calm(Replicas):
        faults = ()

    for name in ("crash", "pause", "partition"):
        assert not hasattr(getattr(cst.ConvergenceStateMachine, name), "hypothesis_stateful_rule")
    Replicas.seen.clear()
    run_state_machine_as_test(Calm, settings=settings(_FEW, max_examples=5))
    assert "write" not in Replicas.seen


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match="crush"):
        type("Wrong", (Replicas,), {"faults": ("crush",)})


def test_initialize_rules_run_before_the_session_and_async_ones_when_it_has_begun() -> None:
    order: list[str] = []

    class Prepared(Replicas):
        def __init__(self) -> None:
            super().__init__()
            order.clear()

        @initialize()
        def name_a_property(self) -> None:
            assert self._run is None
            self.session.always("true", lambda session: True)
            order.append("plain")

        @initialize(value=st.integers(1, 1))
        async def write_first(self, value: int) -> None:
            order.append("async")
            self.session.agents["agent-1"].state.set("value", value)

        @invariant()
        def it_was_prepared(self) -> None:
            assert sorted(order[:2]) == ["async", "plain"]
            assert [agent.state.get("value") for agent in self.session.agents.values()].count(
                1
            ) or "write" in order

        @invariant(check_during_init=True)
        def it_is_asked_early(self) -> None:
            assert self._run is not None or "async" not in order

        @rule(agent=cst.ConvergenceStateMachine.agents, value=st.integers(0, 3))
        def write(self, agent: SimulatedAgent, value: int) -> None:
            order.append("write")
            super().write(agent, value)

        def verdict(self, outcome: Any) -> None:
            judged.append(order[:2])

    judged: list[list[str]] = []
    run_state_machine_as_test(Prepared, settings=settings(_FEW, max_examples=5))
    assert ["plain", "async"] in judged


def test_an_async_initialize_rule_has_no_targets() -> None:
    async def early(self: Any) -> int:
        return 1

    with pytest.raises(ConvergenceUsageError, match="is async and has targets"):
        type("Wrong", (Replicas,), {"early": initialize(target=stateful.Bundle("numbers"))(early)})


def test_a_schedule_may_be_a_plan_of_faults() -> None:
    class Planned(Replicas):
        faults = ()
        schedules = st.just(FaultPlan((Fault.crash("agent-1", step=1, seconds=0.1),)))

        async def work(self, agent: SimulatedAgent) -> None:
            await agent.session.sleep(1)

        def session_options(self) -> Mapping[str, Any]:
            return {**super().session_options(), "agents": {"agent-1": self.work}}

    Replicas.seen.clear()
    run_state_machine_as_test(Planned, settings=settings(_FEW, max_examples=3))
    assert "crash" in Replicas.seen


def test_a_session_that_cannot_begin_says_why() -> None:
    class Wrong(Replicas):
        def inputs(self) -> Mapping[str, Any]:
            return {"proposals": {}}

    with pytest.raises(ConvergenceUsageError, match="no pattern that could take it"):
        run_state_machine_as_test(Wrong, settings=_FEW)


def test_a_test_case_runs_under_plain_unittest() -> None:
    import unittest

    case = Replicas.TestCase
    case.settings = settings(_FEW, max_examples=3)
    result = unittest.TestResult()
    case("runTest").run(result)
    assert result.wasSuccessful(), result.failures
