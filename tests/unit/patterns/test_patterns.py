"""The pattern objects and their registry: options, inputs, outputs, errors."""

from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.patterns.bully import BullyElection
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.patterns.paxos import Paxos
from pytest_convergence._engine.patterns.raft import LeaderView, RaftElection, RaftTiming
from pytest_convergence._engine.patterns.registry import PatternRegistry, find_pattern
from pytest_convergence._engine.patterns.voting import Voting

THREE = ("a", "b", "c")
PROPOSALS = {"proposals": {"a": 1, "b": 1, "c": 2}}


# -- the registry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leader-follower", "consensus"])
def test_a_pattern_is_found_by_its_name_and_an_object_is_itself(name):
    pattern = find_pattern(name)
    assert pattern.name == name
    assert find_pattern(pattern) is pattern


def test_a_misspelt_pattern_names_the_nearest():
    with pytest.raises(ConvergenceUsageError, match="unknown pattern 'concensus': did you mean 'consensus'"):
        find_pattern("concensus")


@pytest.mark.parametrize("pattern", [7, None, Consensus, object()])
def test_what_is_neither_name_nor_pattern_is_refused(pattern):
    with pytest.raises(ConvergenceUsageError, match="pattern must be a name or a pattern object"):
        find_pattern(pattern)


def test_a_pattern_can_be_added_to_a_registry_once_and_to_no_other():
    class QuorumRead(Pattern):
        """A pattern of somebody else's."""

        name = "quorum-read"

    registry = PatternRegistry()
    pattern: Any = QuorumRead()
    registry.add(pattern)
    assert registry.find("quorum-read") is pattern
    assert "quorum-read" in registry.names
    with pytest.raises(ConvergenceUsageError, match="exists already"):
        registry.add(pattern)
    with pytest.raises(ConvergenceUsageError, match="unknown pattern"):
        find_pattern("quorum-read")


# -- leader-follower ---------------------------------------------------------------------------------------------------


def test_the_algorithm_makes_the_machine_and_the_properties():
    assert isinstance(LeaderFollower().machine("a", THREE, {}), RaftElection)
    assert isinstance(LeaderFollower("bully").machine("a", THREE, {}), BullyElection)
    assert "election_safety" in LeaderFollower().properties
    assert LeaderFollower("bully").properties == ("eventually_one_leader",)


def raft_timing(pattern: LeaderFollower) -> RaftTiming:
    machine = pattern.machine("a", THREE, {})
    assert isinstance(machine, RaftElection)
    return machine.timing


