"""Runs planted bugs under the schedules that the marker would run them under."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.session import Session
from pytest_convergence._pytest.running_test import derive_seed
from pytest_convergence.errors import PropertyViolation, RunFailure
from pytest_convergence.explore.explorers import Approach, RandomExplorer
from pytest_convergence.explore.novelty import StateWatch
from tests.quality.planted.bug import Bug, Case

__all__ = ["Found", "Verdict", "found_by", "make_session", "run_once", "search"]

_LEARN_AMONG = 50  # as the plugin does: see ``_pytest/exploring.py``


@dataclass(frozen=True)
class Verdict:
    """What became of a run: the properties that were broken, or the name of another failure."""

    broken: tuple[str, ...]
    words: str

    def __bool__(self) -> bool:
        return bool(self.broken)


@dataclass(frozen=True)
class Found:
    """A schedule that failed, and the how-manieth it was."""

    number: int
    approach: Approach
    verdict: Verdict


def make_session(case: Case, approach: Approach, **options: Any) -> Session:
    """Make the session that the marker would make for one run of a search."""
    given = {"trace": False, **case.options, **options}
    if approach.noise is not None:
        given["noise"] = approach.noise
    session = ConvergenceEngine().create_session("planted", seed=approach.seed, **given)
    if approach.schedules:
        (session.schedule,) = approach.schedules
    if approach.branches:
        session.schedule = replace(session.schedule, branches=approach.branches)
    return session


def run_once(case: Case, approach: Approach, watch: StateWatch | None = None) -> Verdict:
    """Run a case under one schedule."""
    session = make_session(case, approach)
    if watch is not None:
        session.watchers.append(watch.begin)
    try:
        session.run(case.scenario, **case.inputs)
    except PropertyViolation as violation:
        return Verdict(tuple(sorted({one.property for one in violation.violations})), str(violation))
    except RunFailure as failure:
        return Verdict((type(failure).__name__,), str(failure))
    return Verdict((), "")


def search(case: Case, name: str, base: int | None, schedules: int) -> Iterator[Found]:
    """Run a case under ``schedules`` schedules, chosen as those of a test of that node id; yield what each came to."""
    learns = schedules >= _LEARN_AMONG

    def seed_of(index: int) -> int:
        return derive_seed(name, base, index)

    explorer = RandomExplorer(seed_of, learns=learns, name=f"{name} {base}")
    for index in range(schedules):
        approach = explorer.approach(index)
        watch = StateWatch() if learns else None
        verdict = run_once(case, approach, watch)
        yield Found(index + 1, approach, verdict)
        explorer.ran(approach, () if watch is None else (watch,))


def found_by(bug: Bug, base: int | None) -> Found | None:
    """Search as a test would that has the budget for its ``schedules=``; return the failure that ends it, if one does."""
    return next((run for run in search(bug.case, bug.id, base, bug.budget) if run.verdict), None)
