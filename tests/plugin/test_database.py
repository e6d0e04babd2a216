"""A failure is kept until it does not fail any more, and the next run tries it first."""

import json
import os
from pathlib import Path

import pytest

from pytest_convergence._engine.base.tokens import Recorded, write_token
from pytest_convergence._pytest import database
from pytest_convergence._pytest.database import Database
from pytest_convergence.errors import ConvergenceWarning
from tests.plugin.conftest import RunSuite
from tests.plugin.test_counterexample import LATE, token_in

_FIXED = LATE.replace('balance + 10, type="write"', '10, type="add"').replace(
    'if message.type == "write":',
    'if message.type == "add":\n            balance += message.payload\n        if 0:',
)


def _files(pytester: pytest.Pytester, directory: str = ".convergence") -> list[Path]:
    return sorted(pytester.path.joinpath(directory, "failures").glob("*"))


def _kept(pytester: pytest.Pytester) -> list[str]:
    (file,) = _files(pytester)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["test"] == "test_suite.py::test_no_money_is_lost"
    return list(content["failures"])


def test_a_reduced_failure_is_kept_and_tried_first(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    first = run_suite(LATE)
    first.assert_outcomes(failed=1)
    assert _kept(pytester) == [token_in(first.outlines)]
    assert pytester.path.joinpath(".convergence/.gitignore").read_text().endswith("\n*\n")
    again = run_suite(LATE)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(
        ["Found by a known failure: calm but for 2 deviations*", "1 schedule explored*"]
    )
    assert token_in(again.outlines) == token_in(first.outlines)
    assert _kept(pytester) == [token_in(first.outlines)]


def test_a_failure_that_is_fixed_is_forgotten(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    run_suite(LATE)
    assert len(_files(pytester)) == 1
    fixed = _FIXED.replace("schedules=300", "schedules=5")
    run_suite(fixed).assert_outcomes(passed=1)
    assert _files(pytester) == []
    result = run_suite(fixed)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["5 schedules explored*"])


def test_a_known_failure_is_found_where_the_schedules_of_the_test_would_not_do(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    run_suite(LATE).assert_outcomes(failed=1)
    few = LATE.replace("schedules=300", "seed=4, schedules=1")
    run_suite(few, "--convergence-database=none").assert_outcomes(passed=1)
    found = run_suite(few)
    found.assert_outcomes(failed=1)
    found.stdout.no_fnmatch_line("*--convergence-seed=4*")  # under which it passes


def test_what_fails_without_any_deviation_is_not_kept(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    suite = """
@pytest.mark.convergence(agents=2, network="lossy")
def test_it(convergence_session):
    convergence_session.run()
    assert 0
"""
    run_suite(suite).assert_outcomes(failed=1)
    assert _files(pytester) == []


def test_who_asks_for_a_schedule_gets_that_one(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    run_suite(LATE).assert_outcomes(failed=1)
    run_suite(LATE, "--convergence-seed=4", "--convergence-schedules=1").assert_outcomes(passed=1)
    assert len(_files(pytester)) == 1


def test_workers_keep_failures_too(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    two = (
        LATE
        + LATE.partition("@pytest.mark")[1]
        + LATE.partition("@pytest.mark")[2].replace("_lost", "_lost_2")
    )
    run_suite(two, "-p", "xdist.plugin", "-n", "2").assert_outcomes(failed=2)
    assert len(_files(pytester)) == 2
    again = run_suite(two, "-p", "xdist.plugin", "-n", "2")
    again.assert_outcomes(failed=2)
    again.stdout.fnmatch_lines(["Found by a known failure: *", "Found by a known failure: *"])


def test_one_of_the_workers_that_share_schedules_tries_what_is_known(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    run_suite(LATE).assert_outcomes(failed=1)
    few = LATE.replace("schedules=300", "seed=4, schedules=2")
    result = run_suite(few, "-p", "xdist.plugin", "-n", "2", "--convergence-spread")
    assert result.parseoutcomes()["failed"] >= 1
    assert sum("Found by a known failure" in line for line in result.outlines) == 1


@pytest.mark.parametrize("how", ["option", "ini"])
def test_it_may_lie_elsewhere_or_nowhere(run_suite: RunSuite, pytester: pytest.Pytester, how: str) -> None:
    for where in ("elsewhere", "none"):
        pytester.makeini(f"[pytest]\nconvergence_database = {where if how == 'ini' else ''}\n")
        run_suite(LATE, *([f"--convergence-database={where}"] if how == "option" else []))
    assert len(_files(pytester, "elsewhere")) == 1
    assert not pytester.path.joinpath(".convergence").exists()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 2}', '{"format": 1, "test": "another", "failures": []}', "\xff"]
)
def test_what_cannot_be_read_is_ignored_with_a_warning_and_replaced(
    run_suite: RunSuite, pytester: pytest.Pytester, content: str
) -> None:
    run_suite(LATE).assert_outcomes(failed=1)
    (file,) = _files(pytester)
    file.write_bytes(content.encode("latin-1"))
    result = run_suite(LATE, "-W", "default")
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*ConvergenceWarning: the known failures of this test are ignored: *cannot be read: *"]
    )
    assert _kept(pytester) == [token_in(result.outlines)]


def test_a_directory_that_cannot_be_written_is_left_alone(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath(".convergence").write_text("a file")
    result = run_suite(LATE)
    result.assert_outcomes(failed=1)
    assert token_in(result.outlines).startswith("c1-")
    assert pytester.path.joinpath(".convergence").read_text() == "a file"


def test_the_newest_are_kept_and_tried_first(tmp_path: Path) -> None:
    tokens = [write_token([Recorded(number, ())]) for number in range(12)]
    kept = Database(tmp_path)
    for token in tokens:
        kept.keep("a.py::test", token)
    assert kept.tokens("a.py::test") == tokens[:3:-1]
    kept.keep("a.py::test", tokens[6])
    assert kept.tokens("a.py::test")[:2] == [tokens[6], tokens[11]]
    kept.forget("a.py::test", tokens[11])
    assert tokens[11] not in kept.tokens("a.py::test")
    assert kept.tokens("a.py::another") == []


def test_the_oldest_files_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_MOST_FILES", 3)
    kept = Database(tmp_path)
    for number in range(6):
        kept.keep(f"a.py::test_{number}", write_token([Recorded(number, ())]))
        for age, file in enumerate(
            sorted((tmp_path / "failures").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        ):
            os.utime(file, ns=(age, age))
    assert [number for number in range(6) if kept.tokens(f"a.py::test_{number}")] == [3, 4, 5]


def test_a_file_without_its_tokens_is_read_as_none(tmp_path: Path) -> None:
    kept = Database(tmp_path)
    kept.keep("a.py::test", write_token([Recorded(1, ())]))
    (file,) = (tmp_path / "failures").iterdir()
    file.write_text(file.read_text().replace("c1-", "x1-"))
    with pytest.warns(ConvergenceWarning, match="is no token"):
        assert kept.tokens("a.py::test") == []
