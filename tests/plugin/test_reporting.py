"""What is said: header, summary, sections of failures, JUnit properties, tracebacks."""

import xml.etree.ElementTree as ElementTree

import pytest

from pytest_convergence._engine.run.outcome import RunMetrics
from pytest_convergence._pytest.summary import format_seconds, summary_lines
from pytest_convergence.metrics import Tally
from tests.plugin.conftest import RunSuite

_TWO_PATTERNS = """
@pytest.mark.convergence(agents=PAIR)
def test_plain(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(pattern="consensus", agents=3, schedules=4)
def test_consensus(convergence_session):
    assert convergence_session.run(proposals={"agent-1": "A", "agent-2": "A", "agent-3": "B"}).output == "A"

@pytest.mark.convergence(agents=2)
def test_fails(convergence_session):
    async def scenario(session):
        await asyncio.Event().wait()
    convergence_session.run(scenario)
"""


def test_the_header_tells_the_version_and_what_was_set(run_suite: RunSuite) -> None:
    plain = run_suite("")
    assert [line for line in plain.outlines if line.startswith("convergence: ")] == ["convergence: 0.1.0"]
    said = run_suite("", "--convergence-seed=5", "--convergence-schedules=3", "--convergence-profile=wan",
                     "--convergence-check-determinism")  # fmt: skip
    said.stdout.fnmatch_lines(["convergence: *, schedules 3, seed 5, profile wan, each schedule twice"])


def test_the_summary_has_a_row_for_each_pattern(run_suite: RunSuite) -> None:
    result = run_suite(_TWO_PATTERNS)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*= convergence =*",
            "pattern *sessions *converged *diverged *failed *rounds *to converge *sent *lost *duplicated *conflicts *",
            "consensus * 4 * 4 * 0 * 0 *",
            "none * 2 * 1 * 0 * 1 * 0 * s * 2 * 0 * 0 * 0 * 0",
            "6 schedules explored; * of virtual time in * of real time*",
        ]
    )


def test_there_is_no_section_without_a_session(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR)
def test_unused(convergence_session): pass
""")
    assert "= convergence =" not in result.stdout.str()


def test_there_is_no_section_under_no_summary(run_suite: RunSuite) -> None:
    result = run_suite(_TWO_PATTERNS, "--no-summary")
    assert "= convergence =" not in result.stdout.str()


def test_a_sometimes_property_that_no_run_reached_is_named(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_vacuous(convergence_session):
    convergence_session.sometimes("never seen", lambda session: False)
    convergence_session.sometimes("always seen", lambda session: True)
    convergence_session.run()
""")
    result.stdout.fnmatch_lines(["never reached by any run*", "  test_suite.py::test_vacuous: never seen"])
    assert "always seen" not in result.stdout.str()


def test_junit_files_have_the_numbers_of_each_test(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    run_suite(
        """
@pytest.mark.convergence(agents=PAIR, seed=7, schedules=3)
def test_plain(convergence_session):
    convergence_session.run()

def test_idle(): pass
""",
        "--junitxml=junit.xml",
    )
    cases = ElementTree.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    properties = {
        case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")}
        for case in cases
    }
    numbers = properties["test_plain"]
    assert numbers["convergence_schedules"] == numbers["convergence_sessions"] == "3"
    assert float(numbers["convergence_virtual_seconds"] or 0) >= 90
    assert {"convergence_seed", "convergence_real_seconds"} < set(numbers)
    assert properties["test_idle"] == {}


def test_tracebacks_do_not_show_the_machinery(run_suite: RunSuite) -> None:
    result = run_suite("""
async def clumsy(agent):
    await asyncio.sleep(1)
    raise ValueError("clumsy")

@pytest.mark.convergence(agents={"one": clumsy})
def test_agent(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(agents=2, schedules=2)
def test_scenario(convergence_session):
    async def scenario(session):
        await session.sleep(1)
        assert 1 == 2
    convergence_session.run(scenario)
""")
    result.assert_outcomes(failed=2)
    shown = result.stdout.str()
    assert "pytest_convergence/" not in shown
    assert "base_events.py" not in shown
    result.stdout.fnmatch_lines(
        [
            ">*raise ValueError(*",
            "E *ValueError: clumsy",
            ">*convergence_session.run()",
            "E *AgentError: agent 'one'*",
        ]
    )
    result.stdout.fnmatch_lines([">*assert 1 == 2"])


def test_a_full_traceback_shows_everything(run_suite: RunSuite) -> None:
    result = run_suite(_TWO_PATTERNS, "--full-trace")
    assert "pytest_convergence/" in result.stdout.str()


def test_an_error_in_a_fixture_that_runs_a_session_has_a_section(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture
def warmed_up(convergence_session_factory):
    assert convergence_session_factory(agents=PAIR).run().results == {}

@pytest.mark.convergence
def test_it(warmed_up): pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*- convergence -*", "test_it session 1: converged after *"])


def test_only_the_last_sessions_of_many_are_described(run_suite: RunSuite) -> None:
    result = run_suite("""
def test_many(convergence_session_factory):
    for number in range(20):
        convergence_session_factory(agents=PAIR, name="many").run()
    assert False
""")
    shown = result.stdout.str()
    assert shown.count("many: converged after") == 3
    result.stdout.fnmatch_lines(["none * 20 * 20 *"])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 us"), (0.00035, "350 us"), (0.0125, "12.5 ms"), (3.2, "3.2 s"), (5400, "90 min"), (86_400, "24 h"),
     (3_600_000 * 5, "5,000 h")],
)  # fmt: skip
def test_durations_are_written_for_people(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words


def test_a_tally_without_converged_sessions_has_no_time_to_converge() -> None:
    tally = Tally()
    tally.add(RunMetrics(outcome="diverged").as_dict())
    row = list(summary_lines(tally))[1].split()
    assert row == ["none", "1", "0", "1", "0", "0", "-", "0", "0", "0", "0", "0"]


def test_the_summary_says_what_a_person_may_act_on() -> None:
    tally = Tally()
    numbers = RunMetrics(
        pattern="pipeline", outcome="failed", sync="delta", violations=1, dead_letters=2, unresolved=1,
        conflicts_by={"output_conflict/high": 1}, handoffs_pending=3, retries=7, elections=2, unavailable_seconds=0.5,
        faults={"crash": 2, "partition": 1}, sync_operations=3, sync_bytes=1200,
    )  # fmt: skip
    tally.add(numbers.as_dict())
    lines = list(summary_lines(tally))
    assert lines[2:-1] == [
        "to look into: 1 property violated, 2 dead letters, 1 conflict unresolved, 3 handoffs pending",
        "faults: 2 crash, 1 partition",
        "elections: 2; 250 ms without a leader for each, on average",
        "retries: 7",
        "delta sync: 3 messages, 1,200 bytes",
    ]


def test_the_summary_is_silent_about_what_did_not_happen() -> None:
    tally = Tally()
    tally.add(RunMetrics(outcome="converged").as_dict())
    assert len(list(summary_lines(tally))) == 3
