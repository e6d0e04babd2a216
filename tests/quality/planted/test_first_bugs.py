"""Planted bugs are found; what has no bug stays silent."""

import pytest

from tests.quality.planted import commits, elections, logs
from tests.quality.planted.bug import Bug
from tests.quality.planted.trials import run_once

QUICK = [bug for bug in (*elections.BUGS, *logs.BUGS, *commits.BUGS) if bug.budget <= 300]


@pytest.mark.parametrize("bug", QUICK, ids=lambda bug: bug.id)
def test_a_planted_bug_is_found_within_its_budget(bug: Bug) -> None:
    verdicts = (run_once(bug.case, seed) for seed in range(bug.budget))
    assert any(set(verdict.broken) & set(bug.caught_by) for verdict in verdicts)
