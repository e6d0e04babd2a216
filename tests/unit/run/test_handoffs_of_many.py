"""Many works for few workers: who finds no room is told when there is some, and need not ask again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.sim.harness import run_session

WORKERS = ("a", "b", "c")
WORKS = 60


async def planner(agent: Any) -> int:
    async def one(number: int) -> int:
        handed = await agent.hand_off({"number": number}, capabilities={"review"}, timeout=600)
        done: int = await handed.finished()
        return done

    return sum(await asyncio.gather(*map(one, range(WORKS))))


async def worker(agent: Any) -> None:
    agent.offers({"review"}, capacity=2)

    @agent.on_handoff
    async def review(handoff: Any) -> int:
        await asyncio.sleep(1)
        return 1

    async for _ in agent.inbox:
        pass


BEHAVIOURS = {"planner": planner, **dict.fromkeys(WORKERS, worker)}


def test_messages_grow_with_the_works_and_not_with_how_long_they_wait():
    outcome = run_session(agents=BEHAVIOURS, network="lan", seed=1)
    assert outcome.results["planner"] == WORKS
    assert outcome.duration < 1.5 * WORKS / (2 * len(WORKERS)), "and workers do not idle"
    assert outcome.metrics.protocol_messages < 80 * WORKS


@pytest.mark.parametrize("network", ["lossy", "flaky"])
@pytest.mark.parametrize("seed", range(3))
def test_words_that_are_lost_cost_time_and_no_works(network: str, seed: int):
    outcome = run_session(agents=BEHAVIOURS, network=network, seed=seed)
    assert outcome.results["planner"] == WORKS


def test_a_worker_that_crashes_leaves_nobody_waiting_for_ever():
    async def scenario(session: Any) -> None:
        for name in WORKERS[:2]:
            await session.sleep(3)
            session.agents[name].crash()
            await session.sleep(1)
            session.agents[name].restart()
        await session.finished()

    outcome = run_session(scenario, agents=BEHAVIOURS, network="lan", seed=2)
    assert outcome.results["planner"] == WORKS
