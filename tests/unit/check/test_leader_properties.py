"""Election safety, monotonic terms, and a leader in the end."""

import pytest

from pytest_convergence._engine.check.property import FinalState, Scope
from tests.unit.check.events import MS, THREE, crash, fact, judge

ALL = FinalState(9 * MS, THREE)


def test_two_leaders_of_one_term_are_reported_with_both_names():
    violation = judge(
        "election_safety", [fact("a", "leader", term=3, at=5 * MS), fact("c", "leader", term=3, at=7 * MS)]
    )
    assert violation is not None
    assert violation.message == "a (since 5 ms) and c both became leader of term 3"
    assert (violation.agents, violation.at_ns, violation.facts) == (("a", "c"), 7 * MS, {"term": 3})
    assert str(violation) == "election_safety: a (since 5 ms) and c both became leader of term 3 (at 7 ms)"


def test_a_leader_of_the_past_counts_after_it_is_gone():
    events = [fact("a", "leader", term=3), fact("a", "step_down"), crash("a"), fact("b", "leader", term=4)]
    assert judge("election_safety", events) is None
    assert judge("election_safety", [*events, fact("b", "leader", term=3)]) is not None


def test_one_leader_may_say_it_twice_and_leaders_without_terms_are_not_compared():
    assert judge("election_safety", [fact("a", "leader", term=1)] * 2) is None
    assert judge("election_safety", [fact("a", "leader"), fact("b", "leader")]) is None


def test_a_term_that_goes_back_is_reported():
    violation = judge(
        "term_monotonic", [fact("a", "term", term=4), fact("b", "term", term=1), fact("a", "term", term=2)]
    )
    assert violation is not None
    assert violation.message == "the term of a went back from 4 to 2"


def test_equal_and_growing_terms_are_fine_and_a_new_life_begins_anew():
    events = [fact("a", "term", term=term) for term in (0, 1, 1, 5)]
    assert judge("term_monotonic", [*events, crash("a"), fact("a", "term", term=4)]) is None
    assert judge("term_monotonic", [fact("a", "vote", term=4), fact("a", "term", term=2)]) is None


@pytest.mark.parametrize(
    "events",
    [
        [fact("a", "leader", term=1)],
        [fact("b", "leader", term=1), fact("b", "step_down"), fact("a", "leader", term=2)],
        [fact("b", "leader", term=1), fact("b", "follow", leader="a"), fact("a", "leader", term=2)],
        [fact("b", "leader", term=1), fact("b", "term", term=2), fact("a", "leader", term=2)],
        [fact("b", "leader", term=1), crash("b"), fact("a", "leader", term=2)],
        [fact("a", "leader", term=1), fact("a", "term", term=1)],
        [fact("a", "leader"), fact("a", "term", term=7)],
    ],
)
def test_one_leader_in_the_end_is_enough_however_it_came_about(events):
    assert judge("eventually_one_leader", events, final=ALL) is None


def test_nobody_leading_in_the_end_is_reported():
    violation = judge("eventually_one_leader", [fact("a", "leader", term=1), crash("a")], final=ALL)
    assert violation is not None
    assert violation.message == "nobody leads, although a, b, c are alive and connected"


def test_two_that_believe_to_lead_in_the_end_are_reported():
    events = [fact("a", "leader", term=1), fact("b", "leader", term=2), fact("c", "leader")]
    violation = judge("eventually_one_leader", events, final=ALL)
    assert violation is not None
    assert violation.message == "a (term 1) and b (term 2) and c all believe that they lead"


@pytest.mark.parametrize(
    ("scope", "final"),
    [
        (Scope(THREE), FinalState(0, ("a",))),
        (Scope(THREE, quorum=3), FinalState(0, ("a", "b"))),
        (Scope(THREE), FinalState(0, THREE, settled=False)),
    ],
)
def test_without_a_live_quorum_or_a_settled_world_nothing_is_demanded(scope, final):
    assert judge("eventually_one_leader", [], scope, final) is None
    assert judge("termination", [], scope, final) is None


def test_a_leader_outside_the_core_does_not_count():
    events = [fact("a", "leader", term=1), fact("c", "leader", term=2)]
    assert judge("eventually_one_leader", events, final=FinalState(0, ("b", "c"))) is None
