"""The catalogue of the runs whose digests are compared: each scenario enters itself under its own name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import RunFailure

DIGESTS = Path(__file__).with_name("digests.json")
SCENARIOS: dict[str, Callable[[], Outcome]] = {}
FAULTS = ["crash", "pause", "partition", "skew", "loss", "duplicate", "reorder", "delay"]


def scenario(function: Callable[[], Outcome]) -> Callable[[], Outcome]:
    SCENARIOS[function.__name__] = function
    return function


def run(
    drive: Callable[[Session], Any] | None = None, *, inputs: Mapping[str, Any] | None = None, **options: Any
) -> Outcome:
    session = ConvergenceEngine().create_session("determinism", **options)
    try:
        return session.run(drive, **(inputs or {}))
    except RunFailure as failure:
        assert failure.outcome is not None
        outcome: Outcome = failure.outcome
        return outcome


def digest_of(name: str) -> str:
    return SCENARIOS[name]().trace.digest()
