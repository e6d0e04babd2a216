"""Rows 14 to 18: a shop sends orders, and a ledger books each of them once, durably, before it says so."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any, Final

from pytest_convergence import Message, Pipeline, SimulatedAgent
from tests.quality.planted.bug import Bug, Case

ORDERS: Final = [{"id": number, "account": "xyz"[number % 3]} for number in range(6)]
ATTEMPTS: Final = 3
POISON: Final = 4


async def shop(agent: SimulatedAgent, *, all_at_once: bool = False) -> None:
    """Send the orders of each account in order, each until it is answered."""
    for order in ORDERS:
        agent.observe("feed", item=order["id"], order=order["account"])

    async def deliver(orders: list[dict[str, Any]]) -> None:
        for order in orders:
            while not agent.storage.get(f"done {order['id']}"):
                try:
                    await agent.request("ledger", order, timeout=2)
                except TimeoutError:
                    continue  # lost, or still at work: ask again
                agent.storage.put(f"done {order['id']}", True)
                await agent.storage.sync()

    async with asyncio.TaskGroup() as group:
        for account in "xyz":
            orders = [order for order in ORDERS if order["account"] == account]
            for some in [[order] for order in orders] if all_at_once else [orders]:
                group.create_task(deliver(some))


async def hasty_shop(agent: SimulatedAgent) -> None:
    await shop(agent, all_at_once=True)


class Ledger:
    """Books orders; after some attempts it gives one up."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent, self.disk = agent, agent.storage

    async def run(self) -> None:
        async for message in self.agent.inbox:
            await self.take(message, message.payload["id"])

    async def take(self, message: Message, item: int) -> None:
        if self.is_booked(item):
            self.agent.observe("effect", item=item, recalled=True)
        elif self.failures(item) >= ATTEMPTS:
            self.agent.observe("dead_letter", item=item, error="refused", recalled=True)
        else:
            await asyncio.sleep(0.05)  # the work
            if item != POISON:
                await self.book(item)
            elif not await self.gives_up(item):
                return  # no answer: the shop asks again
        await self.answer(message, item)

    def is_booked(self, item: int) -> bool:
        return bool(self.disk.get(f"booked {item}"))

    def failures(self, item: int) -> int:
        return int(self.disk.get(f"failures {item}", 0))

    async def book(self, item: int) -> None:
        self.disk.put(f"booked {item}", True)
        await self.disk.sync()
        self.agent.observe("effect", item=item)

    async def gives_up(self, item: int) -> bool:
        self.disk.put(f"failures {item}", self.failures(item) + 1)
        await self.disk.sync()
        self.agent.observe("fail", item=item, of=ATTEMPTS, error="refused")
        if self.failures(item) == ATTEMPTS:
            self.agent.observe("dead_letter", item=item, error="refused")
        return self.failures(item) >= ATTEMPTS

    async def answer(self, message: Message, item: int) -> None:
        self.agent.observe("ack", item=item, durable=f"booked {item}")
        await self.agent.reply(message)


class AnswersFirst(Ledger):
    async def take(self, message: Message, item: int) -> None:
        if item != POISON and not self.is_booked(item):
            await self.answer(message, item)
        await super().take(message, item)


class HasNoKey(Ledger):
    def is_booked(self, item: int) -> bool:
        return False


class RemembersInMemory(Ledger):
    def is_booked(self, item: int) -> bool:
        return item in getattr(self, "booked", ())

    async def book(self, item: int) -> None:
        self.booked = {*getattr(self, "booked", ()), item}
        await super().book(item)


class TriesForEver(Ledger):
    async def gives_up(self, item: int) -> bool:
        self.agent.observe("fail", item=item, of=ATTEMPTS, error="refused")
        return False


class DropsWhatFails(Ledger):
    async def gives_up(self, item: int) -> bool:
        return True


@cache
def case(ledger: type[Ledger] = Ledger, sender: Any = shop) -> Case:
    async def clerk(agent: SimulatedAgent) -> None:
        await ledger(agent).run()

    options = {"agents": {"shop": sender, "ledger": clerk}, "properties": list(Pipeline().properties)}
    return Case(options | {"network": "lossy", "faults": ["crash", "partition"]})


def bug(row: int, name: str, buggy: Case, caught_by: str, budget: int) -> Bug:
    return Bug(row, name, buggy, case(), tuple(caught_by.split()), budget)


BUGS: Final = (
    bug(14, "ack before durable", case(AnswersFirst), "no_acked_loss", 300),
    bug(15, "no idempotency key", case(HasNoKey), "effect_at_most_once", 300),
    bug(16, "dedup in memory", case(RemembersInMemory), "effect_at_most_once", 3_000),
    bug(17, "several in flight per key", case(sender=hasty_shop), "per_key_order", 300),
    bug(18, "poison retried for ever", case(TriesForEver), "bounded_retry", 30),
    bug(18, "poison dropped", case(DropsWhatFails), "no_acked_loss conservation dlq_complete", 30),
)
