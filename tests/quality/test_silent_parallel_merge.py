"""A correct parallel merge raises no alarm, under any network, with crashes."""

import asyncio

import pytest

from pytest_convergence import Merged, ParallelMerge
from tests.quality.silence import NETWORKS, silent

AGENTS = ("a", "b", "c", "d", "e")
FAULTS = ["crash", "partition", "pause", "skew"]
BASE = {"title": "draft", "sections": {}, "tags": {"new"}}


async def work(agent, task):
    await asyncio.sleep(task)
    return 10 * task


async def edit(agent, task):
    await asyncio.sleep(task)
    return {**BASE, "sections": {agent.name: task}, "tags": BASE["tags"] | {agent.name}}


async def sometimes_never(agent, task):
    if agent.name == "b":
        await asyncio.sleep(10_000)
    return [task]


@pytest.mark.parametrize("network", NETWORKS)
def test_two_rounds_with_hedges(network):
    rounds = [dict.fromkeys(AGENTS, 1), {"b": 3, "d": 0.5, "e": 1}]
    silent(
        {
            "pattern": ParallelMerge(hedge_seconds=2),
            "agents": list(AGENTS),
            "network": network,
            "faults": FAULTS,
        },
        {"tasks": rounds, "work": work, "merge": lambda results: list(results.values())},
        accept=lambda outcome: outcome.converged and outcome.output == ([10] * 5, [30, 5, 10]),
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_a_three_way_merge(network):
    merged = {
        "title": "draft",
        "sections": {"a": 1, "b": 2, "c": 3},
        "tags": {"new", "a", "b", "c"},
    }

    silent(
        {"pattern": "parallel-merge", "agents": list(AGENTS), "network": network, "faults": FAULTS},
        {"tasks": {"a": 1, "b": 2, "c": 3}, "work": edit, "merge": "three-way", "base": BASE},
        accept=lambda outcome: outcome.converged and outcome.output == merged,
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_a_straggler_is_flagged(network):
    silent(
        {
            "pattern": ParallelMerge(deadline_seconds=60),
            "agents": list(AGENTS),
            "network": network,
            "faults": FAULTS,
        },
        {"tasks": {"a": 1, "b": 2, "c": 3}, "work": sometimes_never, "merge": lambda one, other: one + other},
        accept=lambda outcome: (
            outcome.converged
            and isinstance(outcome.output, Merged)
            and outcome.output.value == [1, 3]
            and outcome.output.missing == ("b",)
        ),
    )
