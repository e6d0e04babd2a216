"""A token is replayed after the test has changed, on another Python, from a file; a pinned one goes stale."""

import sys
from pathlib import Path

import pytest

from pytest_convergence._engine.base.tokens import Recorded, parse_token, write_token
from pytest_convergence._pytest.replaying import PYTHON
from pytest_convergence._pytest.token_files import token_text
from pytest_convergence.errors import ConvergenceUsageError
from tests.plugin.conftest import RunSuite
from tests.plugin.test_counterexample import token_in

_ONCE = """
async def impatient(agent):
    return await agent.request("server", "hello", timeout=5)

@pytest.mark.convergence(agents={"server": server, "impatient": impatient}OPTIONS)
def test_once(convergence_session):
    assert convergence_session.run().results["impatient"] == "HELLO"
"""
_LOST = "deliver server→impatient #1"


def _once(options: str = "", *, fixed: bool = False) -> str:
    suite = _ONCE.replace("OPTIONS", options)
    if fixed:
        suite = suite.replace(
            'return await agent.request("server", "hello", timeout=5)',
            """
    while True:
        try:
            return await agent.request("server", "hello", timeout=5)
        except TimeoutError:
            continue
""",
        )
    return suite


def _token(*labels: str, fingerprint: str = "", python: str = "") -> str:
    return write_token([Recorded(0, tuple((label, 1) for label in labels))], fingerprint, python)


@pytest.fixture
def found(run_suite: RunSuite) -> str:
    """The token of a run of the impatient client whose answer is lost."""
    result = run_suite(_once(), f"--convergence-replay={_token(_LOST)}")
    result.assert_outcomes(failed=1)
    return token_in(result.outlines)


def test_a_token_says_which_run_it_is_of_and_by_which_python(found: str) -> None:
    token = parse_token(found)
    assert token.sessions == (Recorded(0, ((_LOST, 1),)),)
    assert len(token.fingerprint) == 12
    assert token.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_replay_of_the_same_run_has_nothing_more_to_say(run_suite: RunSuite, found: str) -> None:
    result = run_suite(_once(), f"--convergence-replay={found}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Found by calm but for 1 deviation.", f"run it again: *{found}"])
    result.stdout.no_fnmatch_line("replayed *")
    result.stdout.no_fnmatch_line("*another path*")


def test_a_replay_that_does_not_fail_any_more_says_so(run_suite: RunSuite, found: str) -> None:
    result = run_suite(_once(fixed=True), f"--convergence-replay={found}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "replayed test_suite.py::test_once: it does not fail any more under this schedule: all of the schedule came "
            "about, and the code takes another path now."
        ]
    )


def test_a_replay_whose_run_is_the_same_and_passes_tells_that_the_check_has_changed(
    run_suite: RunSuite, found: str
) -> None:
    suite = _once().replace(
        '    assert convergence_session.run().results["impatient"] == "HELLO"',
        "    with pytest.raises(Exception):\n        convergence_session.run()",
    )
    result = run_suite(suite, f"--convergence-replay={found}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "replayed *: it does not fail any more, though the run is the very one that the token was made from: *"
        ]
    )


def test_a_replay_that_fails_on_another_path_says_so(run_suite: RunSuite, found: str) -> None:
    result = run_suite(_once().replace("timeout=5", "timeout=6"), f"--convergence-replay={found}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["It fails, but not in the run that the token was made from: *"])


_GONE = (
    _LOST,
    "deliver server→nobody #2",
    "crash server #99",
    "pause server #99",
    "stall server #98",
    "partition #70",
)


def test_a_token_that_does_not_apply_any_more_names_what_never_came_about(run_suite: RunSuite) -> None:
    result = run_suite(
        _once(fixed=True),
        f"--convergence-replay={_token(*_GONE, fingerprint='0' * 12)}",
        "-p",
        "no:terminalprogress",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "replayed *: the schedule does not apply any more: message server→nobody #2 was never sent; server never "
            "came to its step 99, where it was to crash; server never came to its step 99, where it was to pause; server "
            "never came to its step 98, which was to be held up; the run was over before the partition at 7 s. The test, "
            "or the code under test, has changed since the token was made."
        ]
    )


