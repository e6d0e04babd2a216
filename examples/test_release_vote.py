"""A release goes out if all services say yes. May one that hears nothing for a while give up by itself?

No: it has said yes, and the others may have gone ahead. The plugin finds the schedule in which they had.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from pytest_convergence import Consensus, PropertyViolation, Session, SimulatedAgent

SERVICES = ["release", "billing", "search", "mail"]
RELEASE = {"pattern": Consensus(algorithm="two-phase-commit"), "agents": SERVICES, "network": "lossy"}
FAULTS = ["partition", "pause"]


async def decide(agent: SimulatedAgent, what: str) -> None:
    agent.observe("decide", value=what)
    async for message in agent.inbox:
        if message.type == "what now?":
            await agent.send(message.sender, what, type="decision")


async def release(agent: SimulatedAgent) -> None:
    """Ask everybody, and go ahead when all have said yes."""
    agent.observe("vote", round=1, value="yes")
    yes, deadline = {agent.name}, agent.now() + 2
    while len(yes) < len(SERVICES):
        for service in sorted(set(SERVICES) - yes):
            await agent.send(service, type="ready?")
        try:
            async with asyncio.timeout(0.2):
                while len(yes) < len(SERVICES):
                    yes.add((await agent.receive(type="yes")).sender)
        except TimeoutError:
            if agent.now() >= deadline:
                return await decide(agent, "abort")
    return await decide(agent, "commit")


async def service(agent: SimulatedAgent, *, patience: int | None = None) -> None:
    """Say yes, and ask what was decided until it is known; ``patience`` plants a bug: so often, and no more."""
    asked = 0
    while patience is None or asked < patience:
        try:
            message = await agent.receive(timeout=0.2)
        except TimeoutError:
            asked += 1
            await agent.send("release", type="what now?")
            continue
        if message.type == "decision":
            return await decide(agent, message.payload)
        agent.observe("vote", round=1, value="yes")
        await agent.send("release", type="yes")
    return await decide(agent, "abort")


PROPOSALS = dict.fromkeys(SERVICES, "yes")
TEAM = {"release": release, **dict.fromkeys(SERVICES[1:], service)}
IMPATIENT = TEAM | dict.fromkeys(SERVICES[1:], partial(service, patience=8))


@pytest.mark.convergence(protocol=TEAM, faults=FAULTS, schedules=30, **RELEASE)
def test_all_release_or_none_does(convergence_session: Session) -> None:
    convergence_session.run(proposals=PROPOSALS)


def test_a_service_that_gives_up_by_itself_is_found_out(
    convergence_session_factory: Callable[..., Session],
) -> None:
    with pytest.raises(PropertyViolation, match="agreement: .* decided 'commit' .* decided 'abort'"):
        for seed in range(300):
            convergence_session_factory(protocol=IMPATIENT, faults=FAULTS, seed=seed, **RELEASE).run(
                proposals=PROPOSALS
            )
