"""A correct two-phase commit raises no alarm, on any network, while agents crash, pause and are cut off."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_convergence import Consensus, SimulatedAgent
from tests.quality.silence import NETWORKS, silent

AGENTS = [f"agent-{number}" for number in range(1, 6)]


async def slow_yes(agent: SimulatedAgent) -> str:
    await asyncio.sleep(0.2)
    return "yes"


def votes(seed: int) -> Mapping[str, Any]:
    """Mostly everybody says yes; some seeds have somebody say no, some ask a function."""
    given: dict[str, Any] = dict.fromkeys(AGENTS, "yes")
    if seed % 3 == 1:
        given[AGENTS[seed % 5]] = "no"
    if seed % 3 == 2:
        given[AGENTS[seed % 5]] = slow_yes
    return {"proposals": given}


@pytest.mark.parametrize("network", NETWORKS)
def test_two_phase_commit_is_silent(network: str) -> None:
    silent(
        {"pattern": Consensus(algorithm="two-phase-commit"), "agents": AGENTS, "network": network},
        votes,
        accept=lambda outcome: outcome.converged and outcome.output in ("commit", "abort"),
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_an_impatient_coordinator_is_silent(network: str) -> None:
    pattern = Consensus(algorithm="two-phase-commit", coordinator="agent-3", vote_seconds=0.3)
    silent({"pattern": pattern, "agents": AGENTS, "network": network}, votes)
