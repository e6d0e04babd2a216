"""Terms without a result are found after a number of terms; elections that bring leaders are not."""

import asyncio

import pytest

from pytest_convergence import Consensus, LeaderFollower, Network
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import LivelockError
from tests.unit.sim.harness import run_session

FIVE = ["a", "b", "c", "d", "e"]
LOG = LeaderFollower(replicate=True)


async def goes_round(agent: SimulatedAgent) -> None:
    """An election in which everybody stands at the same time, for ever."""
    for term in range(1, 10**6):
        agent.observe("term", term=term)
        await asyncio.sleep(1)


async def waits(session: Session) -> None:
    await session.sleep(80_000)


def test_terms_that_bring_no_leader_are_a_livelock_that_names_them():
    with pytest.raises(
        LivelockError, match=r"terms 1 to 501 came and went in 500.*no leader that a quorum of 3"
    ) as caught:
        run_session(waits, agents=FIVE, pattern="leader-follower", protocol=goes_round)
    assert caught.value.outcome is not None
    assert caught.value.outcome.state.value == "failed"


def test_elections_without_terms_are_a_livelock_too():
    async def stands(agent: SimulatedAgent) -> None:
        for number in range(1, 10**6):
            agent.observe("round", round=number)
            agent.observe("leader")
            agent.observe("follow", leader="a")
            await asyncio.sleep(1)

    with pytest.raises(
        LivelockError, match=r"terms 2 to 502 .* no leader that lasted. Last to lead: [a-e], [a-e], "
    ):
        run_session(waits, agents=FIVE, pattern=LeaderFollower("bully"), protocol=stands)


@pytest.mark.parametrize(
    "network",
    [Network(latency=(0.01, 0.01), loss=0.7), Network(latency=(0.1, 5)), Network(latency=(1, 3), loss=0.5)],
)
def test_the_bully_election_backs_off_where_heartbeats_come_too_late(network):
    async def scenario(session: Session) -> None:
        await session.sleep(400)

    outcome = run_session(
        scenario, agents=FIVE, pattern=LeaderFollower("bully"), network=network, seed=1, timeout=20_000
    )
    assert outcome.converged
    assert outcome.output == "a"
    facts = [event.detail for event in outcome.trace if event.kind == "observe"]
    elections = [fact for fact in facts if fact["fact"] == "round"]
    assert len(elections) < 150, "in 400 s; thousands, or a livelock, with timeouts that stay"


def test_terms_whose_leaders_commit_nothing_are_a_livelock_of_a_log():
    async def usurper(agent: SimulatedAgent) -> None:
        for term in range(1, 10**6):
            agent.observe("term", term=term)
            if FIVE[term % 5] == agent.name:
                agent.observe("leader", term=term)
            else:
                agent.observe("follow", term=term, leader=FIVE[term % 5])
            await asyncio.sleep(60)

    with pytest.raises(LivelockError, match=r"nothing was decided or applied. Last to lead: .* \(term 500\)"):
        run_session(waits, agents=FIVE, pattern=LOG, protocol=usurper)


def test_ballots_without_a_decision_are_a_livelock():
    async def ballots(agent: SimulatedAgent) -> None:
        for number in range(1, 10**6):
            agent.observe("round", round=number)
            await asyncio.sleep(1)

    with pytest.raises(LivelockError, match="Last to lead: nobody"):
        run_session(
            waits, agents=FIVE, pattern=Consensus(algorithm="paxos"), protocol=ballots,
            inputs={"proposals": dict.fromkeys(FIVE, 1)},
        )  # fmt: skip


async def led_by_a(agent: SimulatedAgent) -> None:
    """One leader for ever; but e, who hears nothing of it, goes on standing."""
    if agent.name == "e":
        await goes_round(agent)
    agent.observe("term", term=1)
    if agent.name == "a":
        agent.observe("leader", term=1)
    else:
        agent.observe("follow", term=1, leader="a")


async def a_while(session: Session) -> None:
    with session.network.partition(["e"]):
        await session.sleep(2000)


def test_who_is_cut_off_from_a_leader_may_stand_as_often_as_it_likes():
    outcome = run_session(a_while, agents=FIVE, pattern="leader-follower", protocol=led_by_a)
    assert outcome.state.value != "failed"


def test_nothing_is_wrong_where_no_quorum_is_connected():
    async def scenario(session: Session) -> None:
        with session.network.partition(["a"], ["b", "c"], ["d", "e"]):
            await session.sleep(2000)

    async def stands_for_a_while(agent: SimulatedAgent) -> None:
        for term in range(1, 1990):
            agent.observe("term", term=term)
            await asyncio.sleep(1)
        agent.observe("leader" if agent.name == "a" else "follow", term=term, leader="a")

    outcome = run_session(scenario, agents=FIVE, pattern="leader-follower", protocol=stands_for_a_while)
    assert outcome.converged


async def takes_turns(agent: SimulatedAgent) -> None:
    for term in range(1, 700):
        agent.observe("term", term=term)
        if FIVE[term % 5] == agent.name:
            agent.observe("leader", term=term)
        await asyncio.sleep(60)
    agent.observe("step_down" if agent.name != FIVE[699 % 5] else "term", term=699)


async def takes_turns_and_follows(agent: SimulatedAgent) -> None:
    for term in range(1, 700):
        agent.observe("term", term=term)
        leader = FIVE[term % 5]
        agent.observe("leader" if leader == agent.name else "follow", term=term, leader=leader)
        await asyncio.sleep(200)


@pytest.mark.parametrize("protocol", [takes_turns, takes_turns_and_follows])
def test_leaders_that_last_are_a_result_and_so_are_claims_of_those_who_never_say_whom_they_follow(protocol):
    async def scenario(session: Session) -> None:
        await session.sleep(700 * 200)

    outcome = run_session(scenario, agents=FIVE, pattern="leader-follower", protocol=protocol, timeout=10**6)
    assert outcome.state.value != "failed"
