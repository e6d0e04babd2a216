"""A long pipeline: what its agents keep grows with what is under way, and not with what is through."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import Outcome, Pipeline, Stage
from tests.unit.sim.harness import make_session

ITEMS = 600


def run(**options: Any) -> tuple[Outcome, dict[str, int]]:
    failed: set[int] = set()

    def flaky(item: int) -> int:
        if item % 50 == 0 and item not in failed:
            failed.add(item)
            raise OSError("not now")
        return item + 1

    stages = [Stage("one", "a", lambda item: item), Stage("two", "b", flaky)]
    kept: dict[str, int] = {}

    session = make_session(agents=["a", "b"], pattern=Pipeline(), trace=False, **options)
    outcome = session.run(stages=stages, items=list(range(ITEMS)))
    assert session._conduct is not None
    for name in session.agents:
        disk = session._conduct.fabric.nodes[name].disk("pattern")
        kept[name] = len(disk.snapshot())
    return outcome, kept


def test_the_journal_is_begun_anew_as_items_leave() -> None:
    outcome, kept = run()
    assert outcome.converged
    assert len(outcome.output) == ITEMS
    assert 100 < kept["b"] < 600, "and not two entries for each item"


@pytest.mark.parametrize("seed", range(4))
def test_who_crashes_goes_on_from_the_checkpoint(seed: int) -> None:
    outcome, _ = run(network="lossy", faults=["crash"], seed=seed)
    assert outcome.converged
    assert outcome.violations == ()
    assert outcome.metrics.crashes
