"""Under xdist: workers count, the controller merges and prints, once."""

import pytest

from tests.plugin.conftest import AGENTS

pytest.importorskip("xdist")

_SUITE = """
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=5)
@pytest.mark.parametrize("number", range(8))
def test_pair(convergence_session, number):
    convergence_session.run()

@pytest.mark.convergence(pattern="consensus", agents=3)
def test_consensus(convergence_session):
    convergence_session.run(proposals={"agent-1": "A", "agent-2": "A", "agent-3": "B"})
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_suite=AGENTS + _SUITE)
    return pytester


def _run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(
        "-p", "convergence", "-p", "xdist", "-p", "no:cacheprovider", *arguments
    )


def _section(result: pytest.RunResult) -> list[str]:
    """Return the section of the summary without what differs from run to run: real time."""
    lines = iter(result.outlines)
    for line in lines:
        if "= convergence =" in line:
            return [one.partition(" in ")[0] for one in lines if not one.startswith(("=", "-"))]
    return []


def test_the_controller_says_what_one_process_says(suite: pytest.Pytester) -> None:
    alone = _run(suite, "--convergence-metrics=alone.prom")
    together = _run(suite, "-n", "2", "--convergence-metrics=together.prom", "--junitxml=junit.xml")
    together.assert_outcomes(passed=9)
    assert _section(alone)
    assert _section(together) == _section(alone)
    files = [
        (suite.path / f"{name}.prom").read_text(encoding="utf-8").splitlines()
        for name in ("alone", "together")
    ]
    same = [[line for line in file if "real_seconds" not in line] for file in files]
    assert same[0] == same[1]
    assert (suite.path / "junit.xml").read_text(encoding="utf-8").count(
        'name="convergence_schedules" value="5"'
    ) == 8


def test_seeds_do_not_depend_on_how_tests_are_distributed(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_group=AGENTS
        + """
@pytest.mark.xdist_group("some group")
@pytest.mark.convergence(agents=2, network="lossy")
def test_seed(convergence_session):
    with open("seeds", "a") as file:
        file.write(f"{convergence_session.seed} ")
    convergence_session.run()
    assert False
"""
    )
    _run(suite, "test_group.py")
    together = _run(suite, "-n", "2", "--dist=loadgroup", "test_group.py")
    seeds = (suite.path / "seeds").read_text(encoding="utf-8").split()
    assert seeds[0] == seeds[1]
    together.stdout.fnmatch_lines(
        [f"*unreduced: pytest test_group.py::test_seed --convergence-seed={seeds[0]}"]
    )


def test_bad_markers_are_a_usage_error_and_no_crash(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_bad=AGENTS + "@pytest.mark.convergence(agnts=2)\ndef test_bad(): pass\n")
    result = _run(suite, "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*test_bad.py::test_bad: unknown option 'agnts': did you mean 'agents'?*"])
    assert result.stdout.str().count("unknown option 'agnts'") == 1


def test_a_worker_that_crashes_loses_only_its_own_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_crash="import os\ndef test_crash(): os._exit(3)\n")
    result = _run(suite, "-n", "2")
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines(["consensus * 1 * 1 *", "none * 40 *", "41 schedules explored*"])
