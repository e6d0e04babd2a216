"""--convergence-report=DIR: which files there are, what they are called, and what the terminal says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import AGENTS, RunSuite
from tests.unit.explore.report.test_document import check

FAILS = """
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=50)
def test_fails(convergence_session):
    assert convergence_session.run().metrics.lost == 0
"""


def index_of(directory: Path) -> list[dict[str, Any]]:
    """The reports that the index lists; each of their files is there."""
    index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
    assert (index["format"], index["version"]) == ("pytest-convergence-report-index", 1)
    assert (directory / "index.html").is_file()
    for report in index["reports"]:
        assert sorted(report["files"]) == ["html", "json", "mmd", "shiviz.log"]
        for name in report["files"].values():
            assert (directory / name).is_file()
    reports: list[dict[str, Any]] = index["reports"]
    return reports


def document_of(directory: Path, report: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / report["files"]["json"]).read_text(encoding="utf-8"))
    check(document)
    return document


@pytest.fixture
def reports(pytester: pytest.Pytester) -> Path:
    return pytester.path / "out" / "reports"


def test_each_failing_test_has_a_report_and_the_terminal_says_where(
    run_suite: RunSuite, reports: Path
) -> None:
    source = (
        FAILS
        + "def test_passes(convergence_session_factory):\n    convergence_session_factory(agents=PAIR).run()\n"
    )
    result = run_suite(source, "--convergence-report=out/reports")
    result.assert_outcomes(failed=1, passed=1)
    (report,) = index_of(reports)
    result.stdout.fnmatch_lines(
        [f"report: out/reports/{report['files']['html']}", "convergence: 1 report: out/reports/index.html"]
    )
    assert report["test"] == "test_suite.py::test_fails"
    (deviation,) = report["deviations"]
    assert deviation.endswith("lost")
    assert "--convergence-replay=c1-" in report["replay"]
    document = document_of(reports, report)
    assert document["deviations"][0]["label"].startswith("deliver ")
    assert document["is_minimal"] is True
    assert document["states"]["source"] == "snapshots"
    assert document["explanation"].startswith("AssertionError")
    names = {name for change in document["states"]["changes"] for name in change["held"]}
    assert {"waits/line", "locals/message"} <= names
    assert (reports / report["files"]["mmd"]).read_text(encoding="utf-8").count("sequenceDiagram") == 1


def test_a_failure_of_the_calm_schedule_is_run_again_for_its_report(
    run_suite: RunSuite, reports: Path
) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=PAIR)
def test_fails(convergence_session):
    convergence_session.always("nobody asks", lambda session: len(session.trace.messages) < 1)
    convergence_session.run()
""",
        "--convergence-report=out/reports",
    )
    result.stdout.fnmatch_lines(["*It needs nothing to go wrong*"])
    (report,) = index_of(reports)
    document = document_of(reports, report)
    assert [one["property"] for one in document["violations"]] == ["nobody asks"]
    assert document["states"]["source"] == "snapshots"


def test_a_failure_that_is_not_reduced_is_told_from_its_events(run_suite: RunSuite, reports: Path) -> None:
    run_suite(FAILS, "--convergence-report=out/reports", "--convergence-shrink-seconds=0")
    (report,) = index_of(reports)
    document = document_of(reports, report)
    assert document["is_minimal"] is None
    assert document["states"]["source"] == "events"
    assert "--convergence-seed=" in document["replay"]["command"]


def test_the_last_session_of_a_hypothesis_test_is_told(run_suite: RunSuite, reports: Path) -> None:
    source = """
from hypothesis import given, settings, strategies as st

@pytest.mark.convergence(agents=PAIR)
@settings(max_examples=3, database=None, derandomize=True)
@given(number=st.integers(0, 5))
def test_fails(convergence_session_factory, number):
    convergence_session_factory(agents=PAIR).run()
    assert number < 0
"""
    run_suite(source, "--convergence-report=out/reports", "-p", "_hypothesis_pytestplugin").assert_outcomes(
        failed=1
    )
    (report,) = index_of(reports)
    assert document_of(reports, report)["events"]


def test_a_failure_without_a_session_has_none(run_suite: RunSuite, reports: Path) -> None:
    result = run_suite(
        "@pytest.mark.convergence(agents=PAIR)\ndef test_fails(convergence_session):\n    assert False\n",
        "--convergence-report=out/reports",
    )
    result.assert_outcomes(failed=1)
    assert index_of(reports) == []
    assert "reports" not in result.stdout.str()


