"""A correct consensus, by rounds of votes or by Paxos, raises no alarm, on any network, while agents crash and pause."""

from typing import Any

import pytest

from pytest_convergence import Consensus
from tests.quality.silence import NETWORKS, silent

AGENTS = [f"agent-{number}" for number in range(1, 6)]
SPLIT = {"proposals": dict(zip(AGENTS, "AABBC", strict=True))}
MAJORITY = {"proposals": dict(zip(AGENTS, "AABAB", strict=True))}

PATTERNS: dict[str, tuple[Any, Any]] = {
    "voting, a majority": (Consensus(), MAJORITY),
    "voting, ties broken": (Consensus(tie="first-agent", revise="plurality"), SPLIT),
    "voting, two thirds": (Consensus(quorum=2 / 3, tie="lowest", revise="plurality"), SPLIT),
    "paxos": (Consensus(algorithm="paxos"), SPLIT),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("algorithm", PATTERNS)
def test_consensus_is_silent(algorithm: str, network: str) -> None:
    pattern, proposals = PATTERNS[algorithm]
    silent({"pattern": pattern, "agents": AGENTS, "network": network}, proposals)
