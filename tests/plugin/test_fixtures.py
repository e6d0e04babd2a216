"""The fixtures: what they give, and to which test it belongs."""

import pytest

from tests.plugin.conftest import RunSuite


def test_the_session_is_the_one_that_the_marker_describes(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=PAIR)
def test_request_and_reply(convergence_session):
    outcome = convergence_session.run()
    assert outcome.results["client"] == "HELLO"
    assert outcome.duration >= 30
    assert convergence_session.name == "test_request_and_reply"
""").assert_outcomes(passed=1)


def test_the_agents_are_a_read_only_mapping(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=["a", "b"])
def test_agents(convergence_session, simulated_agents):
    assert simulated_agents is convergence_session.agents
    assert [agent.name for agent in simulated_agents.values()] == ["a", "b"]
    with pytest.raises(TypeError):
        simulated_agents["c"] = None
""").assert_outcomes(passed=1)


def test_without_a_marker_a_session_has_no_agents_yet(run_suite: RunSuite) -> None:
    run_suite("""
def test_empty(convergence_session):
    assert dict(convergence_session.agents) == {}
    assert convergence_session.run().converged
""").assert_outcomes(passed=1)


def test_each_test_gets_an_engine_of_its_own(run_suite: RunSuite) -> None:
    run_suite("""
engines = []

@pytest.mark.parametrize("number", [1, 2])
def test_engine(convergence_engine, number):
    assert convergence_engine not in engines
    engines.append(convergence_engine)
    session = convergence_engine.create_session("one", agents=PAIR)
    assert convergence_engine.run(session).results["client"] == "HELLO"
    assert convergence_engine.stats().total_sessions == 1
""").assert_outcomes(passed=2)


def test_sessions_of_the_engine_take_the_options_of_the_marker(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=3, seed=11)
def test_defaults(convergence_engine):
    session = convergence_engine.create_session("one")
    assert len(session.agents) == 3 and session.seed == 11
    assert len(convergence_engine.create_session("two", agents=2).agents) == 2
""").assert_outcomes(passed=1)


def test_sessions_of_the_factory_belong_to_the_test_that_runs(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.fixture(scope="session")
def make(convergence_session_factory):
    return convergence_session_factory

@pytest.mark.convergence(agents=["first"])
def test_first(make):
    assert list(make().agents) == ["first"]

@pytest.mark.convergence(agents=["second"], network="lossy")
def test_second(make):
    assert list(make().agents) == ["second"]
    assert list(make(agents=["other"]).agents) == ["other"]
    assert make(network="perfect").seed is None
    assert make(name="mine").name == "mine"

def test_unmarked(make):
    assert dict(make().agents) == {}
""").assert_outcomes(passed=3)


def test_a_wrong_option_of_the_factory_is_named(run_suite: RunSuite) -> None:
    result = run_suite("""
def test_wrong(convergence_session_factory):
    convergence_session_factory(agnts=3)
""")
    result.stdout.fnmatch_lines(["E *ConvergenceUsageError: unknown option 'agnts': did you mean 'agents'?*"])


def test_fixtures_can_be_asked_for_by_name(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.parametrize("fixture", ["convergence_session_factory", "convergence_engine", "convergence_session"])
def test_dynamic(request, fixture):
    given = request.getfixturevalue(fixture)
    if fixture == "convergence_session_factory":
        assert given(agents=PAIR).run().converged
""").assert_outcomes(passed=3)


def test_without_a_seed_a_noisy_session_has_one_of_its_own_for_each_test(run_suite: RunSuite) -> None:
    run_suite("""
seeds = set()

@pytest.mark.convergence(agents=2, network="lossy")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_seed(convergence_session, number):
    assert convergence_session.seed is not None
    seeds.add(convergence_session.seed)
    assert len(seeds) == number

@pytest.mark.convergence(agents=2)
def test_calm(convergence_session):
    assert convergence_session.seed is None
""").assert_outcomes(passed=4)


def test_no_fixture_is_used_by_itself(run_suite: RunSuite) -> None:
    result = run_suite("def test_idle(request): assert request.fixturenames == ['request']")
    result.assert_outcomes(passed=1)


def test_a_finished_session_is_told_to_the_hook(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
def pytest_convergence_session_finished(item, session, outcome):
    item.user_properties.append(("seen", (session.name, outcome.converged)))
""")
    run_suite("""
@pytest.mark.convergence(agents=PAIR)
def test_hook(convergence_session, request):
    convergence_session.run()
    assert ("seen", ("test_hook", True)) in request.node.user_properties
""").assert_outcomes(passed=1)
