"""Hand-offs of correct agents raise no alarm, under every network, with crashes, partitions, pauses, skewed clocks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_convergence import StaleTokenError
from tests.quality.silence import FAULTS, NETWORKS, silent

AGENTS = ("planner", "a", "b", "c", "d")


async def planner(agent: Any) -> dict[str, Any]:
    """Hands three works off under names of its own, so that a life after a crash goes on with them."""
    results: dict[str, Any] = {}
    for number in range(3):
        name = f"work-{number}"
        handed = await agent.hand_off(
            {"number": number}, capabilities={"review"}, state={"notes": [number]}, id=name, timeout=60
        )
        results[name] = await handed.finished() if handed.accepted else handed.outcome.value
    return results


async def worker(agent: Any) -> None:
    """Works in steps, guarded by the token; hands every third work on in the middle."""
    agent.offers({"review"}, capacity=2)
    ledger = agent.session.resource("ledger")

    @agent.on_handoff
    async def review(handoff: Any) -> Any:
        for step in range(3):
            await asyncio.sleep(agent.random.uniform(0, 2))
            try:
                ledger.apply((handoff.id, step), token=handoff.token)
            except StaleTokenError:
                return None
            handoff.save({"notes": [*handoff.state["notes"], step]})
            if step == 1 and handoff.task["number"] == 2 and len(handoff.path) < 4:
                options = {"capabilities": {"review"}, "reason": "load-balancing", "state": handoff.state}
                if (await handoff.hand_off(**options)).accepted:
                    return None
        return handoff.task["number"] * 10

    async for _ in agent.inbox:
        pass


BEHAVIOURS = {name: planner if name == "planner" else worker for name in AGENTS}


@pytest.mark.parametrize("network", NETWORKS)
def test_works_are_neither_lost_nor_doubled(network):
    silent({"agents": BEHAVIOURS, "network": network, "faults": [*FAULTS, "skew"]})


@pytest.mark.parametrize("network", NETWORKS)
def test_a_work_survives_the_end_of_its_owner(network):
    async def scenario(session: Any) -> Any:
        planner_agent = session.agents["planner"]
        handed = await planner_agent.hand_off("sum", capabilities={"review"}, timeout=120)
        if not handed:
            return "not handed off"
        owner = session.agents[handed.owner]
        if owner.is_alive:
            owner.crash()
        return await handed.finished(timeout=600)

    async def patient(agent: Any) -> None:
        agent.offers({"review"})

        @agent.on_handoff
        async def review(handoff: Any) -> str:
            await asyncio.sleep(3)
            return f"reviewed {handoff.task}"

        async for _ in agent.inbox:
            pass

    async def silent_planner(agent: Any) -> None:
        async for _ in agent.inbox:
            pass

    behaviours = {name: silent_planner if name == "planner" else patient for name in AGENTS}
    silent(
        {"agents": behaviours, "network": network, "faults": ["partition", "pause"]},
        scenario=scenario,
        accept=lambda outcome: outcome.converged and outcome.output in ("reviewed sum", "not handed off"),
    )
