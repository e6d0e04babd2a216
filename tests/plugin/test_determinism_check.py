"""``--convergence-check-determinism``: each schedule is run twice and the two runs are compared."""

import pytest

from tests.plugin.conftest import RunSuite

_CHECK = "--convergence-check-determinism"
_LEAKY = """
calls = []

async def leaky(agent):
    calls.append(1)
    await asyncio.sleep(len(calls))
    await agent.send("other", len(calls))

async def other(agent):
    await agent.receive()

@pytest.mark.convergence(agents={"leaky": leaky, "other": other}, schedules=3)
def test_leaky(convergence_session):
    convergence_session.run()
"""


def test_the_first_difference_is_named(run_suite: RunSuite) -> None:
    result = run_suite(_LEAKY, _CHECK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the same schedule was run twice, and the two runs differ.",
            "session 'test_leaky': at virtual time *: the first run had *, the second had *",
        ]
    )


def test_without_the_option_nobody_notices(run_suite: RunSuite) -> None:
    run_suite(_LEAKY).assert_outcomes(passed=1)


def test_equal_runs_pass_and_each_schedule_counts_once(run_suite: RunSuite) -> None:
    result = run_suite(
        """
runs = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=3, trace=False)
def test_it(convergence_session):
    runs.append(convergence_session.seed)
    convergence_session.run()

@pytest.mark.convergence(agents=PAIR)
async def test_async(convergence_session):
    await convergence_session.execute()

def test_afterwards():
    assert runs[0::2] == runs[1::2] and len(runs) == 6
""",
        _CHECK,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["4 schedules explored*"])


def test_other_sessions_in_the_second_run_are_a_difference(run_suite: RunSuite) -> None:
    result = run_suite(
        """
runs = []

@pytest.mark.convergence(agents=PAIR)
def test_it(convergence_session_factory):
    runs.append(1)
    for _ in runs:
        convergence_session_factory(name="extra").run()
""",
        _CHECK,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["the first run had the sessions ['extra'], the second ['extra', 'extra (2)']"]
    )


def test_a_second_run_that_fails_is_a_difference(run_suite: RunSuite) -> None:
    result = run_suite(
        """
runs = []

@pytest.mark.convergence(agents=PAIR)
def test_it(convergence_session):
    runs.append(convergence_session.run())
    assert len(runs) < 2
""",
        _CHECK,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *this was the second run under the same schedule; the first one passed*"])


def test_the_ini_key_does_the_same(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_check_determinism = true\n")
    run_suite(_LEAKY).assert_outcomes(failed=1)
