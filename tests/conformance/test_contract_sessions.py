"""Section 1 of the usage contract in words: fixtures, options, seeds, and what ``run`` returns and raises."""

import asyncio

import pytest

import pytest_convergence
from pytest_convergence import (
    AgentError,
    BudgetExceeded,
    ConvergenceEngine,
    ConvergenceUsageError,
    DeadlockError,
    Network,
    PropertyViolation,
    SessionState,
)


async def idle(agent):
    async for _ in agent.inbox:
        pass


async def fail(agent):
    raise LookupError("no such plan")


async def lonely(agent):
    await agent.receive()


def test_every_public_name_is_importable_from_the_package():
    for name in pytest_convergence.__all__:
        assert getattr(pytest_convergence, name) is not None


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Consensuss"):
        pytest_convergence.Consensuss  # noqa: B018 - the access is the test


# -- fixtures ----------------------------------------------------------------------------------------------------------


def test_the_engine_fixture_is_a_fresh_engine(convergence_engine):
    assert isinstance(convergence_engine, ConvergenceEngine)
    assert convergence_engine.stats().total_sessions == 0


@pytest.mark.convergence(agents=["planner", "coder"])
def test_simulated_agents_are_a_read_only_mapping_of_the_session(convergence_session, simulated_agents):
    assert simulated_agents is convergence_session.agents
    assert list(simulated_agents) == ["planner", "coder"]
    with pytest.raises(TypeError):
        simulated_agents["tester"] = simulated_agents["coder"]


@pytest.mark.convergence(agents=["planner", "coder"], seed=11)
def test_sessions_of_the_factory_take_the_options_of_the_marker_as_defaults(convergence_session_factory):
    assert list(convergence_session_factory().agents) == ["planner", "coder"]
    assert convergence_session_factory().seed == 11
    assert list(convergence_session_factory(agents=1).agents) == ["agent-1"]


def test_an_engine_needs_no_arguments_and_no_pytest():
    session = ConvergenceEngine().create_session("alone", agents=2)
    assert session.run().converged


# -- options -----------------------------------------------------------------------------------------------------------


def test_agents_may_be_a_number_names_or_a_mapping_to_behaviours(convergence_engine):
    create = convergence_engine.create_session
    assert list(create("number", agents=3).agents) == ["agent-1", "agent-2", "agent-3"]
    assert list(create("names", agents=["b", "a"]).agents) == ["b", "a"]
    assert list(create("mapping", agents={"one": idle, "two": None}).agents) == ["one", "two"]


def test_agents_default_to_none(convergence_engine):
    session = convergence_engine.create_session("hosts alone")
    assert dict(session.agents) == {}
    assert session.run().converged


@pytest.mark.parametrize("agents", [0, [], {}])
def test_no_agents_at_all_is_an_error_when_it_is_said_explicitly(convergence_engine, agents):
    with pytest.raises(ConvergenceUsageError, match="at least one agent; leave agents out for none"):
        convergence_engine.create_session("empty", agents=agents)


def test_a_pattern_without_agents_is_an_error(convergence_engine):
    with pytest.raises(ConvergenceUsageError, match="'consensus' needs agents"):
        convergence_engine.create_session("empty", pattern="consensus")


def test_the_default_network_is_perfect(convergence_engine):
    session = convergence_engine.create_session("default", agents=2)
    assert session.options.get("network") == "perfect"


def test_the_default_timeout_is_a_virtual_day(convergence_engine):
    assert convergence_engine.create_session("default", agents=2).options.get("timeout") == 86_400


@pytest.mark.parametrize("trace", [True, 100])
def test_the_trace_is_recorded_unless_it_is_off(convergence_engine, trace):
    outcome = convergence_engine.create_session("traced", agents={"a": idle}, trace=trace).run()
    assert len(outcome.trace) > 0


def test_a_trace_that_is_off_records_nothing(convergence_engine):
    outcome = convergence_engine.create_session("untraced", agents={"a": idle}, trace=False).run()
    assert len(outcome.trace) == 0


def test_a_schedule_can_be_given_to_the_engine(convergence_engine):
    from pytest_convergence import Schedule

    session = convergence_engine.create_session("given", agents=2, schedule=Schedule.seeded(5))
    assert session.schedule == Schedule.seeded(5)


