"""``session.log``: proposing to a replicated log and reading from it."""

import asyncio
from contextlib import suppress

import pytest

from pytest_convergence import (
    AgentCrashedError,
    ConvergenceEngine,
    ConvergenceUsageError,
    DeadlockError,
    LeaderFollower,
    Outcome,
    PropertyViolation,
    Session,
    SimulatedAgent,
    StaleTokenError,
)

LOG = LeaderFollower(replicate=True)


def run(scenario, pattern: LeaderFollower = LOG, **options) -> Outcome:
    session = ConvergenceEngine().create_session("log", **{"pattern": pattern, "agents": 3, **options})
    return session.run(scenario)


def test_what_was_proposed_is_read_by_every_agent():
    async def scenario(session: Session):
        first = await session.log.propose("x")
        second = await session.log.propose("y", via="agent-3")
        assert (first.command, second.command) == ("x", "y")
        assert first.index < second.index
        return [await session.log.read(via=name) for name in session.agents]

    outcome = run(scenario)
    assert outcome.converged
    assert outcome.output == [("x", "y")] * 3


def test_a_log_goes_on_on_the_side_of_the_majority():
    async def scenario(session: Session):
        leader = await session.wait_for_leader()
        await session.log.propose("before")
        with session.network.partition([leader]):
            await session.log.propose("meanwhile")
            with pytest.raises(TimeoutError, match="was not answered within 3 virtual seconds"):
                await session.log.propose("alone", via=leader, timeout=3)
        return await session.log.read(via=leader)

    outcome = run(scenario, agents=5, network="lossy", seed=1)
    assert outcome.converged
    assert outcome.output[:2] == ("before", "meanwhile")


def test_commands_are_applied_to_a_state_of_the_users():
    counter = LeaderFollower(replicate=True, apply=lambda total, more: total + more, initial=10)

    async def scenario(session: Session):
        for amount in (1, 2, 3):
            await session.log.propose(amount)
        return await session.log.read()

    outcome = run(scenario, counter)
    assert outcome.output == 16
    assert outcome.views is not None
    assert {view["pattern"].state for view in outcome.views.values()} == {16}


def test_a_log_survives_the_crash_of_everybody():
    async def scenario(session: Session):
        await session.log.propose("x")
        for agent in session.agents.values():
            agent.crash()
        assert session.log.committed("agent-1") == ()
        for agent in session.agents.values():
            agent.restart()
        return await session.log.read()

    assert run(scenario).output == ("x",)


def test_an_agent_that_crashes_cannot_answer():
    async def scenario(session: Session):
        leader = await session.wait_for_leader()
        other = next(agent for agent in session.agents.values() if agent is not leader)
        rule = other.isolate()
        asked = asyncio.create_task(session.log.propose("x", via=other))
        await session.sleep(1)
        other.crash()
        with pytest.raises(AgentCrashedError, match="crashed before it could answer"):
            await asked
        with pytest.raises(AgentCrashedError, match="cannot read"):
            await session.log.read(via=other)
        rule.heal()
        other.restart()

    assert run(scenario).converged


def test_a_session_without_a_log_says_what_it_needs():
    async def scenario(session: Session):
        await session.log.propose("x")

    with pytest.raises(ConvergenceUsageError, match="LeaderFollower\\(replicate=True\\)"):
        run(scenario, LeaderFollower())


def test_none_and_unknown_agents_are_refused():
    async def scenario(session: Session):
        with pytest.raises(ConvergenceUsageError, match="None cannot be proposed"):
            await session.log.propose(None)
        with pytest.raises(ConvergenceUsageError, match="agent-4"):
            await session.log.propose("x", via="agent-4")

    run(scenario)


def test_a_leader_reads_by_its_lease_until_it_may_have_run_out():
    async def scenario(session: Session):
        leader = await session.wait_for_leader()
        await session.log.propose("x")
        assert session.log.holds_lease(leader)
        assert not any(session.log.holds_lease(name) for name in leader.peers)
        before = session.now
        await session.log.read(via=leader)
        assert session.now == before, "nobody was asked"
        with leader.isolate():
            await session.sleep(0.6)
            assert not session.log.holds_lease(leader)

    assert run(scenario, LeaderFollower(replicate=True, lease=True)).converged