def test_ids_of_parameters_may_be_anything(run_suite: RunSuite, reports: Path) -> None:
    source = """
@pytest.mark.parametrize("text", ["../../x", "a/b", "A/b", "</script>", "x" * 300, "é\\u2028"])
@pytest.mark.convergence(agents=PAIR, network="lossy")
def test_fails(convergence_session, text):
    convergence_session.run()
    raise ValueError(text)
"""
    run_suite(source, "--convergence-report=out/reports").assert_outcomes(failed=6)
    found = index_of(reports)
    assert len({report["files"]["html"] for report in found}) == 6
    assert {path.parent for path in reports.rglob("*")} == {reports}


def test_a_second_run_writes_a_new_index(run_suite: RunSuite, reports: Path) -> None:
    run_suite(FAILS, "--convergence-report=out/reports")
    run_suite("def test_passes(): pass", "--convergence-report=out/reports").assert_outcomes(passed=1)
    assert index_of(reports) == []
    run_suite(FAILS, "--convergence-report=out/reports", "--collect-only")
    assert index_of(reports) == []


def test_the_ini_key_is_relative_to_the_rootdir(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_report = from-ini\n")
    run_suite(FAILS).assert_outcomes(failed=1)
    assert len(index_of(pytester.path / "from-ini")) == 1


def test_workers_write_side_by_side(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    many = FAILS.replace("def test_fails(convergence_session)", "def test_fails(convergence_session, number)")
    pytester.makepyfile(test_suite=f"{AGENTS}\n@pytest.mark.parametrize('number', range(4))\n{many.lstrip()}")
    result = pytester.runpytest_subprocess(
        "-p", "convergence", "-p", "xdist", "-p", "no:cacheprovider", "-n", "2", "--convergence-report=out"
    )
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["convergence: 4 reports: out/index.html"])
    found = index_of(pytester.path / "out")
    assert [report["test"] for report in found] == [
        f"test_suite.py::test_fails[{number}]" for number in range(4)
    ]
    assert len(list((pytester.path / "out").iterdir())) == 4 * 4 + 2, "nothing half-written is left"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "--convergence-report=test_suite.py",
            "*--convergence-report: *test_suite.py is a file; *directory*",
        ),
        ("--convergence-report=test_suite.py/sub", "*--convergence-report: *is a file; *"),
        (
            "--convergence-report=/proc/none",
            "*reports cannot be written to /proc/none*Name another directory*",
        ),
    ],
)
def test_a_directory_that_cannot_be_written_to_is_refused_at_once(
    run_suite: RunSuite, argument: str, said: str
) -> None:
    result = run_suite("def test_nothing(): pass", argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_the_error_names_the_ini_key(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_report = test_suite.py\n")
    result = run_suite("def test_nothing(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ini key convergence_report: *is a file*"])


def test_help_makes_no_directory(run_suite: RunSuite, reports: Path) -> None:
    run_suite("", "--convergence-report=out/reports", "--help")
    assert not reports.exists()


def test_a_directory_that_goes_away_is_told_of_and_fails_nothing_else(run_suite: RunSuite) -> None:
    result = run_suite(
        "def test_removes():\n    import shutil\n    shutil.rmtree('out')\n" + FAILS,
        "--convergence-report=out/reports",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["the report could not be written: *", "*index of the reports could not be written*"]
    )


def test_a_suite_that_does_not_ask_imports_nothing_of_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        test_suite=AGENTS
        + FAILS
        + "\n\ndef test_z():\n    import sys\n"
        + "    assert not [name for name in sys.modules if 'convergence.explore.report' in name or 'report_files' in name]\n"
    )
    result = pytester.runpytest_subprocess("-p", "convergence", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, passed=1)


def test_a_session_that_has_not_ended_is_told_as_far_as_it_came(run_suite: RunSuite, reports: Path) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=3, pattern="leader-follower")
async def test_fails(convergence_session):
    running = asyncio.ensure_future(convergence_session.execute())
    await asyncio.sleep(0.5)
    raise ValueError("not yet")
""",
        "--convergence-report=out/reports",
        "--convergence-shrink-seconds=0",
    )
    result.assert_outcomes(failed=1)
    (report,) = index_of(reports)
    assert report["pattern"] == "leader-follower"
    assert report["state"] not in ("converged", "diverged")
    document = document_of(reports, report)
    assert document["events"]
    assert document["failure"] == "ValueError: not yet"
