"""A correct bully election raises no alarm: it has one leader once the faults have stopped."""

import pytest

from pytest_convergence import LeaderFollower
from tests.quality.silence import NETWORKS, silent

AGENTS = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_bully_election_is_silent(network: str) -> None:
    silent({"pattern": LeaderFollower("bully"), "agents": AGENTS, "network": network})