def test_a_paused_agent_answers_when_it_goes_on():
    async def scenario(session: Session):
        leader = await session.wait_for_leader()
        other = session.agents[leader.peers[0]]
        other.pause()
        asked = asyncio.create_task(session.log.read(via=other))
        await session.log.propose("x")
        await session.sleep(5)
        assert not asked.done()
        other.resume()
        return await asked

    assert run(scenario).output == ("x",)


def test_a_leader_that_was_paused_is_refused_by_its_token():
    async def scenario(session: Session):
        store = session.resource("store")
        old = await session.wait_for_leader()
        token = old.fencing_token
        old.pause()
        new = await session.wait_for_leader(other_than=old)
        store.apply("new", token=new.fencing_token)
        old.resume()
        with pytest.raises(StaleTokenError):
            store.apply("old", token=token)
        await session.sleep(2)
        assert old.fencing_token is None
        return store.values

    assert run(scenario).output == ["new"]
    assert run(scenario, LeaderFollower()).output == ["new"]


def test_without_terms_there_is_no_token():
    async def scenario(session: Session):
        leader = await session.wait_for_leader()
        return [leader.fencing_token, *(session.agents[name].fencing_token for name in leader.peers)]

    assert run(scenario, LeaderFollower(algorithm="bully")).output == [None] * 3
    session = ConvergenceEngine().create_session("no run", agents=2)
    assert session.agents["agent-1"].fencing_token is None


def test_the_leaders_task_writes_to_the_log():
    async def task(leader: SimulatedAgent, followers: tuple[SimulatedAgent, ...]):
        entry = await leader.session.log.propose("done", via=leader)
        return entry.command, len(followers)

    session = ConvergenceEngine().create_session("task", pattern=LOG, agents=3)
    assert session.run(task=task).output == ("done", 2)


def lease_of(max_clock_drift: float) -> LeaderFollower:
    return LeaderFollower(replicate=True, lease=True, max_clock_drift=max_clock_drift)


async def read_from_a_leader_with_a_slow_clock(session: Session):
    """Clocks drift by 40 percent: the leader's lease lasts long, and the vows of the others are soon over."""
    old = await session.wait_for_leader()
    await session.log.propose("x")
    for agent in session.agents.values():
        agent.skew_clock(drift=-0.4 if agent is old else 0.4)
    await session.sleep(1)
    with session.network.partition([old]):
        await session.log.propose("y")
        with suppress(TimeoutError):
            await session.log.read(via=old, timeout=0.01)


def test_a_lease_allows_for_clocks_that_drift():
    assert run(read_from_a_leader_with_a_slow_clock, lease_of(0.4)).converged


def test_a_clock_that_drifts_further_than_the_lease_allows_is_found_out():
    with pytest.raises(PropertyViolation, match="no_stale_read"):
        run(read_from_a_leader_with_a_slow_clock, lease_of(0.0))


@pytest.mark.parametrize("via", [True, False], ids=["who is cut off", "whoever leads"])
def test_a_read_within_a_partition_ends_by_itself_and_says_what_it_waited_for(via: bool) -> None:
    async def scenario(session: Session) -> tuple[float, str, str]:
        leader = await session.wait_for_leader()
        others = [agent for agent in session.agents.values() if agent is not leader]
        one = others[0]
        with (
            session.network.partition([one])
            if via
            else session.network.partition([leader], [one], others[1:])
        ):
            began = session.now
            with pytest.raises(TimeoutError) as caught:
                await session.log.read(via=one if via else None)
            return session.now - began, str(caught.value), one.name

    seconds, said, name = run(scenario).output
    assert seconds == pytest.approx(3_600)
    assert "the 'read 1' was not answered within 3600 virtual seconds" in said
    if via:
        assert (
            f"{name!r} was asked, which reaches nobody else, and needs a leader that a quorum (2 of 3) confirms"
            in said
        )


def test_a_proposal_when_nobody_lives_is_a_deadlock() -> None:
    async def scenario(session: Session) -> None:
        for agent in session.agents.values():
            agent.crash()
        await session.log.propose("x")

    with pytest.raises(DeadlockError):
        run(scenario)


def test_what_was_answered_leaves_nothing_behind_that_the_world_would_carry_for_an_hour() -> None:
    async def scenario(session: Session) -> int:
        for number in range(150):
            await session.log.propose(number)
        return len(session._running().world.events)

    assert run(scenario).output < 250  # cancelled timers are swept out when there are more than a hundred
