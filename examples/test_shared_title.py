"""Everybody may write the title of a document. When two do at once, do all end up with the same one, and the right one?

"The last to arrive wins" passes many a test, because whoever is asked at the end often agrees. The plugin asks more: which
write should stand, by the rule that the agents themselves claim to follow.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import PropertyViolation, Session, SimulatedAgent

Write = dict[str, Any]
Rule = Callable[[list[Write], Write], Write]
RULES = ["detect_exact", "no_silent_loss", "deterministic_resolution", "last_write_rule", "convergence"]


def latest(rivals: list[Write], arrived: Write) -> Write:
    """Of writes that know nothing of each other the latest stands; equal times go by name."""
    return max(rivals, key=lambda write: (write["at"], write["by"]))


def newcomer(rivals: list[Write], arrived: Write) -> Write:
    """What arrived last stands: a mistake."""
    return arrived


def editor(rule: Rule) -> Callable[[SimulatedAgent], object]:
    """An agent that writes once and tells the others, who settle by ``rule`` what stands."""

    async def edit(agent: SimulatedAgent) -> None:
        known: dict[str, Write] = {}
        title: Write = {"value": None}
        agent.expose(lambda: title["value"])

        def take(write: Write) -> None:
            nonlocal title
            known[write["id"]] = write
            overwritten = {id for each in known.values() for id in each["seen"]}
            rivals = [each for id, each in known.items() if id not in overwritten]
            title = rule(rivals, write)
            said = {"path": "title", "strategy": "last-write"}
            if len(rivals) > 1:
                agent.observe("conflict", writes=[each["id"] for each in rivals], winner=title["id"], **said)
            agent.observe("keep", write=title["id"], **said)

        await asyncio.sleep(agent.random.uniform(0, 0.5))
        mine: dict[str, Any] = {"id": agent.name, "by": agent.name, "value": f"by {agent.name}"}
        mine |= {"at": round(agent.now(), 1), "seen": sorted(known)}
        agent.observe("write", path="title", **mine)
        take(mine)
        await agent.broadcast(mine)
        async for message in agent.inbox:
            take(message.payload)

    return edit


@pytest.mark.convergence(
    agents=dict.fromkeys(["ann", "bob", "cleo"], editor(latest)),
    properties=RULES,
    network="wan",
    schedules=20,
)
def test_the_latest_title_stands_everywhere(convergence_session: Session) -> None:
    convergence_session.run()


def test_a_title_that_goes_by_arrival_is_found_out(
    convergence_session_factory: Callable[..., Session],
) -> None:
    with pytest.raises(PropertyViolation, match="last_write_rule|deterministic_resolution"):
        for seed in range(20):
            convergence_session_factory(
                agents=dict.fromkeys(["ann", "bob", "cleo"], editor(newcomer)),
                properties=RULES,
                network="wan",
                seed=seed,
            ).run()
