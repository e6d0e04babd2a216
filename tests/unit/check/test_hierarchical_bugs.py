"""Bugs in a hierarchy are caught by the property that is meant for them; the reference protocol is silent."""

import asyncio
from typing import Any

import pytest

from pytest_convergence._engine.patterns.hierarchical import Hierarchical
from tests.unit.check.planted import broken

AGENTS = ("boss", "left", "right", "a", "b", "c", "d")
TREE = {"boss": ["left", "right"], "left": ["a", "b"], "right": ["c", "d"]}


async def work(agent: Any, part: list[int]) -> int:
    await asyncio.sleep(agent.random.uniform(0.1, 4))
    return sum(part)


async def slow_work(agent: Any, part: list[int]) -> int:
    await asyncio.sleep(agent.random.uniform(1, 40))
    return sum(part)


def halves(task: list[int]) -> list[list[int]]:
    return [task[: len(task) // 2], task[len(task) // 2 :]]


INPUTS = {"tree": TREE, "task": list(range(8)), "split": halves, "work": work, "combine": sum}
IMALL = Hierarchical("one_for_all", deadline_seconds=60.0)
REST = Hierarchical("rest_for_one", deadline_seconds=60.0)


@pytest.mark.parametrize(
    ("pattern", "work"),
    [(PATIENT, work), (SHORT, slow_work), (ALL, fails_often), (REST, fails_often), (SHORT, fails_for_a)],
    ids=["patient", "short", "all", "rest", "hopeless"],
)
def test_the_reference_protocol_is_silent(pattern: Hierarchical, work: Any) -> None:
    assert not broken(pattern, AGENTS, {**INPUTS, "work": work}, 4)
