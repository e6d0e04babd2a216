"""What was derived from a value that is rolled back: agents that forget it are caught, others are not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation, Session, SimulatedAgent
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Update

Facts = dict[str, Any]
START: dict[str, Facts] = {
    "price": {"id": "p0", "path": "price", "value": 1, "at": 0, "seen": []},
    "total": {"id": "t0", "path": "total", "value": 10, "at": 0, "seen": []},
}


class Shop:
    """a and c set a price; b computes the total from the first that it hears of. Rival prices are all taken back."""

    careful = True

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent = agent
        self.prices: dict[str, Facts] = {}
        self.total = START["total"]

    async def run(self) -> None:
        if self.agent.name == "a":
            for first in START.values():
                self.agent.observe("write", **first)
        if self.agent.name in "ac":
            await asyncio.sleep(self.agent.random.uniform(0, 0.2))
            await self.tell("price", f"p-{self.agent.name}", 2 if self.agent.name == "a" else 3, ["p0"])
        async for message in self.agent.inbox:
            await self.take(message.payload)

    async def tell(self, path: str, id: str, value: Any, seen: list[str], **more: Any) -> None:
        write = {"id": id, "path": path, "value": value, "at": self.agent.now(), "seen": seen, **more}
        self.agent.observe("write", by=self.agent.name, **write)
        await self.take(write)
        await self.agent.broadcast(write)

    async def take(self, write: Facts) -> None:
        if write["path"] == "price":
            self.prices[write["id"]] = write
        else:
            self.total = write
        if self.agent.name == "b" and write["path"] == "price" and len(self.prices) == 1:
            await self.tell(
                "total", "t1", write["value"] * 10, ["p0", "t0", write["id"]], derived_from=[write["id"]]
            )
        if len(self.prices) == 2:
            rivals = sorted(self.prices)
            self.agent.observe("conflict", path="price", writes=rivals, value=1, strategy="rollback")
            if self.careful:
                self.total = START["total"]
        self.agent.observe("keep", path="total", write=self.total["id"], strategy="rollback")


class ForgetsTheTotal(Shop):
    """The price goes back; the total that was computed from it stays."""

    careful = False


def alarms(kind: type[Shop], seeds: range) -> int:
    async def behave(agent: SimulatedAgent) -> None:
        await kind(agent).run()

    found = 0
    for seed in seeds:
        agents = dict.fromkeys("abc", behave)
        session = ConvergenceEngine().create_session(
            "shop", agents=agents, properties=["dependants_undone"], network="wan", seed=seed
        )
        try:
            session.run()
        except PropertyViolation as violation:
            assert violation.violations[0].property == "dependants_undone"
            found += 1
    return found


def test_agents_that_leave_standing_what_was_derived_are_caught() -> None:
    assert alarms(ForgetsTheTotal, range(20)) == 20


def test_agents_that_take_it_back_are_silent() -> None:
    assert alarms(Shop, range(40)) == 0


async def prices(session: Session) -> None:
    a, b, c = session.agents.values()
    a.state.set("price", 1)
    a.state.set("total", 10)
    await session.sleep(5)
    with session.network.partition([a, b], [c]):
        a.state.set("price", 2)
        c.state.set("price", 3)
        await session.sleep(5)
        b.state.set("total", 20, depends_on=["price"])
        await session.sleep(5)


@pytest.mark.parametrize("sync", ["full", "delta", "event", "crdt", "vector-clock"])
@pytest.mark.parametrize("network", ["perfect", "chaos"])
def test_replicas_take_it_back_whatever_way_they_synchronise(sync: str, network: str) -> None:
    session = ConvergenceEngine().create_session(
        "shop", agents=["a", "b", "c"], sync=sync, resolve="rollback", network=network, seed=4
    )
    outcome = session.run(prices)
    assert outcome.converged
    for agent in session.agents.values():
        assert agent.state.as_dict() == {"price": 1, "total": 10}


def test_a_replica_that_forgets_it_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(replica: Replica) -> None:
        replica._derived.clear()

    def quiet(replica: Replica, update: Update) -> None:
        return None

    monkeypatch.setattr(Replica, "_review", forgets)
    monkeypatch.setattr(Replica, "_undo_with", quiet)
    session = ConvergenceEngine().create_session("shop", agents=["a", "b", "c"], resolve="rollback")
    with pytest.raises(
        PropertyViolation, match=r"rolls price back and not b's 20 at total, which was derived from it"
    ):
        session.run(prices)
