"""Section 2 of the usage contract in words: consensus and leader-follower, and what they do by default."""

import pytest

from pytest_convergence import Consensus, ConvergenceUsageError, LeaderFollower, SessionState


def vote(factory, proposals, pattern="consensus", **options):
    """Run a vote of the agents that ``proposals`` names."""
    session = factory(pattern=pattern, agents=list(proposals), **options)
    return session.run(proposals=proposals)


def test_by_default_the_quorum_is_a_strict_majority_of_the_configured_agents(convergence_session_factory):
    assert vote(convergence_session_factory, {"a": 1, "b": 1, "c": 2}).output == 1
    assert vote(convergence_session_factory, {"a": 1, "b": 1, "c": 2, "d": 2}).output is None


def test_a_majority_of_those_who_are_left_is_no_quorum(convergence_session_factory):
    async def scenario(session):
        for name in ("c", "d", "e"):
            session.agents[name].crash()
        await session.sleep(60)

    session = convergence_session_factory(pattern="consensus", agents=list("abcde"))
    outcome = session.run(scenario, proposals=dict.fromkeys("abcde", "A"))
    assert not outcome.converged
    assert outcome.output is None


def test_ties_stay_unbroken_and_nobody_revises_unless_asked_to(convergence_session_factory):
    tie = {"a": 1, "b": 2}
    assert vote(convergence_session_factory, tie).output is None
    assert vote(convergence_session_factory, tie, Consensus(tie="lowest")).output == 1
    assert vote(convergence_session_factory, tie, Consensus(tie="highest")).output == 2
    lead = {"a": 1, "b": 1, "c": 2, "d": 3}
    assert vote(convergence_session_factory, lead).output is None
    assert vote(convergence_session_factory, lead, Consensus(revise="plurality")).output == 1


def test_without_a_quorum_after_max_rounds_the_outcome_is_diverged_and_its_output_none(
    convergence_session_factory,
):
    outcome = vote(convergence_session_factory, {"a": 1, "b": 2}, Consensus(max_rounds=3))
    assert outcome.state is SessionState.DIVERGED
    assert outcome.output is None
    assert outcome.metrics.rounds == 3
    assert "the consensus pattern came to no result" in str(outcome)


def test_a_quorum_may_be_a_fraction(convergence_session_factory):
    proposals = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2}
    assert vote(convergence_session_factory, proposals).output == 1
    assert vote(convergence_session_factory, proposals, Consensus(quorum=2 / 3, max_rounds=5)).output is None


def test_a_pattern_may_be_an_object_with_other_parameters(convergence_session_factory):
    paxos = Consensus(algorithm="paxos")
    outcome = vote(convergence_session_factory, {"a": 1, "b": 2, "c": 3}, paxos, network="lossy", seed=5)
    assert outcome.converged
    assert outcome.output in {1, 2, 3}


def test_the_output_of_leader_follower_without_a_task_is_the_leader(convergence_session_factory):
    outcome = convergence_session_factory(pattern="leader-follower", agents=3).run()
    assert outcome.converged
    assert outcome.output in {"agent-1", "agent-2", "agent-3"}


def test_a_task_may_be_a_plain_function(convergence_session_factory):
    session = convergence_session_factory(pattern="leader-follower", agents=3)
    outcome = session.run(task=lambda leader, followers: 1 + len(followers))
    assert outcome.output == 3


def test_a_task_that_is_no_function_is_refused(convergence_session_factory):
    session = convergence_session_factory(pattern="leader-follower", agents=3)
    with pytest.raises(ConvergenceUsageError, match="task"):
        session.run(task="lead")


def test_an_exception_in_a_task_reaches_the_test(convergence_session_factory):
    async def task(leader, followers):
        raise LookupError("no such task")

    with pytest.raises(LookupError, match="no such task"):
        convergence_session_factory(pattern="leader-follower", agents=3).run(task=task)


def test_the_bully_variant_elects_the_agent_that_is_listed_first(convergence_session_factory):
    session = convergence_session_factory(
        pattern=LeaderFollower(algorithm="bully"), agents=["boss", "clerk", "intern"]
    )
    assert session.run().output == "boss"


@pytest.mark.convergence(
    pattern="consensus", agents=5, network="flaky", faults=["crash", "partition", "pause"], schedules=15
)
def test_a_vote_keeps_its_promises_under_faults(convergence_session):
    names = list(convergence_session.agents)
    outcome = convergence_session.run(proposals={name: "AB"[place > 2] for place, name in enumerate(names)})
    assert outcome.output in {"A", "B", None}
    assert outcome.violations == ()


@pytest.mark.convergence(
    pattern="leader-follower",
    agents=5,
    network="lossy",
    faults=["crash", "partition", "pause", "skew"],
    schedules=15,
)
def test_an_election_keeps_its_promises_under_faults(convergence_session):
    outcome = convergence_session.run()
    assert outcome.converged
    assert outcome.violations == ()


def test_when_the_work_is_done_paused_agents_go_on_and_crashed_ones_come_back(convergence_session_factory):
    for seed in range(40):
        session = convergence_session_factory(
            pattern="leader-follower", agents=3, faults=["pause", "crash"], seed=seed
        )

        async def scenario(session):
            await session.wait_for_leader()

        assert session.run(scenario).converged
        assert all(agent.is_alive for agent in session.agents.values())
