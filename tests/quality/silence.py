"""Correct agents raise no alarm: runs a session under many seeds and every network profile.

A test is one call for one profile::

    @pytest.mark.parametrize("network", NETWORKS)
    def test_the_reference_protocol_is_silent(network):
        silent({"pattern": "consensus", "agents": 5, "network": network}, {"proposals": …})

``CONVERGENCE_QUALITY_SEEDS`` sets how many seeds each profile is run under.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence.errors import RunFailure

__all__ = ["FAULTS", "NETWORKS", "SEEDS", "alarms", "silent"]

SEEDS: Final = int(os.environ.get("CONVERGENCE_QUALITY_SEEDS", "6"))
"""Under how many seeds each profile is run."""

NETWORKS: Final = ("perfect", "lan", "wan", "lossy", "flaky", "chaos")
FAULTS: Final = ("crash", "partition", "pause")

_SHOWN: Final = 10

Given = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]


def alarms(
    options: Given,
    inputs: Given | None = None,
    seeds: int | Iterable[int] = SEEDS,
    *,
    scenario: Any = None,
    accept: Callable[[Outcome], bool] = lambda outcome: outcome.converged,
) -> dict[int, str]:
    """Run the session under each seed; return what went wrong, by seed.

    Args:
        options: of ``create_session``, or a function from the seed to them. Without ``faults`` they are :data:`FAULTS`.
        inputs: of ``Session.run``, or a function from the seed to them.
        scenario: the coroutine function that drives the session, if one does.
        accept: whether an outcome is as it should be; by default it must have converged.
    """
    found: dict[int, str] = {}
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        chosen = {"faults": list(FAULTS), "trace": False, **_of(options, seed), "seed": seed}
        session = ConvergenceEngine().create_session(f"seed {seed}", **chosen)
        try:
            outcome = session.run(scenario, **_of(inputs or {}, seed))
        except RunFailure as failure:
            found[seed] = f"{type(failure).__name__}: {failure}"
            continue
        if not accept(outcome):
            found[seed] = f"{outcome.state.value}, {outcome.reasons}, output {outcome.output!r}"
    return found


def silent(
    options: Given,
    inputs: Given | None = None,
    seeds: int | Iterable[int] = SEEDS,
    **more: Any,
) -> None:
    """Assert that :func:`alarms` finds nothing."""
    found = alarms(options, inputs, seeds, **more)
    shown = "\n".join(f"seed {seed}: {what}" for seed, what in list(found.items())[:_SHOWN])
    assert not found, f"{len(found)} false alarms:\n{shown}"


def _of(given: Given, seed: int) -> Mapping[str, Any]:
    return given(seed) if callable(given) else given
