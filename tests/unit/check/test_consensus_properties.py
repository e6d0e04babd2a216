"""Agreement, integrity, stability, validity, termination, convergence."""

import pytest

from pytest_convergence._engine.check.property import FinalState, Scope
from tests.unit.check.events import MS, THREE, crash, event, fact, judge

ALL = FinalState(9 * MS, THREE)


def decide(agent, value, at=0):
    return fact(agent, "decide", value=value, at=at)


def test_two_agents_that_decide_differently_are_reported():
    violation = judge("agreement", [decide("a", "A", 5 * MS), decide("b", "A"), decide("c", "B", 7 * MS)])
    assert violation is not None
    assert violation.message == "a decided 'A' at 5 ms, and c decided 'B' at 7 ms"
    assert violation.facts == {"a": "A", "c": "B"}


def test_agreement_holds_the_dead_to_their_word():
    assert judge("agreement", [decide("a", "A"), crash("a"), decide("b", "B")]) is not None


def test_a_decide_event_counts_like_the_fact():
    assert (
        judge("agreement", [event("decide", "a", {"value": 1}), event("decide", "b", {"value": 1})]) is None
    )
    assert judge("agreement", [event("decide", "a", {"value": 1}), event("decide", "b", 2)]) is not None
    assert judge("agreement", [decide("a", [1]), event("decide", "b", {"value": [2]})]) is not None


def test_an_agent_that_decides_twice_is_reported_unless_it_repeats_itself():
    assert (
        judge("integrity", [decide("a", "A"), event("decide", "a", {"value": "A"}), decide("b", "B")]) is None
    )
    violation = judge("integrity", [decide("a", "A", 5 * MS), decide("a", "B")])
    assert violation is not None
    assert violation.message == "a decided 'A' at 5 ms, and then 'B'"


def test_another_decision_after_a_restart_is_instability_and_not_a_lack_of_integrity():
    events = [decide("a", "A", 5 * MS), crash("a"), fact("a", "propose", value="B"), decide("a", "B")]
    assert judge("integrity", events) is None
    violation = judge("decision_stable", events)
    assert violation is not None
    assert violation.message == "a decided 'A' at 5 ms, crashed, and decided 'B' when it was back"


def test_a_decision_that_is_remembered_is_stable():
    events = [crash("a"), decide("a", "A"), crash("a"), decide("a", "A"), crash("a")]
    assert judge("decision_stable", events, final=ALL) is None


def test_a_value_that_nobody_proposed_is_reported():
    events = [
        fact("a", "propose", value="A"),
        fact("b", "propose", value="B"),
        fact("c", "propose", value="B"),
    ]
    assert judge("validity", [*events, decide("c", "B")], final=ALL) is None
    violation = judge("validity", [*events, decide("c", "C")])
    assert violation is not None
    assert violation.message == "c decided 'C', which nobody had proposed (proposed: 'A', 'B')"


def test_a_value_counts_as_proposed_only_from_its_proposal_on():
    assert (
        judge("validity", [fact("a", "propose", value=1), decide("a", 2), fact("b", "propose", value=2)])
        is not None
    )


def test_what_the_inputs_allow_is_valid_and_what_they_do_not_is_not():
    scope = Scope(THREE, allowed=lambda value: value in ("A", "B"))
    assert judge("validity", [decide("a", "A")], scope) is None
    violation = judge("validity", [decide("a", "C")], scope)
    assert violation is not None
    assert "(proposed: nothing)" in violation.message


def test_without_proposals_or_inputs_validity_has_nothing_to_judge_by():
    assert judge("validity", [decide("a", "A"), fact("a", "round", round=1)]) is None


@pytest.mark.parametrize(
    "events",
    [
        [decide("a", 1), decide("b", 1), decide("c", 1)],
        [decide("a", 1), crash("a"), decide("b", 1), decide("c", 1)],
        [fact(agent, "undecided", round=5) for agent in THREE],
        [fact("a", "undecided", round=5), *(decide(agent, 1) for agent in THREE)],
    ],
)
def test_deciding_together_or_giving_up_together_is_an_end(events):
    assert judge("termination", events, final=ALL) is None


def test_an_agent_that_never_decides_is_reported():
    violation = judge("termination", [decide("a", 1), decide("b", 1)], final=ALL)
    assert violation is not None
    assert violation.message == "c did not decide, although a, b decided"
    assert violation.agents == ("c",)


def test_giving_up_alone_is_no_end():
    assert (
        judge("termination", [decide("a", 1), decide("b", 1), fact("c", "undecided", round=5)], final=ALL)
        is not None
    )
    violation = judge("termination", [fact("c", "undecided", round=5)], final=ALL)
    assert violation is not None
    assert violation.message == "a, b did not decide, and did not give up either"


def test_different_views_in_the_end_are_reported():
    views = {"a": 1, "b": 1, "c": 2}
    assert judge("convergence", [], final=FinalState(0, ("a", "b"), views)) is None
    assert judge("convergence", [decide("a", 1)], final=FinalState(0, ("a", "x"), views)) is None
    violation = judge("convergence", [], final=FinalState(0, THREE, views))
    assert violation is not None
    assert violation.message == "a and c ended with different views: 1 and 2"
