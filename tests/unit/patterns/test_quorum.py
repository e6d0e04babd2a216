"""Quorums: counts, fractions, and the vote tables of etcd's raft."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.patterns.quorum import VoteResult, majority, quorum_count, vote_result

RESULTS = {"VoteWon": VoteResult.WON, "VoteLost": VoteResult.LOST, "VotePending": VoteResult.PENDING}
ANSWERS = {"y": True, "n": False}


@pytest.mark.parametrize(("size", "least"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)])
def test_a_majority_is_more_than_half(size, least):
    assert majority(size) == least
    assert 2 * majority(size) > size


@pytest.mark.parametrize(
    ("quorum", "size", "expected"),
    [
        (None, 5, 3),
        (3, 5, 3),
        (5, 5, 5),
        (0.5, 4, 3),
        (2 / 3, 3, 2),
        (2 / 3, 9, 6),
        (2 / 3, 10, 7),
        (Fraction(2, 3), 6, 4),
        (0.7, 10, 7),
        (0.6, 5, 3),
        (1.0, 5, 5),
        (1, 1, 1),
    ],
)
def test_a_quorum_is_a_count_or_a_part_of_the_agents_and_never_less_than_a_majority(quorum, size, expected):
    assert quorum_count(quorum, size) == expected


@pytest.mark.parametrize("quorum", [0, 1, 2, 6, -1])
def test_a_count_that_two_values_could_reach_or_nobody_can_is_refused(quorum):
    with pytest.raises(
        ConvergenceUsageError, match=f"quorum={quorum} is out of range for 5 agents: it must be 3 to 5"
    ):
        quorum_count(quorum, 5)


def test_a_quorum_of_the_count_one_names_the_fraction_that_was_probably_meant():
    with pytest.raises(ConvergenceUsageError, match=r"write quorum=1\.0"):
        quorum_count(1, 3)


@pytest.mark.parametrize("quorum", [0.0, 0.49, 1.01, float("nan"), float("inf"), -0.5])
def test_a_fraction_outside_one_half_to_one_is_refused(quorum):
    with pytest.raises(ConvergenceUsageError, match="a fraction must be 1/2"):
        quorum_count(quorum, 5)


@pytest.mark.parametrize("quorum", [True, "majority", [3]])
def test_what_is_not_a_number_is_no_quorum(quorum):
    with pytest.raises(ConvergenceUsageError, match="quorum must be None"):
        quorum_count(quorum, 5)


def test_vote_results_agree_with_etcds_majority_table(vectors: Path):
    cases = json.loads((vectors / "quorum" / "majority_vote.json").read_text())["cases"]
    assert len(cases) > 10
    for case in cases:
        members = [str(member) for member in case.get("cfg", [])]
        known = zip(members, case.get("votes", []), strict=True)
        votes = {member: ANSWERS[vote] for member, vote in known if vote != "_"}
        assert vote_result(members, votes) is RESULTS[case["expect"]], case


def test_votes_of_strangers_do_not_count():
    assert vote_result(("a", "b", "c"), {"a": True, "x": True, "y": True}) is VoteResult.PENDING


def test_a_larger_quorum_can_be_asked_for():
    votes = {"a": True, "b": True, "c": False}
    assert vote_result(("a", "b", "c"), votes) is VoteResult.WON
    assert vote_result(("a", "b", "c"), votes, quorum=3) is VoteResult.LOST
