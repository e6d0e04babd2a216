"""A search of 200 schedules beside parameters, classes, async bodies, fixtures of each scope, and other plugins."""

import re
from xml.etree import ElementTree

import pytest

from pytest_convergence._pytest.running_test import derive_seed
from tests.plugin.conftest import AGENTS

_SUITE = """
scopes = {"session": 0, "module": 0, "class": 0, "function": 0}

def counted(scope):
    @pytest.fixture(scope=scope)
    def fixture():
        scopes[scope] += 1
        return scopes[scope]
    return fixture

per_session, per_module, per_class, per_function = map(counted, scopes)

@pytest.fixture
def agents_by_name(convergence_session, per_function):
    return dict(convergence_session.agents)

async def noisy(agent):
    for number in range(3):
        await agent.send(agent.peers[0], number)
        await asyncio.sleep(0.1)

TWO = {"a": noisy, "b": noisy}
MARK = pytest.mark.convergence(agents=TWO, network="lossy", schedules=200)

@MARK
class TestMany:
    @pytest.mark.parametrize("number", [1, 2])
    def test_plain(self, number, convergence_session, agents_by_name, per_session, per_module, per_class, per_function):
        assert agents_by_name["a"] is convergence_session.agents["a"]
        convergence_session.run()

    async def test_async(self, convergence_session, per_class):
        assert (await convergence_session.execute()).converged

@pytest.mark.convergence(agents=TWO, network="lossy", schedules=200)
def test_losing(convergence_session):
    assert convergence_session.run().metrics.lost < 3

def test_scopes():
    assert scopes["session"] <= 1 and scopes["module"] <= 1 and scopes["class"] <= 1 and scopes["function"] <= 2
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_suite=AGENTS + _SUITE)
    return pytester


def _run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("-p", "convergence", *arguments)


def _found_by(result: pytest.RunResult) -> list[str]:
    return re.findall(r"Found by (schedule \d+ of 200: seed \d+[^;]*)", result.stdout.str())


@pytest.mark.parametrize("plugin", ["none", "xdist", "randomly"])
def test_the_same_schedules_are_explored_and_the_same_one_is_found(
    suite: pytest.Pytester, plugin: str
) -> None:
    arguments = {
        "none": [],
        "xdist": ["-p", "xdist", "-n2"],
        "randomly": ["-p", "randomly", "-p", "no:xdist"],
    }[plugin]
    if plugin != "none":
        pytest.importorskip("xdist" if plugin == "xdist" else "pytest_randomly")
    result = _run(suite, "--junitxml=junit.xml", *arguments)
    result.assert_outcomes(passed=4, failed=1)
    (words,) = _found_by(result)
    number, seed = map(int, re.findall(r"schedule (\d+) of 200: seed (\d+)", words)[0])
    assert seed in {derive_seed("test_suite.py::test_losing", None, index) for index in range(number)}
    cases = ElementTree.parse(suite.path / "junit.xml").iter("testcase")
    explored = {
        case.get("name"): int(value)
        for case in cases
        for each in case.iter("property")
        if each.get("name") == "convergence_schedules" and (value := each.get("value"))
    }
    assert explored == {"test_plain[1]": 200, "test_plain[2]": 200, "test_async": 200, "test_losing": number}


def test_the_last_failed_test_alone_tries_its_known_failure_first(suite: pytest.Pytester) -> None:
    _run(suite, "-p", "cacheprovider", "-k", "losing or scopes").assert_outcomes(passed=1, failed=1)
    again = _run(suite, "--lf", "-x")
    again.assert_outcomes(failed=1)
    assert "a known failure" in again.stdout.str()


def test_the_first_failure_stops_the_run_where_that_is_asked_for(suite: pytest.Pytester) -> None:
    result = _run(suite, "-x", "-k", "losing or scopes")
    result.assert_outcomes(failed=1)
    assert len(_found_by(result)) == 1
