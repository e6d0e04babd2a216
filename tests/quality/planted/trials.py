"""Runs planted bugs under the schedules that the marker would run them under."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence.errors import PropertyViolation, RunFailure
from tests.quality.planted.bug import Case

__all__ = ["Verdict", "run_once"]


@dataclass(frozen=True)
class Verdict:
    """What became of a run: the properties that were broken, or the name of another failure."""

    broken: tuple[str, ...]
    words: str

    def __bool__(self) -> bool:
        return bool(self.broken)


def run_once(case: Case, seed: int) -> Verdict:
    session = ConvergenceEngine().create_session(f"seed {seed}", trace=False, seed=seed, **case.options)
    try:
        session.run(case.scenario, **case.inputs)
    except PropertyViolation as violation:
        return Verdict(tuple(sorted({one.property for one in violation.violations})), str(violation))
    except RunFailure as failure:
        return Verdict((type(failure).__name__,), str(failure))
    return Verdict((), "")
