"""A correct consensus, by rounds of votes or by Paxos, raises no alarm, on any network, while agents crash and pause."""

from typing import Any

import pytest

from pytest_convergence import Consensus, Outcome
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
    options = {"pattern": pattern, "agents": AGENTS, "network": network}
    silent(options, proposals, accept=lambda outcome: outcome.converged or _is_undecided(outcome))


def _is_undecided(outcome: Outcome) -> bool:
    """Without a tie rule and revision, ten rounds may pass in which no quorum of votes for one value was heard."""
    return outcome.output is None and "came to no result in 10 rounds" in str(outcome.reasons)
