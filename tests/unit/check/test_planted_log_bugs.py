"""Each planted bug of a replicated log, or of a two-phase commit, is caught; what has no bug stays silent.

The last two numbers of a case are how many random schedules are run, and how many of them at least must show the bug.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.raft_replication import RaftReplica
from pytest_convergence._engine.patterns.two_phase_commit import CommitRules, TwoPhaseCommit
from tests.unit.check import log_mutants as mutants
from tests.unit.check.log_trials import LOG, RULES, figure_8_trial, log_trial, replica
from tests.unit.check.trials import FIVE, trial
from tests.unit.patterns.driver import (
    FAST_RESTART,
    HEAVY_TAIL,
    LEADER_TARGET,
    MS,
    PROFILES,
    SECOND,
    UNIFORM,
    Noise,
    World,
)

COMMIT = Consensus(algorithm="two-phase-commit")
COMMIT_RULES = CommitRules("a", 3 * SECOND, 250 * MS)
LEASES = RULES._replace(lease=True)


def voter(machine: type[TwoPhaseCommit], no: str | None = None) -> Callable[[str], Machine]:
    """Make participants that all vote yes, but for ``no``."""
    return lambda agent: machine(agent, FIVE, agent != no, COMMIT_RULES)


@pytest.mark.parametrize(
    ("bug", "name", "noise", "seeds", "at_least"),
    [
        pytest.param(mutants.VotesForAnyLog, "leader_completeness", UNIFORM, 5, 3, id="4 any log: most"),
        pytest.param(
            mutants.TruncatesOnEveryAppend,
            "leader_completeness",
            HEAVY_TAIL,
            10,
            1,
            id="10 late append",
        ),
        pytest.param(
            mutants.TruncatesOnEveryAppend, "committed_is_durable", UNIFORM, 3, 3, id="10 late append: all"
        ),
        pytest.param(mutants.OverwritesWithoutLooking, "log_matching", UNIFORM, 3, 3, id="overwrites: all"),
        pytest.param(mutants.ForgetsItsLog, "committed_is_durable", UNIFORM, 3, 3, id="forgets: nearly all"),
        pytest.param(mutants.WritesTheLogLater, "committed_is_durable", FAST_RESTART, 3, 3, id="later: most"),
        pytest.param(
            mutants.CommitsWithTheReachable, "committed_on_quorum", UNIFORM, 3, 3, id="6 reachable: all"
        ),
        pytest.param(mutants.CommitsWhatItHasNot, "state_machine_safety", FAST_RESTART, 6, 1, id="has not"),
        pytest.param(mutants.ReadsAlone, "no_stale_read", FAST_RESTART, 4, 2, id="reads alone: most"),
    ],
)
def test_a_bug_in_a_log_is_caught(
    bug: type[RaftReplica], name: str, noise: Noise, seeds: int, at_least: int
) -> None:
    assert sum(name in log_trial(replica(bug), seed, noise) for seed in range(seeds)) >= at_least


def test_a_lease_that_never_ends_is_caught() -> None:
    make = replica(mutants.TrustsItsLeaseForEver, LEASES)
    assert any("no_stale_read" in log_trial(make, seed, HEAVY_TAIL) for seed in range(10))


def restarted_voters(machine: type[RaftReplica]) -> set[str]:
    """Cut a leader off, restart the others at once, have one of them stand, and let the old leader read."""
    monitor = Monitor(PropertyRegistry().find_all(LOG.properties), Scope(("a", "b", "c")))
    agents = ("a", "b", "c")
    world = World(agents, lambda agent: machine(agent, agents, LEASES), seed=0, watch=monitor.feed)
    world.run(until=5 * SECOND)
    old, *others = sorted(agents, key=lambda name: name != world.facts("leader")[-1][0])
    world.partition([old])
    for name in others:
        world.crash(name)
        world.start(name)
    world.command(others[0], "campaign")
    world.run(until=world.now + 20 * MS)
    world.command(old, "read", "stale?")
    world.run(until=world.now + 100 * MS)
    return {violation.property for violation in monitor.violations}


def test_a_vow_that_a_restart_forgets_is_caught() -> None:
    assert restarted_voters(mutants.ForgetsItsVow) == {"no_stale_read"}
    assert restarted_voters(RaftReplica) == set()


@pytest.mark.parametrize(
    ("bug", "name", "noise", "seeds", "at_least"),
    [
        pytest.param(mutants.AbortsAlone, "agreement", UNIFORM, 30, 5, id="11 aborts alone"),
        pytest.param(mutants.ForgetsTheCommit, "decision_stable", FAST_RESTART, 40, 3, id="12 not durable"),
        pytest.param(mutants.CountsYesVotes, "commit_validity", HEAVY_TAIL, 20, 3, id="13 duplicates"),
    ],
)
def test_a_bug_in_a_two_phase_commit_is_caught(
    bug: type[TwoPhaseCommit], name: str, noise: Noise, seeds: int, at_least: int
) -> None:
    assert sum(name in trial(voter(bug), COMMIT, seed, noise) for seed in range(seeds)) >= at_least


def test_a_majority_of_yes_votes_taken_for_all_is_caught() -> None:
    bug = voter(mutants.CommitsByMajority, no="d")
    assert sum("commit_validity" in trial(bug, COMMIT, seed, UNIFORM) for seed in range(5)) >= 3


@pytest.mark.parametrize("lease", [False, True])
@pytest.mark.parametrize("noise", [*PROFILES, LEADER_TARGET], ids=["uniform", "fast", "tail", "leader"])
def test_a_log_without_a_bug_is_silent(noise: Noise, lease: bool) -> None:
    pattern = LeaderFollower(replicate=True, lease=lease, max_entries=3)
    for seed in range(3):
        assert (
            log_trial(lambda agent: pattern.machine(agent, FIVE, {}), seed, noise, pattern=pattern) == set()
        )


@pytest.mark.parametrize("noise", [*PROFILES, LEADER_TARGET], ids=["uniform", "fast", "tail", "leader"])
@pytest.mark.parametrize("no", [None, "a", "d"])
def test_a_two_phase_commit_without_a_bug_is_silent(noise: Noise, no: str | None) -> None:
    for seed in range(10):
        assert trial(voter(TwoPhaseCommit, no), COMMIT, seed, noise) == set()


@pytest.mark.parametrize("noise", [*PROFILES, LEADER_TARGET], ids=["uniform", "fast", "tail", "leader"])
def test_consensus_by_a_log_without_a_bug_is_silent(noise: Noise) -> None:
    pattern = Consensus(algorithm="raft")
    inputs = {"proposals": dict(zip(FIVE, "AABBC", strict=True))}
    for seed in range(5):
        assert trial(lambda agent: pattern.machine(agent, FIVE, inputs), pattern, seed, noise) == set()


def test_committing_an_old_terms_entries_by_counting_is_caught_where_leaders_are_cut_off() -> None:
    """Bug 5 shows in about one schedule of 200, so the test takes the neighbourhood of one that shows it."""
    broken = {seed: figure_8_trial(mutants.CommitsOldTerms, seed) for seed in range(24, 27)}
    assert "leader_completeness" in broken[25]
    assert not figure_8_trial(RaftReplica, 25)
