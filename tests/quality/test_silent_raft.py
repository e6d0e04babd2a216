"""Correct replicas of a log raise no alarm, on any network, while agents crash, pause and are cut off."""

import asyncio

import pytest

from pytest_convergence import AgentCrashedError, Consensus, LeaderFollower, Session
from tests.quality.silence import NETWORKS, silent

# The default timing is that of links of up to 100 ms; where messages take seconds, patience has to be learned.
AGENTS = [f"agent-{number}" for number in range(1, 6)]
COMMANDS = 3


async def client(session: Session, name: str, commands: int) -> None:
    """Propose and read in turn, by one agent; what is lost with a crash of that agent is lost."""
    for number in range(commands):
        try:
            await session.log.propose(f"{name} {number}", via=name, timeout=60)
            state = await session.log.read(via=name, timeout=60)
        except (TimeoutError, AgentCrashedError):
            await session.sleep(0.5)
        else:
            assert f"{name} {number}" in state, "a read must see what was committed before it"


async def workload(session: Session) -> None:
    async with asyncio.TaskGroup() as group:
        for name in AGENTS[:3]:
            group.create_task(client(session, name, COMMANDS))
    last = await session.log.propose("last")
    state = await session.log.read()
    assert last.command in state
    assert len(set(state)) == len(state), "no command enters the log twice"


@pytest.mark.parametrize("lease", [False, True], ids=["read-index", "lease"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_replicated_log_is_silent(network: str, lease: bool) -> None:
    pattern = LeaderFollower(replicate=True, lease=lease, max_entries=2)
    silent({"pattern": pattern, "agents": AGENTS, "network": network}, scenario=workload)


def test_a_log_is_silent_where_a_commit_takes_eleven_minutes() -> None:
    pattern = LeaderFollower(replicate=True, max_entries=2)
    silent({"pattern": pattern, "agents": AGENTS, "network": "chaos"}, scenario=workload, seeds=(90, 137))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_log_of_an_election_without_pre_vote_is_silent(network: str) -> None:
    pattern = LeaderFollower(replicate=True, pre_vote=False)
    silent({"pattern": pattern, "agents": AGENTS, "network": network}, scenario=workload)


def test_an_agent_that_cannot_win_leaves_the_others_the_time_to_elect_somebody() -> None:
    pattern = LeaderFollower(replicate=True, pre_vote=False)
    silent({"pattern": pattern, "agents": AGENTS, "network": "chaos"}, scenario=workload, seeds=(330,))


@pytest.mark.parametrize("network", NETWORKS)
def test_an_election_is_silent(network: str) -> None:
    silent({"pattern": "leader-follower", "agents": AGENTS, "network": network})


@pytest.mark.parametrize("network", NETWORKS)
def test_an_election_without_pre_vote_is_silent(network: str) -> None:
    silent({"pattern": LeaderFollower(pre_vote=False), "agents": AGENTS, "network": network})


PROPOSALS = {"proposals": dict(zip(AGENTS, "AABBC", strict=True))}


@pytest.mark.parametrize("network", NETWORKS)
def test_consensus_by_raft_is_silent(network: str) -> None:
    silent({"pattern": Consensus(algorithm="raft"), "agents": AGENTS, "network": network}, PROPOSALS)


def test_consensus_by_raft_ends_where_messages_take_four_election_timeouts() -> None:
    options = {"pattern": Consensus(algorithm="raft"), "agents": AGENTS, "network": "chaos"}
    silent(options, PROPOSALS, seeds=(162, 303))
