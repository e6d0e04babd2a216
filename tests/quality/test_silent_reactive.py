"""Reactive agents without a bug raise no alarm, whatever the network, the order and the luck of their handlers."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import HandlerFailed, Outcome, Publish, Reactive, Saga, Step
from tests.quality.silence import NETWORKS, silent

AGENTS = ["shop", "depot", "bank", "ledger"]
PATTERNS = (Reactive(max_attempts=10), Reactive(order="causal", max_attempts=10, publisher="bank"))


async def note(agent: Any, payload: Any) -> Any:
    await asyncio.sleep(agent.random.choice([0, 0, 0.01, 2]))
    agent.state.set(f"seen.{agent.name}.{payload}", True)
    return payload


def often(agent: Any, payload: Any) -> str:
    if agent.random.random() < 0.3:
        raise ValueError("no luck")
    return f"{agent.name} did {payload}"


def undo(agent: Any, payload: Any) -> None:
    if agent.random.random() < 0.1:
        raise ValueError("once more")


HANDLERS = {
    "ordered": {"depot": lambda order: Publish("packed", order), "ledger": note},
    "packed": {"shop": lambda order: [Publish("sent", order), Publish("buy", order)], "ledger": note},
    "sent": {"ledger": note, "depot": often},
    "buy": Saga(
        [
            Step("reserve", "depot", often, undo),
            Step("charge", "bank", often, undo),
            Step("ship", "depot", often),
            Step("tell", "shop", often),
        ],
        pivot="ship",
    ),
}


def is_sound(outcome: Outcome) -> bool:
    """Everybody handled everything, and every saga came to one of its two ends."""
    output = outcome.output
    sagas = [each["saga"] for each in output["buy"]["depot"]]
    return (
        (outcome.converged or HandlerFailed("ValueError: no luck") in output["sent"]["depot"])
        and output["packed"]["ledger"] == [1, 2, 3]
        and output["sent"]["ledger"] == [1, 2, 3]
        and len(sagas) == 3
        and set(sagas) <= {"done", "undone"}
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_reactive_agents_without_a_bug_raise_no_alarm(network: str) -> None:
    def options(seed: int) -> Any:
        return {"pattern": PATTERNS[seed % 2], "agents": AGENTS, "network": network}

    events = [("ordered", 1), ("ordered", 2), ("ordered", 3)]
    silent(options, {"handlers": HANDLERS, "events": events}, accept=is_sound)