def test_what_does_not_apply_is_an_error_where_that_is_wanted(run_suite: RunSuite) -> None:
    result = run_suite(
        _once(fixed=True), f"--convergence-replay={_token('deliver a→b #3')}", "--convergence-strict"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*message a→b #3 was never sent*convergence_strict*"])


def test_a_failure_before_all_of_the_schedule_came_about_names_the_rest(run_suite: RunSuite) -> None:
    result = run_suite(_once(), f"--convergence-replay={_token(_LOST, 'deliver server→impatient #2')}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["Not all of the schedule came about before it failed: message server→impatient #2 was never sent."]
    )


def test_it_is_said_of_what_is_not_reduced_too(run_suite: RunSuite) -> None:
    token = f"--convergence-replay={_token(_LOST, 'deliver server→impatient #2')}"
    result = run_suite(_once(), token, "--convergence-shrink-seconds=0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["Not all of the schedule came about before it failed: message server→impatient #2 *"]
    )


def test_a_session_that_is_not_made_any_more_is_named(run_suite: RunSuite) -> None:
    token = write_token([Recorded(0, ((_LOST, 1),)), Recorded(0, (("crash server #1", 1),))])
    result = run_suite(_once(fixed=True), f"--convergence-replay={token}")
    result.stdout.fnmatch_lines(
        ["replayed *: the schedule does not apply any more: session 2 was never made. *"]
    )


def test_another_python_is_named_where_it_may_matter(run_suite: RunSuite) -> None:
    other = "3.11" if PYTHON != "3.11" else "3.12"
    for python, said in ((other, True), (PYTHON, False)):
        token = _token(_LOST, fingerprint="0" * 12, python=python)
        result = run_suite(_once(fixed=True), f"--convergence-replay={token}")
        words = f"replayed *The schedule was found on Python {other}, and this is {PYTHON}: asyncio.wait_for changed*"
        (result.stdout.fnmatch_lines([words]) if said else result.stdout.no_fnmatch_line(words))


def test_a_replay_is_told_of_by_workers_too(run_suite: RunSuite, found: str) -> None:
    result = run_suite(_once(fixed=True), f"--convergence-replay={found}", "-p", "xdist.plugin", "-n", "1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["replayed test_suite.py::test_once: it does not fail any more*"])


# -- pinned schedules --------------------------------------------------------------------------------------------------


def test_a_pinned_regression_that_is_fixed_passes_quietly(run_suite: RunSuite, found: str) -> None:
    result = run_suite(_once(f", schedule={found!r}", fixed=True), "--convergence-strict")
    result.assert_outcomes(passed=1, warnings=0)
    result.stdout.no_fnmatch_line("replayed *")


@pytest.mark.parametrize("pinned", ["token", "object"])
def test_a_pinned_schedule_that_does_not_apply_any_more_is_a_warning(
    run_suite: RunSuite, pinned: str
) -> None:
    label = "deliver impatient→somebody #1"
    schedule = repr(_token(label)) if pinned == "token" else f"Schedule.of({{{label!r}: 1}})"
    suite = "from pytest_convergence import Schedule\n" + _once(f", schedule={schedule}")
    result = run_suite(suite, "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*StaleScheduleWarning: the schedule that test_suite.py::test_once pins does not apply any more: message "
            "impatient→somebody #1 was never sent. *"
        ]
    )
    strict = run_suite(suite, "--convergence-strict")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines(["*message impatient→somebody #1 was never sent*convergence_strict*"])


def test_of_several_sessions_one_has_to_come_to_a_pinned_deviation(run_suite: RunSuite) -> None:
    suite = _once(f", schedule=Schedule.of({{{_LOST!r}: 1}})", fixed=True)
    suite = suite.replace(
        "def test_once(convergence_session):",
        "def test_once(convergence_session, convergence_session_factory):\n"
        "    convergence_session_factory(agents={'server': server}).run()",
    )
    run_suite("from pytest_convergence import Schedule\n" + suite).assert_outcomes(passed=1, warnings=0)


# -- tokens in files ---------------------------------------------------------------------------------------------------


def test_a_token_may_lie_in_a_file(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    long = _token(_LOST, *(f"deliver server→impatient #{number}" for number in range(2, 200)))
    pytester.path.joinpath("long.txt").write_text(f"# all answers\n{long[:50]}\n{long[50:]}\n")
    result = run_suite(_once(), "--convergence-replay=@long.txt")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Not all of the schedule came about before it failed: *; and 193 more."])


def test_the_printed_file_replays_and_holds_what_it_is_of(
    run_suite: RunSuite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_convergence._pytest.findings.LONGEST_TOKEN", 20)
    result = run_suite(_once(), f"--convergence-replay={_token(_LOST)}")
    replay = token_in(result.outlines)
    assert replay.startswith("@.convergence/schedules/")
    text = pytester.path.joinpath(replay[1:]).read_text(encoding="utf-8")
    assert text.startswith("# test_suite.py::test_once\n# AgentError: agent 'impatient' raised TimeoutError")
    for given in (replay, replay[1:]):
        again = run_suite(_once(), f"--convergence-replay={given}")
        again.assert_outcomes(failed=1)
        assert token_in(again.outlines) == replay
    run_suite(_once(f", schedule={replay!r}")).assert_outcomes(failed=1)


def test_where_nothing_may_be_written_a_long_token_is_printed(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_convergence._pytest.findings.LONGEST_TOKEN", 20)
    result = run_suite(_once(), f"--convergence-replay={_token(_LOST)}", "--convergence-database=none")
    assert token_in(result.outlines).startswith("c1-")


def test_a_file_that_cannot_be_read_is_named(
    run_suite: RunSuite, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    result = run_suite(_once(), "--convergence-replay=@nowhere.txt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the schedule in the file nowhere.txt cannot be read: *No such file*"])
    pinned = run_suite(_once(", schedule='@nowhere.txt'"))
    assert pinned.ret == pytest.ExitCode.USAGE_ERROR
    pinned.stderr.fnmatch_lines(["*nowhere.txt cannot be read*"])
    with pytest.raises(ConvergenceUsageError, match="cannot be read"):
        token_text(f"@{tmp_path}", tmp_path)
    assert token_text("x" * 10_000, tmp_path) == "x" * 10_000
