"""Counting votes, breaking ties, revising proposals."""

import pytest

from pytest_convergence._engine.patterns.tally import Tally, break_tie, revised


def tally(*values, size=None):
    votes = {f"agent-{number}": value for number, value in enumerate(values, 1)}
    return Tally(votes, size or len(values))


def test_values_are_counted_most_votes_first_then_by_first_voter():
    assert tally("B", "A", "A", "C").counts == (("A", 2), ("B", 1), ("C", 1))
    assert tally("B", "A", "A", "B").leading == ("B", "A")


def test_values_that_cannot_be_hashed_can_be_counted():
    assert tally({"plan": [1]}, {"plan": [1]}, {"plan": []}).counts == (({"plan": [1]}, 2), ({"plan": []}, 1))


def test_missing_votes_are_known_by_their_number():
    assert tally("A", "B", size=5).missing == 3


@pytest.mark.parametrize(
    ("tie", "winner"),
    [(None, None), ("lowest", "A"), ("highest", "C"), ("first-agent", "B"), (lambda tied: tied[2], "A")],
)
def test_a_tie_goes_by_the_rule(tie, winner):
    assert break_tie(tie, ("B", "C", "A")) == winner


def test_values_that_have_no_order_are_ordered_by_their_text():
    tied = ({"b": 1}, {"a": 1}, 3, "x")
    assert break_tie("lowest", tied) == {"a": 1}
    assert break_tie("highest", tied) == "x"
    assert break_tie("lowest", tied[::-1]) == {"a": 1}


def test_nobody_revises_by_default():
    assert revised("c", "B", tally("A", "A", "B"), None, None) == "B"


def test_plurality_adopts_the_one_leading_value_and_leaves_ties_alone():
    assert revised("e", "C", tally("A", "A", "B", "C"), "plurality", None) == "A"
    assert revised("e", "C", tally("A", "A", "B", "B", "C"), "plurality", None) == "C"


def test_a_tie_rule_speaks_only_where_values_are_tied():
    assert revised("e", "C", tally("A", "A", "B", "B", "C"), None, "highest") == "B"
    assert revised("e", "C", tally("A", "A", "B", "C"), None, "highest") == "C"


def test_a_function_revises_with_the_agent_its_value_and_the_tally():
    seen = tally("A", "A", "B")
    assert revised("c", "B", seen, lambda agent, own, votes: f"{agent}{own}{votes.missing}", None) == "cB0"
    assert revised("c", "B", seen, lambda agent, own, votes: None, None) == "B"
