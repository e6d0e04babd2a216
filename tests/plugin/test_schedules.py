"""``schedules=N``: the body runs under N derived seeds, each in a fresh session, until one fails."""

import re

import pytest

from pytest_convergence._pytest.running_test import derive_seed
from tests.plugin.conftest import RunSuite


def test_each_schedule_has_a_session_and_a_seed_of_its_own(run_suite: RunSuite) -> None:
    run_suite("""
seen = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=20)
def test_seeds(convergence_session):
    seen.append((convergence_session, convergence_session.seed))
    convergence_session.run()

def test_afterwards():
    assert len({session for session, _ in seen}) == len({seed for _, seed in seen}) == 20
""").assert_outcomes(passed=2)


def test_the_first_schedule_is_the_one_that_runs_without_schedules(run_suite: RunSuite) -> None:
    run_suite("""
seen = []

@pytest.mark.convergence(agents=2, schedules=3)
def test_calm_first(convergence_session):
    seen.append(convergence_session.seed)

@pytest.mark.convergence(agents=2, schedules=3, seed=7)
def test_the_seed_first(convergence_session):
    seen.append(convergence_session.seed)

def test_afterwards():
    assert seen[0] is None and seen[3] == 7
    assert None not in seen[1:]
""").assert_outcomes(passed=3)


def test_seeds_derive_from_node_id_base_seed_and_number() -> None:
    seeds = {
        derive_seed(nodeid, base, index) for nodeid in "ab" for base in (None, 0, 1) for index in range(5)
    }
    assert len(seeds) == 2 * 3 * 5
    assert derive_seed("test_a.py::test_b", 7, 3) == 274759427


_FRAGILE = """
tries = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=100)
def test_fragile(convergence_session):
    tries.append(convergence_session.seed)
    outcome = convergence_session.run()
    assert outcome.metrics.lost < 2

def test_afterwards():
    assert len(tries) < 100
"""


def test_the_first_failure_ends_it_and_says_how_to_run_it_again(run_suite: RunSuite) -> None:
    result = run_suite(_FRAGILE)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- convergence counterexample -*",
            "It takes 2 deviations from the calm schedule:",
            "test_fragile: converged after * of virtual time*",
            "Found by schedule * of 100: seed *; shrunk from * to 2 deviations in * runs, * s.",
            "run it again: pytest test_suite.py::test_fragile --convergence-replay=c1-*",
            "*unreduced: pytest test_suite.py::test_fragile --convergence-seed=* --convergence-schedules=1*",
        ]
    )


def test_the_printed_command_fails_in_the_same_way(run_suite: RunSuite) -> None:
    first = run_suite(_FRAGILE)
    command = re.search(r"run it again: pytest \S+ (.*)", first.stdout.str())
    assert command is not None
    again = run_suite(_FRAGILE, *command[1].split(), "-k", "fragile")
    again.assert_outcomes(failed=1, deselected=1)
    told = first.outlines[first.outlines.index("What happened:") :]
    assert (
        told[: told.index("")] == again.outlines[again.outlines.index("What happened:") :][: told.index("")]
    )


def test_the_unreduced_schedule_can_be_run_again_too(run_suite: RunSuite) -> None:
    command = re.search(r"unreduced: pytest \S+ (.*)", run_suite(_FRAGILE).stdout.str())
    assert command is not None
    run_suite(_FRAGILE, *command[1].split(), "-k", "fragile").assert_outcomes(failed=1, deselected=1)


def test_fixtures_made_from_the_session_are_renewed_and_others_stay(run_suite: RunSuite) -> None:
    run_suite("""
log = []

@pytest.fixture
def cluster(convergence_session):
    log.append("cluster")
    yield convergence_session
    log.append("end of cluster")

@pytest.fixture
def clients(cluster, tmp_path):
    log.append("clients")
    return cluster

@pytest.fixture
def disk():
    log.append("disk")
    yield
    log.append("end of disk")

@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_three_times(disk, clients, cluster, simulated_agents, convergence_session):
    assert clients is cluster is convergence_session
    assert simulated_agents is convergence_session.agents
    convergence_session.run()

def test_afterwards():
    assert log == ["disk", *3 * ["cluster", "clients", "end of cluster"], "end of disk"]
""").assert_outcomes(passed=2)


def test_a_fixture_put_in_place_of_ours_is_finished_and_set_up_for_each_run(run_suite: RunSuite) -> None:
    run_suite("""
log = []

@pytest.fixture
def convergence_session(convergence_session):
    log.append("begin")
    yield convergence_session
    log.append("end")

@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_three_times(convergence_session, simulated_agents):
    assert simulated_agents is convergence_session.agents
    log.append("run")
    convergence_session.run()

def test_afterwards():
    assert log == 3 * ["begin", "run", "end"]
""").assert_outcomes(passed=2)


