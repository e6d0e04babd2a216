"""Rows 11, 12 and 13: a two-phase commit, as coroutines (Bernstein, Hadzilacos and Goodman 1987, section 7.4)."""

from __future__ import annotations

import asyncio
from functools import cache, partial
from typing import Final

from pytest_convergence import Consensus, SimulatedAgent
from tests.quality.planted.bug import FIVE, Bug, Case

VOTES: Final = ("yes", "no")
DECISIONS: Final = ("commit", "abort")


async def keep(agent: SimulatedAgent, fact: str, value: str, *, durable: bool = True) -> str:
    """Write down what was voted or decided, and say so."""
    if durable:
        agent.storage.put(fact, value)
        await agent.storage.sync()
    agent.observe(fact, round=1, value=value)
    return value


def kept(agent: SimulatedAgent, fact: str, words: tuple[str, str]) -> str | None:
    """Read what was written down; a word that a crash tore in two was never told to anybody."""
    value = agent.storage.get(fact)
    return value if value in words else None


async def ask(agent: SimulatedAgent, bug: str) -> None:
    """Ask for votes, commit if all say yes in time, and tell everybody who asks."""
    yes, deadline, decision = [agent.name], agent.now() + 2, kept(agent, "decide", DECISIONS)
    if agent.storage.get("vote") is not None and decision is None:
        decision = "abort"  # it asked in an earlier life, and has forgotten the answers
    await keep(agent, "vote", agent.session.inputs["proposals"][agent.name])
    while decision is None:
        for peer in (peer for peer in agent.peers if peer not in yes):
            await agent.send(peer, type="vote?")
        try:
            async with asyncio.timeout(0.2):
                while decision is None:
                    message = await agent.receive(type="vote")
                    yes += [message.sender] if message.payload == "yes" else []
                    is_enough = len(yes if bug == "counts votes" else set(yes)) >= len(agent.session.agents)
                    decision = "commit" if is_enough else "abort" if message.payload == "no" else None
        except TimeoutError:
            decision = "abort" if agent.now() >= deadline else None
    await keep(agent, "decide", decision, durable=bug != "in memory")
    await agent.broadcast(decision, type="decision")
    async for message in agent.inbox:
        if message.type == "decision?":
            await agent.send(message.sender, decision, type="decision")


async def answer(agent: SimulatedAgent, bug: str) -> None:
    """Vote when asked, and then ask for the decision until it comes: who has said yes may not decide alone."""
    first, asked = min(agent.session.agents), 0
    vote, decision = kept(agent, "vote", VOTES), kept(agent, "decide", DECISIONS)
    if vote is not None:
        agent.observe("vote", round=1, value=vote)
    while decision is None:
        try:
            message = await agent.receive(timeout=0.2)
        except TimeoutError:
            asked += 1
            if asked > 10 and bug == "aborts alone":
                decision = "abort"
            await agent.send(first, type="decision?")
            continue
        if message.type == "decision":
            decision = message.payload
        else:
            vote = vote or await keep(agent, "vote", agent.session.inputs["proposals"][agent.name])
            await agent.send(first, vote, type="vote")
    await keep(agent, "decide", decision)


async def committer(agent: SimulatedAgent, bug: str = "") -> None:
    await (ask if agent.name == min(agent.session.agents) else answer)(agent, bug)


@cache
def case(bug: str = "") -> Case:
    return Case(
        {
            "pattern": Consensus(algorithm="two-phase-commit"),
            "agents": list(FIVE),
            "protocol": partial(committer, bug=bug),
            "network": "lossy",
            "faults": ["crash", "partition"],
        },
        {"proposals": dict.fromkeys(FIVE, "yes")},
    )


BUGS: Final = (
    Bug(11, "aborts alone after prepared", case("aborts alone"), case(), ("agreement",), 300),
    Bug(
        12, "decision not durable", case("in memory"), case(), ("decision_stable", "agreement"), 3_000
    ),  # 1 in 40 shows it
    Bug(13, "duplicate yes votes counted", case("counts votes"), case(), ("commit_validity",), 300),
)
