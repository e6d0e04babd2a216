"""Correct pipelines raise no alarm: the reference protocol, and one that a user might write."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import DeadLetter, Pipeline, Rejected, Stage
from tests.quality.silence import NETWORKS, silent

ITEMS: list[dict[str, Any]] = [
    {"id": number % 9, "account": "xyz"[number % 3], "amount": number % 9} for number in range(12)
]


async def parse(agent, item):
    await asyncio.sleep(agent.random.uniform(0, 0.2))
    if agent.random.random() < 0.1:
        raise ConnectionError("try again")
    return item


async def price(agent, item):
    if item["amount"] == 4:
        raise ValueError("four is unlucky")
    await asyncio.sleep(agent.random.choice([0.01, 0.1, 3]))
    return item["amount"] * 2


def book(amount):
    return f"{amount} booked"


STAGES = [
    Stage("parse", "a", parse, workers=2, accepts=lambda item: item["amount"] != 7, max_attempts=9),
    Stage("price", "b", price, timeout=1.0, workers=3, returns=int, max_attempts=20, credits=4),
    Stage("check", "b", lambda amount: amount),
    Stage("book", "c", book, accepts=int, returns=str),
]


def came_out_right(outcome) -> bool:
    for item, entry in zip(ITEMS, outcome.output or [None] * len(ITEMS), strict=True):
        if item["amount"] == 4:
            right = isinstance(entry, DeadLetter) and entry.stage == "price" and entry.attempts == 20
        elif item["amount"] == 7:
            right = isinstance(entry, Rejected) and entry.stage == "parse"
        else:
            right = entry == f"{item['amount'] * 2} booked"
        if not right:
            return False
    return outcome.converged


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "pattern",
    [
        Pipeline(key=lambda item: item["id"], order_by=lambda item: item["account"]),
        Pipeline(mode="at-least-once", order_by=lambda item: item["account"], feeder="c"),
        Pipeline(credits=1),
    ],
    ids=["effectively-once", "at-least-once", "one credit"],
)
def test_the_reference_pipeline_is_silent(network, pattern):
    silent(
        {"pattern": pattern, "agents": ["a", "b", "c"], "network": network},
        {"stages": STAGES, "items": ITEMS},
        accept=came_out_right,
    )
