"""Planted bugs are found by default, and told in few words; what has no bug stays silent.

The seeds are those that a test whose node id is the bug's would have: none is chosen. The whole table is measured by
``python -m tests.quality.planted``.
"""

import ast
import statistics
from pathlib import Path

import pytest

from pytest_convergence import Schedule
from pytest_convergence.explore.explorers import Approach
from tests.quality.planted import golden
from tests.quality.planted.bug import Bug, Case
from tests.quality.planted.registry import BUGS, bug_called
from tests.quality.planted.trials import found_by, run_once, search

SEARCHED = [bug for bug in BUGS if bug.row != 5]  # that one takes minutes: its golden file is replayed
TWINS = list({id(bug.twin): (bug.id, bug.twin) for bug in BUGS}.values())
PINNED = [bug for bug in BUGS if golden.is_pinned(bug)]
SCHEDULES_OF_A_TWIN = 6


@pytest.mark.parametrize("bug", SEARCHED, ids=lambda bug: bug.id)
def test_a_planted_bug_is_found_within_its_budget_by_the_property_that_is_meant_for_it(bug: Bug) -> None:
    found = found_by(bug, None)
    assert found is not None, f"not found within {bug.budget} schedules"
    assert set(found.verdict.broken) & set(bug.caught_by), found.verdict.words


@pytest.mark.parametrize(
    "bug", [bug for bug in BUGS if golden.is_pinned(bug) or golden.is_updated(bug)], ids=lambda bug: bug.id
)
def test_its_smallest_counterexample_is_told_in_the_same_words(pytester: pytest.Pytester, bug: Bug) -> None:
    if golden.is_updated(bug):
        golden.update(pytester, bug)
    assert golden.is_told_again(pytester, bug)


@pytest.mark.parametrize(("id", "twin"), TWINS, ids=[id for id, _ in TWINS])
def test_the_same_agents_without_the_bug_are_silent(id: str, twin: Case) -> None:
    alarms = [run for run in search(twin, f"twin of {id}", None, SCHEDULES_OF_A_TWIN) if run.verdict]
    assert not alarms, alarms[0].verdict.words


def test_counterexamples_take_few_deviations() -> None:
    assert statistics.median(map(golden.size, PINNED)) <= 4


@pytest.mark.parametrize("bug", PINNED, ids=lambda bug: bug.id)
def test_no_counterexample_takes_much_more_than_the_smallest_that_is_known(bug: Bug) -> None:
    assert golden.size(bug) <= golden.smallest(bug) + 1


@pytest.mark.parametrize("id", golden.HAND_MADE)
def test_what_was_thought_out_by_hand_fails_as_the_bug_should(id: str) -> None:
    bug, schedule = bug_called(id), Schedule.of(golden.HAND_MADE[id], seed=golden.SEED_MADE_FOR)
    assert len(schedule.deviations) == golden.SMALLEST[id]
    verdict = run_once(bug.case, Approach(None, schedules=[schedule]))
    assert set(verdict.broken) & set(bug.caught_by)


LONGEST = 39


def _lines_of_code(node: ast.AST, lines: list[str]) -> int:
    """How many lines a definition has, without blank lines, comments and docstrings."""
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    texts = [
        each for each in ast.walk(node) if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
    ]
    docs = {line for text in texts for line in range(text.lineno, (text.end_lineno or text.lineno) + 1)}
    within = set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) - docs
    return sum(
        bool(code) and not code.startswith("#") for code in (lines[line - 1].strip() for line in within)
    )


@pytest.mark.parametrize("path", sorted(golden.FOLDER.parent.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_agents_are_as_short_as_a_user_would_write_them(path: Path) -> None:
    text = path.read_text("utf-8")
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.parse(text).body if isinstance(node, definitions)]
    lengths = {node.name: _lines_of_code(node, text.splitlines()) for node in found}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
