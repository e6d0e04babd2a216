"""Correct replicas raise no alarm, whatever way they synchronise, under every network with crashes and partitions."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.state.sync import SYNCS, EventLog
from pytest_convergence.errors import AgentCrashedError
from tests.quality.silence import NETWORKS, silent

AGENTS = ("a", "b", "c")
ROUNDS = 2


async def _writes(session: Session) -> None:
    """Everybody writes something of each kind, now and then; whoever has crashed writes nothing."""
    for number in range(ROUNDS):
        for agent in session.agents.values():
            try:
                _write(agent.state, number, agent.name)
            except AgentCrashedError:
                continue
        await session.sleep(0.5)


def _write(state: Any, number: int, name: str) -> None:
    """Half of the kinds of writes in one round, the other half in the next."""
    state.set("plan.title", f"{name} {number}")
    state.increment("count", number)
    state.add("tags", number)
    if number % 2:
        state.append("log", name)
        state.discard("tags", number - 1)
        state.delete("plan")
    else:
        state.set(f"own.{name}", number)
        state.insert("text", 0, name)


@pytest.mark.parametrize("network", NETWORKS)
def test_logs_that_are_folded_often_are_silent(network: str) -> None:
    silent({"agents": list(AGENTS), "sync": EventLog(snapshot_every=3), "network": network}, scenario=_writes)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sync", SYNCS)
def test_replicas_are_silent(sync: str, network: str) -> None:
    silent({"agents": list(AGENTS), "sync": sync, "network": network}, scenario=_writes)
