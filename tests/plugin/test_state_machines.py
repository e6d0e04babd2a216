"""State machines of Hypothesis under pytest: their sessions belong to the test, and failures are explained."""

import pytest

from tests.plugin.conftest import RunSuite

_GIVEN = "-p", "hypothesispytest"

MACHINE = """
from hypothesis import settings, strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from pytest_convergence import strategies as cst

quick = settings(max_examples=100, stateful_step_count=6, database=None, deadline=None, derandomize=True)

class Notes(cst.ConvergenceStateMachine):
    def session_options(self):
        return {"agents": {"a": self.listen, "b": self.listen}, "network": "lan"}

    async def listen(self, agent):
        heard = []
        agent.expose(lambda: list(heard))
        async for message in agent.inbox:
            heard.append(message.payload)

    @rule(word=st.text(max_size=2))
    async def tell_both(self, word):
        for agent in self.session.agents.values():
            await self.session.agents["a"].send(agent.name, word)

    @rule(agent=cst.ConvergenceStateMachine.agents)
    async def tell_the_other(self, agent):
        await agent.broadcast("x")
"""

TEST_CASE = MACHINE + "\nTestNotes = Notes.TestCase\nTestNotes.settings = quick\n"


def section(result: pytest.RunResult) -> str:
    return str(result.stdout).partition("- convergence counterexample -")[2]


def test_a_failing_machine_is_explained(run_suite: RunSuite) -> None:
    result = run_suite(TEST_CASE, *_GIVEN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*state.tell_the_other(agent=agents_*)"])
    text = section(result)
    assert "AssertionError: Notes: diverged" in text
    assert "Besides what the rules do, nothing needs to go wrong" in text
    assert "What happened:" in text
    assert "run it again: pytest test_suite.py::TestNotes::runTest" in text
    assert "pin it" not in text
    assert "schedules explored" in text


def test_a_marked_test_may_run_a_machine(run_suite: RunSuite) -> None:
    result = run_suite(
        MACHINE
        + """
@pytest.mark.convergence(network="wan")
def test_notes():
    run_state_machine_as_test(Notes, settings=quick)
""",
        *_GIVEN,
    )
    result.assert_outcomes(failed=1)
    assert "AssertionError: Notes: diverged" in section(result)


def test_other_tests_run_machines_as_well_but_nobody_explains(run_suite: RunSuite) -> None:
    result = run_suite(
        MACHINE
        + """
def test_notes():
    run_state_machine_as_test(Notes, settings=quick)
""",
        *_GIVEN,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: Notes: diverged*"])
    assert "counterexample" not in str(result.stdout)


def test_a_machine_that_passes_is_counted(run_suite: RunSuite) -> None:
    passing = TEST_CASE.replace("Notes.TestCase", "Quiet.TestCase").replace(
        "\nTestNotes = ", "\nclass Quiet(Notes):\n    def verdict(self, outcome): pass\n\nTestNotes = "
    )
    result = run_suite(passing.replace("max_examples=100", "max_examples=5"), *_GIVEN)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["none * 5 *", "5 schedules explored*"])


def test_rejected_examples_are_cleared_away_and_not_counted(run_suite: RunSuite) -> None:
    result = run_suite(
        MACHINE.replace(
            "    @rule(word",
            "    @rule(number=st.integers(0, 3))\n"
            "    async def think(self, number):\n"
            "        await asyncio.sleep(0.001)\n"
            "        assume(number != 1)\n\n"
            "    def verdict(self, outcome): pass\n\n"
            "    @rule(word",
        ).replace("import settings", "import assume, settings")
        + """
@pytest.mark.convergence
def test_notes():
    run_state_machine_as_test(Notes, settings=settings(quick, max_examples=10, suppress_health_check=list(HealthCheck)))
"""
        + "\nfrom hypothesis import HealthCheck\n",
        *_GIVEN,
    )
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"none +10 +\d+ +\d+ +0 ", r"10 schedules explored"])


def test_a_token_is_not_replayed_on_a_machine(run_suite: RunSuite) -> None:
    result = run_suite(TEST_CASE, *_GIVEN, "--convergence-replay=c1-eNqLjo7VMYjVUVCIjo2N1VFQUooFABmvA4g")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
