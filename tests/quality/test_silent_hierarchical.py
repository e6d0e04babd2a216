"""Hierarchies without a bug raise no alarm, whatever the network, the strategy and the luck of those who work."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import Hierarchical, Outcome
from tests.quality.silence import NETWORKS, silent

AGENTS = ["boss", "left", "right", "a", "b", "c", "d"]
TREE = {"boss": ["left", "right"], "left": ["a", "b"], "right": ["c", "d"]}
PATTERNS = (
    Hierarchical(),
    Hierarchical("one_for_all", deadline_seconds=60),
    Hierarchical("rest_for_one", deadline_seconds=60, max_restarts=10),
    Hierarchical(deadline_seconds=20, silence_seconds=3),
)


async def work(agent: Any, part: list[int]) -> int:
    await asyncio.sleep(agent.random.choice([0, 0.01, 0.5, 5]))
    if agent.random.random() < 0.1:
        raise ValueError("no luck")
    return sum(part)


def thirds(task: list[int], children: tuple[str, ...]) -> list[list[int]]:
    return [task[0::3], task[1::3], task[2::3]]


def options(network: str) -> Any:
    return lambda seed: {"pattern": PATTERNS[seed % len(PATTERNS)], "agents": AGENTS, "network": network}


def is_sound(outcome: Outcome) -> bool:
    """Right, or given up for a reason: never wrong, never without a word."""
    if outcome.converged:
        return bool(outcome.output == 66)
    return outcome.output is None and "the root gave up" in str(outcome)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_hierarchy_without_a_bug_raises_no_alarm(network: str) -> None:
    inputs = {"tree": TREE, "task": list(range(12)), "split": thirds, "work": work, "combine": sum}
    silent(options(network), inputs, accept=is_sound)