def test_states_set_what_each_replica_starts_with(convergence_engine):
    states = {"a": {"title": "mine"}, "b": {"owner": "b"}}
    session = convergence_engine.create_session("states", agents=["a", "b"], states=states)
    outcome = session.run()
    assert outcome.converged
    assert session.agents["a"].state.as_dict() == {"title": "mine", "owner": "b"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("explore", "exaustive", "unknown explore strategy 'exaustive': did you mean 'exhaustive'"),
        ("resolve", "votin", "'voting'"),
        ("schedule", "some-token", "'some-token' is no token of a schedule"),
    ],
)
def test_what_is_to_come_is_rejected_by_name(convergence_engine, option, value, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        convergence_engine.create_session("later", agents=2, **{option: value})


# -- seeds -------------------------------------------------------------------------------------------------------------


def test_a_session_without_a_seed_is_calm_if_network_and_faults_are_harmless(convergence_engine):
    session = convergence_engine.create_session("calm", agents=2)
    assert session.schedule.is_calm
    assert session.seed is None


@pytest.mark.parametrize("options", [{"network": "lossy"}, {"network": "lan"}, {"faults": ["crash"]}])
def test_a_session_that_may_deviate_has_a_seed_even_if_none_was_given(convergence_engine, options):
    session = convergence_engine.create_session("stormy", agents=2, **options)
    assert session.schedule.kind == "seeded"
    assert isinstance(session.seed, int)


@pytest.mark.convergence(agents=2, network="lossy")
def test_the_seed_derives_from_the_node_id(convergence_session, convergence_session_factory):
    assert convergence_session.seed == convergence_session_factory().seed


@pytest.mark.convergence(agents=2, network="lossy")
def test_another_node_id_gives_another_seed(convergence_session_factory, convergence_engine):
    assert (
        convergence_session_factory().seed
        != convergence_engine.create_session("other", agents=2, network="lan").seed
    )


@pytest.mark.convergence(agents=2, seed=7)
def test_a_seed_that_was_given_is_the_one_that_is_used(convergence_session):
    assert convergence_session.seed == 7
    assert convergence_session.run().schedule.seed == 7


# -- run ---------------------------------------------------------------------------------------------------------------


@pytest.mark.convergence(agents=2)
def test_a_second_run_of_a_session_is_an_error(convergence_session):
    convergence_session.run()
    with pytest.raises(ConvergenceUsageError, match="has run already; a session runs once"):
        convergence_session.run()


@pytest.mark.convergence(agents={"a": fail})
def test_a_session_that_failed_cannot_run_again_either(convergence_session):
    with pytest.raises(AgentError):
        convergence_session.run()
    with pytest.raises(ConvergenceUsageError, match="has run already"):
        convergence_session.run()


@pytest.mark.convergence(agents=2)
async def test_run_inside_a_running_loop_says_what_to_write_instead(convergence_session):
    with pytest.raises(ConvergenceUsageError, match=r"await session\.execute"):
        convergence_session.run()
    assert (await convergence_session.execute()).converged


def test_execute_outside_the_simulated_loop_says_what_to_do(convergence_engine):
    session = convergence_engine.create_session("elsewhere", agents=2)
    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        pytest.raises(ConvergenceUsageError, match="needs the simulated loop"),
    ):
        runner.run(session.execute())


@pytest.mark.convergence(agents=["a", "b"])
def test_a_scenario_is_given_the_session(convergence_session):
    async def scenario(session):
        return session

    assert convergence_session.run(scenario).output is convergence_session


@pytest.mark.convergence(agents=2)
def test_run_takes_a_timeout_in_virtual_seconds(convergence_session):
    async def scenario(session):
        await session.sleep(100)

    with pytest.raises(BudgetExceeded) as caught:
        convergence_session.run(scenario, timeout=10)
    assert caught.value.outcome.metrics.virtual_seconds == pytest.approx(10, abs=0.1)


@pytest.mark.convergence(pattern="consensus", agents=["a", "b"])
def test_run_returns_a_diverged_outcome_and_does_not_raise(convergence_session):
    outcome = convergence_session.run(proposals={"a": "A", "b": "B"})
    assert not outcome.converged
    assert outcome.state is SessionState.DIVERGED
    assert outcome.reasons


@pytest.mark.convergence(agents={"planner": fail, "coder": idle})
def test_an_agent_error_names_the_agent_and_keeps_the_original(convergence_session):
    with pytest.raises(AgentError, match="planner.*no such plan") as caught:
        convergence_session.run()
    assert caught.value.agent == "planner"
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.outcome is convergence_session.outcome
    assert caught.value.outcome.state is SessionState.FAILED


@pytest.mark.convergence(agents={"a": idle})
def test_a_property_violation_is_an_assertion_error_with_an_outcome(convergence_session):
    convergence_session.always("never later than now", lambda session: False)
    with pytest.raises(AssertionError, match="never later than now") as caught:
        convergence_session.run()
    assert isinstance(caught.value, PropertyViolation)
    assert [violation.property for violation in caught.value.outcome.violations] == ["never later than now"]


@pytest.mark.convergence(agents={"a": lonely})
def test_a_deadlock_error_has_an_outcome(convergence_session):
    with pytest.raises(DeadlockError) as caught:
        convergence_session.run()
    assert caught.value.outcome.state is SessionState.FAILED


@pytest.mark.convergence(agents={"a": idle}, max_events=3)
def test_a_budget_that_is_exceeded_has_an_outcome(convergence_session):
    async def scenario(session):
        while True:
            await session.sleep(1)

    with pytest.raises(BudgetExceeded, match="max_events") as caught:
        convergence_session.run(scenario)
    assert caught.value.outcome.state is SessionState.FAILED


@pytest.mark.convergence(agents=["a", "b"], network=Network(latency=(0.001, 0.05), loss=0.1, duplicate=0.05))
def test_a_network_may_be_given_by_its_numbers(convergence_session):
    assert convergence_session.run().converged
