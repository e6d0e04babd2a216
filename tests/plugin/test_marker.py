"""The marker: where it may stand, how markers combine, and how a bad one is refused at collection."""

import pytest

from tests.plugin.conftest import RunSuite

_SHOW = """
def test_shown(convergence_session):
    options = convergence_session.options
    assert (list(convergence_session.agents), options.get("network"), options.get("timeout")) == {expected}
"""


def test_it_is_registered(run_suite: RunSuite) -> None:
    result = run_suite(
        "@pytest.mark.convergence(agents=1)\ndef test_it(convergence_session): pass", "--strict-markers"
    )
    result.assert_outcomes(passed=1)
    run_suite("", "--markers").stdout.fnmatch_lines(["@pytest.mark.convergence(*pattern*agents*"])


def test_the_closest_wins_option_by_option(run_suite: RunSuite) -> None:
    run_suite("""
pytestmark = pytest.mark.convergence(agents=["of", "module"], network="lan", timeout=100)

@pytest.mark.convergence(network="wan", timeout=50)
class TestIt:
    @pytest.mark.convergence(timeout=25)
    def test_shown(self, convergence_session):
        options = convergence_session.options
        assert list(convergence_session.agents) == ["of", "module"]
        assert options.get("network") == "wan"
        assert options.get("timeout") == 25
""").assert_outcomes(passed=1)


def test_it_works_on_a_parameter(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=2)
@pytest.mark.parametrize("agents", [2, pytest.param(5, marks=pytest.mark.convergence(agents=5))])
def test_shown(convergence_session, agents):
    assert len(convergence_session.agents) == agents
""").assert_outcomes(passed=2)


def test_node_ids_stay_as_they_were(run_suite: RunSuite) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=2, schedules=7)
@pytest.mark.parametrize("size", [1, 2])
def test_plain(convergence_session, size): pass

@pytest.mark.convergence(agents=2)
async def test_async(convergence_session): pass
""",
        "--collect-only",
        "-q",
    )
    assert result.outlines[:3] == [
        "test_suite.py::test_plain[1]",
        "test_suite.py::test_plain[2]",
        "test_suite.py::test_async",
    ]


_BAD = """
@pytest.mark.convergence(agents=2, netwrk="lan")
def test_option(convergence_session): pass

@pytest.mark.convergence(agents=2, network="losy")
def test_profile(convergence_session): pass

@pytest.mark.convergence(pattern="consensos", agents=2)
def test_pattern(convergence_session): pass

@pytest.mark.convergence(agents=2, faults=["crsh"])
def test_fault(convergence_session): pass

@pytest.mark.convergence(agents=2, resolve="last-wrote")
def test_strategy(convergence_session): pass

@pytest.mark.convergence(agents=0)
def test_zero_agents(convergence_session): pass

@pytest.mark.convergence(agents=["a", "a"])
def test_duplicate_agents(convergence_session): pass

@pytest.mark.convergence(agents={"a": lambda agent: None})
def test_behaviour(convergence_session): pass

@pytest.mark.convergence(agents=2, timeout=-1)
def test_time(convergence_session): pass

@pytest.mark.convergence(agents=2, sync="crtd")
def test_sync(convergence_session): pass

@pytest.mark.convergence(agents=2, explore="exhaustive", faults=["reorder", "partition"])
def test_explore(convergence_session): pass

@pytest.mark.convergence(agents=2, schedules=0)
def test_schedules(convergence_session): pass

@pytest.mark.convergence("consensus", agents=2)
def test_positional(convergence_session): pass

@pytest.mark.convergence(agents=2, goal="win")
def test_factory_only(convergence_session): pass

def test_good(): pass
"""
_SAID = [
    "*bad use of the marker 'convergence':*",
    "*::test_option: unknown option 'netwrk': did you mean 'network'?*",
    "*::test_profile: unknown network profile 'losy': did you mean 'lossy'?*",
    "*::test_pattern: unknown pattern 'consensos': did you mean 'consensus'?*",
    "*::test_fault: unknown fault 'crsh': did you mean 'crash'?*",
    "*::test_strategy: *'last-wrote'*'last-write'*",
    "*::test_zero_agents: agents=0*",
    "*::test_duplicate_agents: the agent 'a' is named twice*",
    "*::test_behaviour: the behaviour of agent 'a'*is not a coroutine function*",
    "*::test_time: timeout must be*-1*",
    "*::test_sync: unknown sync strategy 'crtd': did you mean 'crdt'?*",
    "*::test_explore: faults=*'partition'*: explore='exhaustive' goes through the orders of messages*",
    "*::test_schedules: schedules must be a whole number >= 1, not 0*",
    "*::test_positional: the marker takes keywords only, not 'consensus'*",
    "*::test_factory_only: 'goal' is no option of the marker*",
]


@pytest.mark.parametrize("arguments", [(), ("--collect-only",)], ids=["run", "collect-only"])
def test_all_bad_markers_are_listed_at_once(run_suite: RunSuite, arguments: tuple[str, ...]) -> None:
    result = run_suite(_BAD, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(_SAID)
    assert "test_good" not in result.stderr.str()


def test_a_bad_marker_that_is_not_selected_hurts_nobody(run_suite: RunSuite) -> None:
    run_suite(_BAD, "-k", "test_good").assert_outcomes(passed=1, deselected=14)


def test_a_method_of_a_unittest_class_cannot_be_repeated(run_suite: RunSuite) -> None:
    result = run_suite("""
import unittest

class TestOld(unittest.TestCase):
    @pytest.mark.convergence(schedules=2)
    def test_it(self): pass
""")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*schedules=2: only test functions and methods of plain classes*"])


def test_without_the_plugin_nothing_of_it_is_there(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(
        *("-p", "no:convergence"), *("-p", "no:asyncio"), *("-p", "no:anyio"), "--fixtures"
    )
    assert "convergence_session" not in result.stdout.str()
    assert "convergence:" not in result.stdout.str()
