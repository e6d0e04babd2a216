"""The properties of contract nets, fact by fact."""

from typing import Any

import pytest

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Scope, Violation
from tests.unit.check.events import MS, crash, event, fact, judge

SECOND = 1000 * MS
AGENTS = ("boss", "a", "b", "c")
SCOPE = Scope(AGENTS)
CLOSED = fact("boss", "bids_closed", call=1)


def bid(bidder: str, score: Any = 1, *, call: int = 1, at: int = 0) -> TraceEvent:
    return fact("boss", "bid", at=at, call=call, bidder=bidder, score=score)


def called(call: int = 1, *, at: int = 0, **data: Any) -> TraceEvent:
    return fact("boss", "called", at=at, call=call, **data)


def award(winner: str, number: int = 1) -> TraceEvent:
    return fact("boss", "award", number=number, winner=winner)


def revoked(winner: str, number: int = 1) -> TraceEvent:
    return fact("boss", "award_revoked", number=number, winner=winner)


def committed(winner: str, number: int = 1) -> TraceEvent:
    return fact("boss", "award_committed", number=number, winner=winner)


def said(violation: Violation | None) -> str:
    assert violation is not None
    return violation.message


# -- single_award ------------------------------------------------------------------------------------------------------


def test_a_second_award_while_the_first_stands_is_reported() -> None:
    assert said(judge("single_award", [award("a"), award("b", 2)])) == (
        "boss made award 2 to b while award 1 to a stands: it was not revoked"
    )
    assert judge("single_award", [award("a"), award("a"), revoked("a"), award("b", 2)]) is None


def test_to_commit_what_was_revoked_is_reported() -> None:
    events = [award("a"), revoked("a"), revoked("a"), award("b", 2)]
    assert judge("single_award", [*events, committed("b", 2)]) is None
    assert said(judge("single_award", [*events, committed("a")])) == (
        "boss committed the award 1 to a, which it had revoked"
    )


# -- winner_rule -------------------------------------------------------------------------------------------------------


def rule(*events: TraceEvent) -> Violation | None:
    return judge("winner_rule", list(events), SCOPE)


def test_the_best_bid_wins_and_of_equal_ones_the_first_in_the_declared_order() -> None:
    bids = [bid("c", 2), bid("b", 2), bid("a", 1), CLOSED]
    assert rule(called(), *bids, award("b")) is None
    assert rule(called(order=["c", "b", "a"]), *bids, award("c")) is None
    assert rule(called(best="lowest"), *bids, award("a")) is None
    assert said(rule(called(), *bids, award("c"))) == (
        "boss made award 1 to c, but the best bid in time is that of b (its score is 2, that of c is 2; equal scores go by "
        "the order boss, a, b, c)"
    )


def test_an_award_to_somebody_whose_bid_is_not_scored_is_reported() -> None:
    assert "that of c is not scored" in said(rule(bid("a"), award("c")))
    assert rule(award("c")) is None  # nothing is known of any bid


def test_scores_may_follow_the_bids() -> None:
    bids = [fact("boss", "bid", bidder="a"), fact("boss", "bid", bidder="b")]
    scores = [fact("boss", "scored", bidder="a", score=1), fact("boss", "scored", bidder="b", score=2)]
    assert rule(*bids, *scores, award("b")) is None
    assert rule(*bids, *scores, award("a")) is not None


def test_who_lost_an_award_is_out_of_it_until_there_is_a_new_call() -> None:
    bids = [bid("a", 2), bid("b", 1)]
    assert rule(*bids, award("a"), revoked("a"), award("b", 2)) is None
    again = [bid("a", 2, call=2), bid("b", 1, call=2)]
    assert rule(*bids, award("a"), revoked("a"), called(2), *again, award("a", 2)) is None
    assert rule(*bids, award("a"), revoked("a"), called(2), *again, award("b", 2)) is not None


def test_a_later_call_of_a_tournament_ranks_before_an_earlier_one() -> None:
    first = [called(), bid("a", 1), bid("b", 2), bid("c", 9), CLOSED]
    final = [called(2), bid("b", 3, call=2), bid("a", 4, call=2)]
    assert rule(*first, *final, award("a")) is None
    assert (
        rule(*first, *final, award("a"), revoked("a"), award("b", 2), revoked("b", 2), award("c", 3)) is None
    )
    assert rule(*first, *final, award("c")) is not None


