"""I wrote an election. Is it safe? The plugin knows what an election must never do; my agents only say what they do."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from pytest_convergence import PropertyViolation, Session, SimulatedAgent

TERM = 1  # one election is enough here


async def voter(agent: SimulatedAgent, *, votes_once: bool = True, syncs_first: bool = True) -> None:
    """Stand for election after a while, vote for whoever asks first, and lead with the votes of a majority.

    The two switches plant bugs, so that the tests below can show what becomes of them.
    """
    majority = len(agent.session.agents) // 2 + 1
    votes: set[str] = set()
    leader: str | None = None
    agent.expose(lambda: leader)

    async def grants(candidate: str) -> bool:
        if votes_once and agent.storage.get("vote", candidate) != candidate:
            return False
        agent.storage.put("vote", candidate)
        agent.observe("vote", term=TERM, candidate=candidate, durable="vote")  # my word, and what it rests on
        if syncs_first:
            await agent.storage.sync()  # a vote that a crash can take back is no vote
        return True

    async def stand() -> None:
        await asyncio.sleep(agent.random.uniform(1, 1.2))
        if leader is None and await grants(agent.name):
            votes.add(agent.name)
            await agent.broadcast(type="vote for me")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stand())
        async for message in agent.inbox:
            if message.type == "vote for me" and await grants(message.sender):
                await agent.send(message.sender, type="my vote")
            elif message.type == "my vote":
                votes.add(message.sender)  # a set: the same vote may arrive twice
                if len(votes) >= majority and leader is None:
                    leader = agent.name
                    agent.observe("leader", term=TERM)
                    await agent.broadcast(type="I lead")
            elif message.type == "I lead":
                leader = message.sender


@pytest.mark.convergence(agents=dict.fromkeys("abcde", voter))
def test_everybody_follows_the_same_leader(convergence_session: Session) -> None:
    outcome = convergence_session.run()
    assert outcome.converged
    assert convergence_session.agents["a"].exposed in "abcde"


@pytest.mark.convergence(
    agents=dict.fromkeys("abcde", voter),
    properties=["election_safety"],
    network="lossy",
    faults=["crash", "partition"],
    schedules=50,
)
def test_there_are_never_two_leaders(convergence_session: Session) -> None:
    # Without this, a test in which nobody is ever elected would pass: the summary tells what was never reached.
    convergence_session.sometimes(
        "somebody leads", lambda session: any(a.exposed for a in session.agents.values())
    )
    convergence_session.run()


def test_an_agent_that_votes_for_everybody_who_asks_is_found_out(
    convergence_session_factory: Callable[..., Session],
) -> None:
    careless = partial(voter, votes_once=False)
    with pytest.raises(PropertyViolation, match="both became leader of term 1"):
        for seed in range(50):
            convergence_session_factory(
                agents=dict.fromkeys("abcde", careless),
                properties=["election_safety"],
                network="lossy",
                seed=seed,
            ).run()


@pytest.mark.convergence(agents=dict.fromkeys("abcde", partial(voter, syncs_first=False)))
def test_a_vote_that_a_crash_could_take_back_is_found_out_without_a_crash(
    convergence_session: Session,
) -> None:
    with pytest.raises(PropertyViolation, match="before its own writes \\(vote\\) were synced"):
        convergence_session.run()