@pytest.mark.parametrize(("fixtures", "set_ups"), [("", 1), ("cluster, ", 4)], ids=["ours alone", "theirs"])
def test_a_test_with_fixtures_of_ours_alone_is_set_up_once_for_all_its_runs(
    run_suite: RunSuite, fixtures: str, set_ups: int
) -> None:
    run_suite(f"""
runs = []

@pytest.fixture
def cluster(convergence_session):
    return convergence_session

@pytest.fixture(autouse=True)
def counted(request, monkeypatch):
    item, setup = request.node, type(request.node).setup
    item.set_ups = 1
    def again():
        item.set_ups += 1
        setup(item)
    monkeypatch.setattr(item, "setup", again)

@pytest.mark.convergence(agents=PAIR, schedules=4)
def test_four_times({fixtures}convergence_session, request):
    convergence_session.run()
    runs.append((convergence_session, request.node.set_ups))

def test_afterwards():
    assert len({{id(session) for session, _ in runs}}) == 4
    assert runs[-1][1] == {set_ups}
""").assert_outcomes(passed=2)


def test_the_engine_is_renewed(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=5)
def test_engine(convergence_engine):
    session = convergence_engine.create_session("always the same name")
    assert convergence_engine.run(session).converged
""").assert_outcomes(passed=1)


def test_sessions_of_the_factory_follow_the_schedule(run_suite: RunSuite) -> None:
    run_suite("""
seeds = []

@pytest.mark.convergence(agents=PAIR, schedules=4)
def test_factory(convergence_session_factory):
    seeds.append(convergence_session_factory().seed)

def test_afterwards():
    assert len(set(seeds)) == 4
""").assert_outcomes(passed=2)


def test_a_fixture_that_is_asked_for_by_name_is_renewed(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_dynamic(request):
    request.getfixturevalue("convergence_session").run()
""").assert_outcomes(passed=1)


def test_methods_and_parameters_are_repeated_too(run_suite: RunSuite) -> None:
    run_suite("""
runs = []

@pytest.mark.convergence(agents=PAIR, schedules=3)
class TestIt:
    @pytest.fixture(params=["x", "y"])
    def letter(self, request, convergence_session):
        return request.param

    @pytest.mark.parametrize("number", [1, 2])
    def test_method(self, convergence_session, number, letter):
        convergence_session.run()
        runs.append((letter, number))

def test_afterwards():
    assert sorted(runs) == sorted([(letter, number) for letter in "xy" for number in (1, 2)] * 3)
""").assert_outcomes(passed=5)


def test_a_skip_in_the_body_skips_the_test(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_skip(convergence_session):
    pytest.skip("not today")
""")
    result.assert_outcomes(skipped=1)


def test_a_test_that_returns_something_is_warned_of(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_returns(convergence_session):
    return 1
""")
    result.stdout.fnmatch_lines(["*PytestReturnNotNoneWarning: *test_returns returned <class 'int'>*"])


def test_an_error_when_fixtures_are_renewed_fails_the_test(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture
def fragile(convergence_session):
    yield
    raise RuntimeError("cannot be torn down")

@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_it(fragile): pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RuntimeError: cannot be torn down"])


def test_the_rerun_line_names_the_profile_of_the_command_line(run_suite: RunSuite) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=PAIR)
def test_fails(convergence_session):
    convergence_session.run()
    assert False
""",
        "--convergence-profile=lossy",
    )
    result.stdout.fnmatch_lines(["*unreduced: pytest *--convergence-seed=* --convergence-profile=lossy"])


def test_a_calm_failure_names_no_seed(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR)
def test_fails(convergence_session):
    convergence_session.run()
    assert False
""")
    result.stdout.fnmatch_lines(["calm", "test_fails: converged after *"])
    assert "run it again" not in result.stdout.str()


def test_a_failure_before_any_run_has_no_section(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR)
def test_fails(convergence_session):
    assert False
""")
    result.assert_outcomes(failed=1)
    assert "- convergence -" not in result.stdout.str()


@pytest.mark.parametrize("schedules", [1, 3])
def test_a_test_that_runs_again_after_a_failure_starts_anew(
    run_suite: RunSuite, pytester: pytest.Pytester, schedules: int
) -> None:
    # What a plugin for flaky tests does: the same item once more.
    pytester.makeconftest("""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for attempt in range(2):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    run_suite(f"""
@pytest.mark.convergence(agents=PAIR, schedules={schedules})
def test_again(convergence_session):
    convergence_session.run()
""").assert_outcomes(passed=2)
