"""The planted bugs of pipelines as a user would write them, in agents of the user's own, under the marker's noise."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, Pipeline, PropertyViolation
from tests.quality.silence import NETWORKS, silent

ORDERS = [{"id": f"order-{number}", "account": "xyz"[number % 3]} for number in range(9)]
REFUSED = "order-4"
ATTEMPTS = 3
ROOM = 2


class Shop:
    """Sends orders to the ledger, those of an account one after the other, and each until it is answered."""

    async def __call__(self, agent):
        for order in ORDERS:
            agent.observe("feed", item=order["id"], order=order["account"])
        async with asyncio.TaskGroup() as group:
            for account in "xyz":
                lane = [order for order in ORDERS if order["account"] == account]
                group.create_task(self.deliver_lane(agent, lane))

    async def deliver_lane(self, agent, lane):
        for order in lane:
            await self.deliver(agent, order)

    async def deliver(self, agent, order):
        while not agent.storage.get(f"done {order['id']}"):
            try:
                await agent.request("ledger", order, timeout=2)
            except TimeoutError:
                continue
            agent.storage.put(f"done {order['id']}", True)
            await agent.storage.sync()


class Ledger:
    """Books orders, each once, and answers for an order when it is booked or refused for good."""

    async def __call__(self, agent):
        self.forget()
        async for message in agent.inbox:
            if await self.settle(agent, message):
                id = message.payload["id"]
                agent.observe("ack", item=id, durable=f"booked {id}")
                await agent.reply(message)

    def forget(self):
        """A life begins."""

    def is_booked(self, agent, id):
        return agent.storage.get(f"booked {id}")

    async def settle(self, agent, message):
        """Return whether the sender may be told."""
        id = message.payload["id"]
        if self.is_booked(agent, id):
            agent.observe("effect", item=id, recalled=True)
            return True
        failures = agent.storage.get(f"failures {id}", 0)
        if failures >= ATTEMPTS:
            return self.bury(agent, id, recalled=True)
        agent.observe("take", item=id, of=ROOM)
        await asyncio.sleep(0.05)
        if id != REFUSED:
            await self.book(agent, id)
            return True
        agent.storage.put(f"failures {id}", failures + 1)
        await agent.storage.sync()
        agent.observe("fail", item=id, of=ATTEMPTS, error="no such account")
        agent.observe("release", item=id)
        return failures + 1 >= ATTEMPTS and self.bury(agent, id)

    async def book(self, agent, id):
        agent.storage.put(f"booked {id}", True)
        await agent.storage.sync()
        agent.observe("effect", item=id)

    def bury(self, agent, id, **data):
        agent.observe("dead_letter", item=id, error="no such account", **data)
        return True


# -- planted bugs ------------------------------------------------------------------------------------------------------


class AcksFirst(Ledger):
    async def __call__(self, agent):
        async for message in agent.inbox:
            agent.observe("ack", item=message.payload["id"])
            await agent.reply(message)
            await self.settle(agent, message)


class RepliesBeforeTheSync(Ledger):
    async def book(self, agent, id):
        agent.storage.put(f"booked {id}", True)
        agent.observe("effect", item=id)


class NoKey(Ledger):
    def is_booked(self, agent, id):
        return False


class DedupInMemory(Ledger):
    def __init__(self):
        self.booked = set()

    def forget(self):
        self.booked = set()

    def is_booked(self, agent, id):
        return id in self.booked

    async def book(self, agent, id):
        await super().book(agent, id)
        self.booked.add(id)


class SeveralInFlight(Shop):
    async def deliver_lane(self, agent, lane):
        await asyncio.gather(*(self.deliver(agent, order) for order in lane))


class RetriesForEver(Ledger):
    def bury(self, agent, id, **data):
        agent.observe("fail", item=id, of=ATTEMPTS, error="no such account")
        return False


class Drops(Ledger):
    def bury(self, agent, id, **data):
        return True


class TakesTooMuch(Ledger):
    async def __call__(self, agent):
        async with asyncio.TaskGroup() as group:
            async for message in agent.inbox:
                group.create_task(self.work(agent, message))

    async def work(self, agent, message):
        if await self.settle(agent, message):
            await agent.reply(message)


class Invents(Ledger):
    async def book(self, agent, id):
        await super().book(agent, f"order {id}")


def broken(shop: Any, ledger: Any, seed: int, network: str = "flaky") -> set[str]:
    """Run once; return the names of the properties that were broken."""
    session = ConvergenceEngine().create_session(
        "own",
        agents={"shop": shop(), "ledger": ledger()},
        properties=Pipeline().properties,
        network=network,
        faults=["crash", "partition"],
        seed=seed,
    )
    try:
        session.run()
    except PropertyViolation as violation:
        return {found.property for found in violation.violations}
    return set()


@pytest.mark.parametrize(
    ("shop", "ledger", "name", "seeds", "at_least"),
    [
        pytest.param(Shop, AcksFirst, "no_acked_loss", 40, 3, id="14 ack before durable"),
        pytest.param(Shop, RepliesBeforeTheSync, "reply_before_sync", 5, 5, id="14 ack before sync"),
        pytest.param(Shop, NoKey, "effect_at_most_once", 10, 8, id="15 no idempotency key"),
        pytest.param(Shop, DedupInMemory, "effect_at_most_once", 40, 3, id="16 dedup in memory"),
        pytest.param(SeveralInFlight, Ledger, "per_key_order", 10, 5, id="17 several in flight"),
        pytest.param(Shop, RetriesForEver, "bounded_retry", 5, 5, id="18 retried for ever"),
        pytest.param(Shop, Drops, "dlq_complete", 5, 4, id="18 dropped"),
        pytest.param(Shop, Drops, "conservation", 5, 4, id="18 dropped, and counted"),
        pytest.param(SeveralInFlight, TakesTooMuch, "backpressure", 10, 5, id="takes too much"),
        pytest.param(Shop, Invents, "no_unexpected", 5, 5, id="invents items"),
    ],
)
def test_a_bug_in_a_pipeline_of_ones_own_is_caught(shop, ledger, name, seeds, at_least):
    assert sum(name in broken(shop, ledger, seed) for seed in range(seeds)) >= at_least


@pytest.mark.parametrize("network", NETWORKS)
def test_a_pipeline_of_ones_own_without_a_bug_is_silent(network):
    agents = {"shop": Shop(), "ledger": Ledger()}
    silent({"agents": agents, "properties": Pipeline().properties, "network": network})
