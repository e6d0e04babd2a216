"""A correct contract net raises no alarm, under any network, with crashes."""

import asyncio

import pytest

from pytest_convergence import Competitive
from tests.quality.silence import NETWORKS, silent

AGENTS = ("a", "b", "c", "d", "e")
FAULTS = ["crash", "partition", "pause", "skew"]
SCORES = {"a": 1, "b": 3, "c": 3, "d": 2, "e": 1}
"""Two are equally good: the one that is configured first wins."""


def by_the_rule(outcome, done=""):
    """The best keeps the contract, or the next where awards were revoked: under chaos an answer may come too late."""
    award = outcome.output
    return (
        outcome.converged
        and award.winner == award.ranking[award.number - 1]
        and award.result == f"T by {award.winner}{done}"
        and award.score == SCORES[award.winner]
    )


async def compete(agent, task):
    await asyncio.sleep(AGENTS.index(agent.name))
    return f"{task} by {agent.name}"


def score(result, agent):
    return SCORES[agent.name]


async def perform(agent, task, result):
    await asyncio.sleep(3)
    return f"{result}, done"


async def unless_best(agent, task, result):
    """The best one never finishes: the contract goes to the next."""
    await asyncio.sleep(10_000 if agent.name == "b" else 3)
    return f"{result}, done"


@pytest.mark.parametrize("mode", ["contract-net", "tournament"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_best_wins(network, mode):
    silent(
        {"pattern": Competitive(mode=mode), "agents": list(AGENTS), "network": network, "faults": FAULTS},
        {"task": "T", "compete": compete, "score": score},
        accept=by_the_rule,
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_the_winner_performs(network):
    silent(
        {
            "pattern": Competitive(manager="e", best="lowest"),
            "agents": list(AGENTS),
            "network": network,
            "faults": FAULTS,
        },
        {"task": "T", "compete": compete, "score": score, "perform": perform},
        accept=lambda outcome: by_the_rule(outcome, ", done"),
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_a_contract_that_is_not_kept_goes_to_the_next(network):
    silent(
        {
            "pattern": Competitive(perform_seconds=60),
            "agents": list(AGENTS),
            "network": network,
            "faults": FAULTS,
        },
        {"task": "T", "compete": compete, "score": score, "perform": unless_best},
        accept=lambda outcome: by_the_rule(outcome, ", done") and outcome.output.winner != "b",
    )
