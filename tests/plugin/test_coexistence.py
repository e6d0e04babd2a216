"""The plugin beside pytest's own strictness and other ways to run."""

import pytest

from tests.plugin.conftest import RunSuite

_SUITE = """
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=3)
def test_plain(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(agents=PAIR)
async def test_async(convergence_session):
    await convergence_session.execute()
"""


def test_warnings_may_be_errors(run_suite: RunSuite) -> None:
    run_suite(_SUITE, "-W", "error", "--strict-markers", "--strict-config").assert_outcomes(passed=2)


def test_collect_only_runs_nothing(run_suite: RunSuite) -> None:
    result = run_suite(_SUITE, "--collect-only")
    result.stdout.fnmatch_lines(["*test_plain*", "*test_async*", "*2 tests collected*"])
    assert "= convergence =" not in result.stdout.str()


def test_setup_plan_shows_the_fixtures(run_suite: RunSuite) -> None:
    result = run_suite(_SUITE, "--setup-plan")
    result.stdout.fnmatch_lines(["*SETUP*F convergence_session*"])


def test_the_summary_of_an_inner_run_is_its_own(run_suite: RunSuite) -> None:
    for _ in range(2):
        result = run_suite(_SUITE)
        result.stdout.fnmatch_lines(["4 schedules explored*"])


def test_xfail_and_skip_marks_work_as_ever(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.xfail(strict=True)
@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_fails(convergence_session):
    convergence_session.run()
    assert False

@pytest.mark.skip
@pytest.mark.convergence(agents=PAIR)
async def test_skipped(convergence_session): pass
""").assert_outcomes(xfailed=1, skipped=1)


def test_capture_fixtures_work_in_every_schedule(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_it(convergence_session, capsys, monkeypatch, tmp_path):
    print("seen")
    assert capsys.readouterr().out == "seen\\n"
""").assert_outcomes(passed=1)


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests came with pytest 9")
def test_subtests_work_in_every_schedule(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_it(convergence_session, subtests):
    with subtests.test("one"):
        convergence_session.run()
    with subtests.test("two"):
        assert convergence_session.outcome.converged
""")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["none * 2 * 2 *"])
