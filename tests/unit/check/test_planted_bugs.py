"""Each planted bug is caught by the property that is meant for it; the machines without bugs stay silent."""

import pytest

from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.raft import RaftElection
from pytest_convergence._engine.patterns.voting import Voting, VotingRules
from tests.unit.check import mutants
from tests.unit.check.trials import FIVE, RAFT, TIMING, trial, trials
from tests.unit.patterns.driver import FAST_RESTART, HEAVY_TAIL, LEADER_TARGET, MS, PROFILES, UNIFORM

PROPOSALS = dict(zip(FIVE, "AABBC", strict=True))
CONSENSUS = Consensus(revise="plurality", tie="lowest")
STORM = FAST_RESTART._replace(crash=0.05, loss=0.2)
RULES = VotingRules(3, 10, 250 * MS, "plurality", "lowest")


def plain(machine: type[RaftElection]):
    """Plain Raft: pre-vote hides most ways in which elections collide."""
    return lambda agent: machine(agent, FIVE, TIMING, pre_vote=False)


def voting(machine: type[Voting]):
    return lambda agent: machine(agent, FIVE, PROPOSALS[agent], RULES)


def caught(make, pattern, name, noise, seeds) -> int:
    """Return how many of ``seeds`` runs broke the property ``name``."""
    return sum(name in trial(make, pattern, seed, noise) for seed in range(seeds))


@pytest.mark.parametrize(
    ("bug", "name", "noise", "seeds", "at_least"),
    [
        pytest.param(mutants.GrantsEveryVote, "election_safety", UNIFORM, 20, 5, id="1 grants every vote"),
        pytest.param(mutants.ForgetsOnRestart, "promises_survive_restart", UNIFORM, 10, 9, id="2 forgets"),
        pytest.param(
            mutants.RepliesFirst, "promises_survive_restart", FAST_RESTART, 12, 4, id="3 replies first"
        ),
        pytest.param(mutants.SyncsLast, "reply_before_sync", UNIFORM, 5, 5, id="3 syncs after sending"),
        pytest.param(
            mutants.QuorumOfReachable, "election_safety", LEADER_TARGET, 20, 4, id="6 reachable quorum"
        ),
        pytest.param(mutants.CountsVotes, "election_safety", UNIFORM, 30, 2, id="7 counts votes"),
        pytest.param(mutants.TakesOlderTermsVote, "election_safety", LEADER_TARGET, 60, 1, id="8 older vote"),
        pytest.param(
            mutants.ClearsVoteOnLeader, "promises_survive_restart", FAST_RESTART, 10, 8, id="9 clears vote"
        ),
        pytest.param(mutants.TakesAnyTerm, "term_monotonic", UNIFORM, 5, 4, id="terms go back"),
        pytest.param(mutants.NeverStepsDown, "eventually_one_leader", UNIFORM, 20, 2, id="never steps down"),
        pytest.param(mutants.NeverStands, "eventually_one_leader", HEAVY_TAIL, 3, 3, id="never stands"),
    ],
)
def test_a_bug_in_an_election_is_caught(bug, name, noise, seeds, at_least):
    assert caught(plain(bug), RAFT, name, noise, seeds) >= at_least


@pytest.mark.parametrize(
    ("bug", "name", "noise", "seeds", "at_least"),
    [
        pytest.param(mutants.ForgetsTheDecision, "decision_stable", FAST_RESTART, 5, 3, id="12 not durable"),
        pytest.param(
            mutants.ForgetsItsVotes, "promises_survive_restart", STORM, 40, 2, id="forgets its votes"
        ),
        pytest.param(mutants.DecidesAlone, "agreement", UNIFORM, 60, 2, id="decides alone"),
        pytest.param(mutants.CountsBallots, "agreement", FAST_RESTART, 20, 3, id="13 duplicates count"),
        pytest.param(mutants.InventsValues, "validity", UNIFORM, 5, 5, id="invents values"),
        pytest.param(mutants.TakesEveryDecision, "integrity", UNIFORM, 10, 2, id="decides again"),
        pytest.param(mutants.NeverRepeats, "termination", UNIFORM, 10, 3, id="never repeats"),
    ],
)
def test_a_bug_in_a_voting_is_caught(bug, name, noise, seeds, at_least):
    assert caught(voting(bug), CONSENSUS, name, noise, seeds) >= at_least


@pytest.mark.parametrize("pre_vote", [True, False])
@pytest.mark.parametrize("noise", [*PROFILES, LEADER_TARGET], ids=["uniform", "fast", "tail", "leader"])
def test_the_election_without_a_bug_is_silent(noise, pre_vote):
    pattern = LeaderFollower(pre_vote=pre_vote)
    assert trials(lambda agent: pattern.machine(agent, FIVE, {}), pattern, 10, profiles=[noise]) == {}


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
def test_the_bully_algorithm_without_a_bug_is_silent(noise):
    pattern = LeaderFollower("bully")
    assert trials(lambda agent: pattern.machine(agent, FIVE, {}), pattern, 10, profiles=[noise]) == {}


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
@pytest.mark.parametrize(
    "pattern",
    [Consensus(), CONSENSUS, Consensus(quorum=0.8, revise="plurality"), Consensus(algorithm="paxos")],
    ids=["fixed", "plurality", "four-fifths", "paxos"],
)
def test_consensus_without_a_bug_is_silent(noise, pattern):
    inputs = {"proposals": PROPOSALS}
    assert trials(lambda agent: pattern.machine(agent, FIVE, inputs), pattern, 10, profiles=[noise]) == {}
