"""Which explorer searches the schedules of a test."""

from __future__ import annotations

from typing import Final

from pytest_convergence._pytest.running_test import RunningTest
from pytest_convergence.explore.exhaustive import Exhaustive
from pytest_convergence.explore.explorers import Explorer, RandomExplorer

__all__ = ["explorer_of"]

_LEARN_AMONG: Final = 50
"""A search of fewer schedules does not learn: it would be over before it could make use of it."""


def explorer_of(running: RunningTest) -> Explorer:
    """Return the explorer that the test's options ask for."""
    plan = running.plan
    if plan.options.get("explore") == "exhaustive" and plan.course is None:
        return Exhaustive(seed=plan.options.get("seed"))
    noise = "pct" if plan.options.get("explore") == "pct" else plan.options.get("noise")
    return RandomExplorer(
        running.seed_of, noise=noise, learns=plan.schedules >= _LEARN_AMONG, name=running.nodeid
    )