def test_a_match_is_won_by_the_better_one() -> None:
    def match(winner: str | None, other: str | None = "b") -> TraceEvent:
        return fact("boss", "match", call=1, one="a", other=other, winner=winner)

    assert rule(bid("a", 1), bid("b", 2), match("b")) is None
    assert rule(bid("a", 1), match("a")) is None
    assert rule(match(None)) is None
    assert said(rule(bid("a", 1), bid("b", 2), match("a"))) == (
        "boss let a win the match that b had won by its score"
    )


# -- late_bid_rejected -------------------------------------------------------------------------------------------------


def late(*events: TraceEvent) -> Violation | None:
    return judge("late_bid_rejected", list(events), SCOPE)


def test_a_bid_that_is_taken_when_bids_are_closed_is_reported() -> None:
    assert late(bid("a"), CLOSED, bid("a"), award("a")) is None  # the same bid, said once more
    assert said(late(bid("a"), CLOSED, bid("b"))) == "boss took a bid of b for call 1 after bids were closed"


def test_a_bid_that_is_taken_long_after_the_deadline_is_reported() -> None:
    assert late(called(deadline=8), bid("a", at=9 * SECOND)) is None
    assert said(late(called(deadline=8), bid("a", at=11 * SECOND))) == (
        "boss took a bid of a for call 1 11 s after the call (with the deadline and a quarter: 10 s)"
    )


def test_time_for_which_the_manager_was_held_does_not_count() -> None:
    held = [event("pause", "boss", at=SECOND), event("resume", "boss", at=6 * SECOND)]
    assert late(called(deadline=8), *held, bid("a", at=11 * SECOND)) is None
    assert late(called(deadline=8), *held, bid("a", at=20 * SECOND)) is not None


def test_a_bid_that_a_stalled_manager_takes_is_not_late() -> None:
    stalled = event("stall", "boss", {"step": 2, "us": 1_100_000}, at=500 * MS)
    assert late(called(deadline=1), stalled, bid("a", at=1_600 * MS)) is None
    assert late(called(deadline=1), bid("a", at=1_600 * MS)) is not None


def test_an_award_for_a_late_bid_is_reported() -> None:
    rejected = fact("boss", "bid_late", call=1, bidder="b")
    assert late(bid("a"), CLOSED, rejected, award("a")) is None
    assert said(late(bid("a"), CLOSED, rejected, award("b"))) == (
        "boss awarded the contract to b, whose only bid (call 1) was late"
    )


# -- award_known_bidder ------------------------------------------------------------------------------------------------


def test_an_award_to_somebody_who_has_not_bid_is_reported() -> None:
    assert judge("award_known_bidder", [bid("a"), award("a")], SCOPE) is None
    assert said(judge("award_known_bidder", [bid("a"), award("b")], SCOPE)) == (
        "boss awarded the contract to b, which has not bid (bidders: a)"
    )
    assert "(bidders: nobody)" in said(judge("award_known_bidder", [award("b")], SCOPE))


# -- every_bidder_answered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bid", "bid_late"])
def test_a_bidder_that_hears_nothing_is_reported(kind: str) -> None:
    made = [fact("boss", kind, bidder="a"), fact("boss", kind, bidder="b"), crash("c")]
    heard = fact("a", "bid_answered", answer="reject")
    all_here = FinalState(0, AGENTS)
    assert said(judge("every_bidder_answered", [*made, heard], SCOPE, all_here)) == (
        "b bid, and never heard what became of it"
    )
    assert judge("every_bidder_answered", [*made, heard, fact("b", "bid_answered")], SCOPE, all_here) is None


def test_who_is_gone_or_out_of_reach_need_not_have_heard() -> None:
    made = [fact("boss", "bid", bidder="a")]
    for core in [("boss", "b", "c"), ("a", "b", "c"), ("a",)]:
        assert judge("every_bidder_answered", made, SCOPE, FinalState(0, core)) is None
    assert judge("every_bidder_answered", made, SCOPE, FinalState(0, AGENTS, settled=False)) is None


# -- no_commit_without_accept ------------------------------------------------------------------------------------------


def test_to_commit_what_the_winner_has_not_accepted_is_reported() -> None:
    accepted = fact("a", "award_accepted", number=1)
    assert judge("no_commit_without_accept", [accepted, committed("a")]) is None
    for events in ([committed("a")], [accepted, committed("a", 2)], [accepted, committed("b")]):
        assert "has not accepted" in said(judge("no_commit_without_accept", events))