def test_the_election_timeout_follows_the_heartbeat_unless_it_is_given():
    timing = raft_timing(LeaderFollower(heartbeat_seconds=1))
    assert (timing.election_min_ns, timing.election_max_ns) == (5 * NS_PER_SECOND, 10 * NS_PER_SECOND)
    timing = raft_timing(LeaderFollower(election_timeout_seconds=(1, 2)))
    assert timing.election_spread_ns == NS_PER_SECOND


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "raff"}, "unknown leader-follower algorithm 'raff': did you mean 'raft'"),
        ({"heartbeat_seconds": 0}, "heartbeat_seconds must be greater than zero, not 0"),
        ({"heartbeat_seconds": -1}, "heartbeat_seconds must be a finite number of seconds >= 0, not -1"),
        ({"election_timeout_seconds": 3}, r"election_timeout_seconds must be \(shortest, longest\)"),
        ({"election_timeout_seconds": (1, 2, 3)}, r"election_timeout_seconds must be \(shortest, longest\)"),
        ({"election_timeout_seconds": (3, 1)}, "the shortest is longer than the longest"),
        ({"election_timeout_seconds": (0.1, 1)}, "must be longer than heartbeat_seconds=0.1"),
        ({"election_timeout_seconds": ("1", 2)}, "must be a number of seconds"),
    ],
)
def test_bad_options_of_leader_follower_are_refused(options, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        LeaderFollower(**options).validate(THREE)


@pytest.mark.parametrize("pattern", [LeaderFollower(), Consensus()])
def test_a_pattern_needs_an_agent(pattern):
    pattern.validate(("a",))
    with pytest.raises(ConvergenceUsageError, match="needs at least one agent"):
        pattern.validate(())


def test_leader_follower_takes_a_task_and_nothing_else():
    LeaderFollower().check_inputs(THREE, {})
    LeaderFollower().check_inputs(THREE, {"task": print})
    with pytest.raises(ConvergenceUsageError, match="unknown input of the leader-follower pattern 'tusk'"):
        LeaderFollower().check_inputs(THREE, {"tusk": print})
    with pytest.raises(ConvergenceUsageError, match="task must be a function"):
        LeaderFollower().check_inputs(THREE, {"task": 3})


def test_the_output_is_the_leader_that_all_views_name():
    pattern = LeaderFollower()
    assert pattern.output({"a": LeaderView("b", 2), "b": LeaderView("b", 2)}) == "b"
    assert pattern.output({"a": LeaderView("b", 2), "b": LeaderView("b", 3)}) is None
    assert pattern.output({"a": LeaderView(None, 2)}) is None
    assert pattern.output({}) is None
    assert pattern.valid("b", THREE, {})
    assert not pattern.valid("x", THREE, {})
    assert pattern.leader("not a view") is None


def test_progress_needs_a_majority_for_raft_and_anybody_for_bully():
    assert LeaderFollower().quorum_of(THREE) == 2
    assert LeaderFollower("bully").quorum_of(THREE) == 1
    assert Consensus(quorum=1.0).quorum_of(THREE) == 3


# -- consensus ---------------------------------------------------------------------------------------------------------


def test_the_algorithm_makes_the_consensus_machine():
    assert isinstance(Consensus().machine("a", THREE, PROPOSALS), Voting)
    assert isinstance(Consensus(algorithm="paxos").machine("a", THREE, PROPOSALS), Paxos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "pacsos"}, "did you mean 'paxos'"),
        ({"quorum": 4}, "quorum=4 is out of range for 3 agents: it must be 2 to 3"),
        ({"quorum": 0.2}, "quorum=0.2 is out of range"),
        ({"max_rounds": 0}, "max_rounds must be a whole number of at least 1"),
        ({"max_rounds": True}, "max_rounds must be a whole number"),
        ({"tie": "low"}, "unknown tie rule 'low': did you mean 'lowest'"),
        ({"revise": "majority"}, "unknown revise rule 'majority'.*A function may be given too"),
        ({"resend_seconds": 0}, "resend_seconds must be greater than zero"),
        ({"algorithm": "paxos", "tie": "lowest"}, "belong to algorithm='voting'"),
    ],
)
def test_bad_options_of_consensus_are_refused(options, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        Consensus(**options).validate(THREE)


@pytest.mark.parametrize(
    "options", [{"tie": max}, {"revise": lambda agent, own, tally: own}, {"max_rounds": 1}]
)
def test_functions_and_bounds_are_accepted(options):
    Consensus(**options).validate(THREE)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"needs run\(proposals="),
        ({"proposals": ["A", "B", "C"]}, r"needs run\(proposals="),
        ({"proposal": {}}, "unknown input of the consensus pattern 'proposal': did you mean 'proposals'"),
        ({"proposals": {"a": 1, "b": 1}}, "lacks a value for 'c'"),
        ({"proposals": {"a": 1, "b": 1, "cc": 1}}, "unknown agent in proposals 'cc': did you mean 'c'"),
        ({"proposals": {"a": 1, "b": 1, "c": None}}, "the proposal of 'c' is None"),
    ],
)
def test_bad_proposals_are_refused(inputs, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        Consensus().check_inputs(THREE, inputs)


def test_everybody_proposes():
    Consensus().check_inputs(THREE, PROPOSALS)


def test_the_output_is_the_value_that_all_views_hold():
    assert Consensus().output({"a": [1], "b": [1]}) == [1]
    assert Consensus().output({"a": 1, "b": 2}) is None
    assert Consensus().output({}) is None
    assert Consensus().leader("A") is None


def test_a_value_is_valid_if_it_was_proposed_or_a_function_may_have_made_it():
    assert Consensus().valid(2, THREE, PROPOSALS)
    assert not Consensus().valid(3, THREE, PROPOSALS)
    assert not Consensus().valid(None, THREE, PROPOSALS)
    assert Consensus(revise=lambda agent, own, tally: 3).valid(3, THREE, PROPOSALS)
    assert not Consensus(revise=lambda agent, own, tally: 3).valid(None, THREE, PROPOSALS)
