"""A live quorum of a correct protocol comes to its result although a minority stays down: no alarm, on any network."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import Consensus, LeaderFollower
from tests.quality.silence import NETWORKS, silent

AGENTS = [f"agent-{number}" for number in range(1, 6)]
PROPOSALS = {"proposals": dict(zip(AGENTS, "AABBC", strict=True))}

PATTERNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "paxos": (Consensus(algorithm="paxos"), PROPOSALS),
    "raft": (Consensus(algorithm="raft"), PROPOSALS),
    "election by raft": (LeaderFollower(), {}),
    "election by bully": (LeaderFollower(algorithm="bully"), {}),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("protocol", PATTERNS)
def test_a_live_quorum_is_enough(protocol: str, network: str) -> None:
    pattern, inputs = PATTERNS[protocol]
    options = {"pattern": pattern, "agents": AGENTS, "network": network, "properties": ["liveness_core"]}
    # The profiles in which a minority stays down when the faults stop.
    silent(lambda seed: {**options, "noise": ("fast-restart", "leader-target")[seed % 2]}, inputs)
