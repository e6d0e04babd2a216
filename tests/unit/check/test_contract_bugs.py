"""Bugs in a contract net are caught by the property that is meant for them; correct agents are not."""

from collections import Counter
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation
from tests.unit.check import own_contract
from tests.unit.check.own_contract import Manager, cast

AGENTS = ["boss", "a", "b", "c", "d"]
INPUTS: Any = {"task": "T", "compete": lambda agent, task: task, "score": lambda result, agent: 1}


def runs(
    manager: type[Manager], seeds: int, *, lazy: float = 0.0, shy: bool = False, network: str = "flaky"
) -> Counter[str]:
    """Return how many of the runs of a user's own agents broke each property."""
    found: Counter[str] = Counter()
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}",
            pattern="competitive",
            agents=AGENTS,
            protocol=cast(manager, lazy, shy=shy),
            network=network,
            faults=["crash"],
            seed=seed,
            trace=False,
        )
        try:
            session.run(**INPUTS)
        except PropertyViolation as violation:
            found.update(each.property for each in violation.violations)
    return found


@pytest.mark.parametrize(
    ("bug", "name", "network", "at_least"),
    [
        pytest.param(own_contract.TieByArrival, "winner_rule", "flaky", 2, id="21 tie by arrival"),
        pytest.param(own_contract.NeverRevokes, "single_award", "chaos", 2, id="21 no revocation"),
        pytest.param(own_contract.TakesLateBids, "late_bid_rejected", "flaky", 6, id="21 late bid"),
        pytest.param(own_contract.BelievesItAccepted, "no_commit_without_accept", "flaky", 6, id="no accept"),
        pytest.param(own_contract.AwardsTheFirstPeer, "award_known_bidder", "flaky", 6, id="no bidder"),
        pytest.param(own_contract.TellsTheWinnerAlone, "every_bidder_answered", "flaky", 6, id="no answer"),
    ],
)
def test_a_bug_in_a_users_own_contract_net_is_caught(
    bug: type[Manager], name: str, network: str, at_least: int
) -> None:
    lazy = 7.0 if name == "late_bid_rejected" else 0.0
    found = runs(bug, 8, lazy=lazy, shy=name == "award_known_bidder", network=network)
    assert found[name] >= at_least


@pytest.mark.parametrize("network", ["perfect", "lan", "wan", "lossy", "flaky", "chaos"])
def test_a_users_own_contract_net_without_a_bug_is_not_reported(network: str) -> None:
    assert not runs(Manager, 4, network=network)
