"""Searches: profiles in turn, budgets of real time, words about how far they have come, schedules shared by workers."""

import re
from typing import Any

import pytest

from tests.plugin.conftest import RunSuite

_NOISES = """
noises = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=13{more})
def test_noise(convergence_session):
    noises.append(convergence_session.schedule.noise)
    convergence_session.run()

def test_afterwards():
    print(noises)
    assert {expected}
"""


def test_the_first_schedule_is_as_without_a_search_and_then_profiles_take_turns(run_suite: RunSuite) -> None:
    expected = "noises[0] == 'uniform' and set(noises) == set(ROTATION) and noises[1:7] == noises[7:13]"
    source = "from pytest_convergence._engine.base.noise import ROTATION\n" + _NOISES
    run_suite(source.format(more="", expected=expected)).assert_outcomes(passed=2)


@pytest.mark.parametrize("more", [', noise="swarm"', ', explore="pct"'])
def test_one_profile_may_be_asked_for(run_suite: RunSuite, more: str) -> None:
    expected = "set(noises[1:]) == {" + ("'swarm'" if "swarm" in more else "'pct'") + "}"
    run_suite(_NOISES.format(more=more, expected=expected)).assert_outcomes(passed=2)


def test_the_command_line_sets_network_and_noise(run_suite: RunSuite) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=PAIR)
def test_both(convergence_session):
    assert convergence_session.schedule.noise == "heavy-tail"
    assert convergence_session.options.get("network") == "flaky"
""",
        "--convergence-profile=flaky,heavy-tail",
    )
    result.assert_outcomes(passed=1)


def test_an_unknown_profile_of_noise_names_the_nearest(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, noise="leader-targets")
def test_noise(convergence_session): pass
""")
    result.stderr.fnmatch_lines(["*unknown noise profile 'leader-targets': did you mean 'leader-target'?*"])


def test_a_longer_search_branches_off_from_what_it_has_met(run_suite: RunSuite) -> None:
    source = """
branched = []

async def chatty(agent):
    for number in range(5):
        agent.observe("progress", number=number)
        await asyncio.sleep(agent.random.random())

@pytest.mark.convergence(agents={"a": chatty, "b": chatty}, network="lossy", faults=["crash"], schedules=90)
def test_learning(convergence_session):
    convergence_session.run()
    branched.append(bool(convergence_session.schedule.branches))

def test_afterwards():
    assert not any(branched[:24])
    assert 20 <= sum(branched) <= 30
"""
    run_suite(source).assert_outcomes(passed=2)


def test_time_alone_may_end_a_search(run_suite: RunSuite) -> None:
    result = run_suite("""
count = []

@pytest.mark.convergence(agents=PAIR, network="lan", search_seconds=0.2)
def test_seconds(convergence_session):
    count.append(1)
    convergence_session.run()

def test_afterwards():
    assert len(count) > 1
""")
    result.assert_outcomes(passed=2)


def test_search_seconds_must_be_some(run_suite: RunSuite) -> None:
    result = run_suite("def test_nothing(): pass", "--convergence-search-seconds=0")
    result.stderr.fnmatch_lines(["*more than 0 seconds are needed, not '0'*"])


def test_a_long_search_says_how_far_it_has_come_less_and_less_often(run_suite: RunSuite) -> None:
    result = run_suite(
        """
import itertools
import pytest_convergence._pytest.body as body
from pytest_convergence._pytest.exploring import Exploration

@pytest.fixture(autouse=True)
def slow_clock(monkeypatch):
    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr(body, "Exploration", lambda item, running: Exploration(item, running, now=clock.__next__))

@pytest.mark.convergence(agents=PAIR, network="lan", schedules=100)
def test_long(convergence_session):
    convergence_session.run()
"""
    )
    result.assert_outcomes(passed=1)
    said = re.findall(r"test_long: (\d+) of 100 schedules in (\d+) s, 1 a second", result.stdout.str())
    assert said == [("10", "10"), ("20", "20"), ("40", "40"), ("80", "80")]


_SPREAD = """
import pathlib
HERE = pathlib.Path(__file__).parent

def note(name, worker_id):
    with open(HERE / f"{name}.txt", "a") as file:
        file.write(worker_id + "\\n")

@pytest.mark.parametrize("number", range(6))
def test_plain(number, worker_id):
    note(f"plain-{number}", worker_id)

@pytest.mark.convergence(agents=PAIR, network="lan", schedules=10)
def test_spread(convergence_session, worker_id):
    note("spread", worker_id)
    note(f"seed-{convergence_session.seed}", worker_id)
    convergence_session.run()
"""


def test_workers_share_the_schedules_of_a_test_and_no_other(run_suite: RunSuite, pytester: Any) -> None:
    pytest.importorskip("xdist")
    result = run_suite(_SPREAD, "-p", "xdist", "-n2", "--convergence-spread")
    result.assert_outcomes(passed=6 + 2)
    result.stdout.fnmatch_lines(["10 schedules explored*"])
    ran = sorted((pytester.path / "spread.txt").read_text().split())
    assert ran == ["gw0"] * 5 + ["gw1"] * 5
    assert len(list(pytester.path.glob("seed-*.txt"))) == 10
    assert all(len(path.read_text().split()) == 1 for path in pytester.path.glob("plain-*.txt"))


def test_the_first_failure_stops_the_other_workers(run_suite: RunSuite) -> None:
    pytest.importorskip("xdist")
    result = run_suite(
        """
@pytest.mark.convergence(agents=PAIR, network="lan", schedules=100_000, real_timeout=None)
def test_found(convergence_session, worker_id):
    convergence_session.run()
    assert worker_id == "gw1"
""",
        "-p",
        "xdist",
        "-n2",
        "--convergence-spread",
        "-rs",
    )
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*another worker has found a schedule under which this test fails*"])


def test_without_workers_there_is_nobody_to_share_with(run_suite: RunSuite) -> None:
    result = run_suite("def test_nothing(): pass", "--convergence-spread")
    result.stderr.fnmatch_lines(["*--convergence-spread lets the workers of pytest-xdist share*-n 2*"])
