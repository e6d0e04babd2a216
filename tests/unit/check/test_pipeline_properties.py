"""The properties of pipelines, fact by fact."""

import pytest

from pytest_convergence._engine.check.property import FinalState
from tests.unit.check.events import MS, THREE, crash, event, fact, judge

ALL = FinalState(9 * MS, THREE)
CUT_OFF = FinalState(9 * MS, ("a",))
ROUTE = ["cut", "sew"]


def feed(item, **data):
    return fact("a", "feed", item=item, **data)


def effect(item, agent="b", /, **data):
    return fact(agent, "effect", item=item, **data)


def ack(item, agent="b", /, **data):
    return fact(agent, "ack", item=item, **data)


def fail(item, agent="b", /, **data):
    return fact(agent, "fail", item=item, **{"error": "no", **data})


def dead(item, agent="b", /, **data):
    return fact(agent, "dead_letter", item=item, **{"error": "no", **data})


def reject(item, agent="b", /, **data):
    return fact(agent, "reject", item=item, error="odd", **data)


def take(item, agent="b", /, **data):
    return fact(agent, "take", item=item, **data)


# -- no_acked_loss -----------------------------------------------------------------------------------------------------


def test_an_item_that_was_acknowledged_and_never_seen_again_is_lost():
    violation = judge("no_acked_loss", [feed(1), ack(1, stage="cut")], final=ALL)
    assert violation is not None
    assert "b acknowledged item 1 at stage 'cut', and it is lost" in violation.message
    assert violation.facts == {"item": 1, "stage": "cut"}


@pytest.mark.parametrize("ending", [effect, dead, reject])
def test_an_acknowledged_item_may_end_in_each_of_the_ways(ending):
    assert judge("no_acked_loss", [feed(1), ack(1), ending(1)], final=ALL) is None


def test_an_item_that_stops_between_two_stages_is_lost():
    events = [feed(1, stages=ROUTE), effect(1, stage="cut"), ack(1, stage="cut")]
    assert judge("no_acked_loss", events, final=ALL) is not None
    assert judge("no_acked_loss", [*events, effect(1, stage="sew")], final=ALL) is None


def test_without_a_word_of_the_feeder_the_effect_at_the_stage_that_acknowledged_is_enough():
    assert judge("no_acked_loss", [effect(1, stage="cut"), ack(1, stage="cut")], final=ALL) is None
    assert judge("no_acked_loss", [effect(1, stage="sew"), ack(1, stage="cut")], final=ALL) is not None


def test_nobody_is_blamed_for_what_is_under_way_while_agents_are_cut_off():
    assert judge("no_acked_loss", [feed(1), ack(1)], final=CUT_OFF) is None
    assert judge("conservation", [feed(1)], final=CUT_OFF) is None
    assert judge("dlq_complete", [fail(1)], final=CUT_OFF) is None


def test_nor_while_somebody_is_away_who_has_to_do_with_the_items():
    without_b = FinalState(9 * MS, ("a", "c"))
    assert judge("conservation", [feed(1)], final=without_b) is not None
    assert judge("conservation", [feed(1), take(1)], final=without_b) is None
    assert judge("no_acked_loss", [feed(1), ack(1)], final=without_b) is None
    assert judge("dlq_complete", [feed(1), fail(1)], final=without_b) is None


# -- effect_at_most_once -----------------------------------------------------------------------------------------------


def test_a_second_effect_is_reported_with_the_first():
    violation = judge(
        "effect_at_most_once",
        [
            fact("b", "effect", item=1, stage="cut", at=2 * MS),
            fact("c", "effect", item=1, stage="cut", at=5 * MS),
        ],
    )
    assert violation is not None
    assert violation.message == "item 1 at stage 'cut' took effect at b (2 ms), and once more at c"
    assert violation.agents == ("b", "c")


def test_each_stage_and_each_item_has_its_own_effect():
    events = [effect(1, stage="cut"), effect(1, stage="sew"), effect(2, stage="cut")]
    assert judge("effect_at_most_once", events) is None


def test_an_effect_that_is_recalled_is_no_second_one():
    assert judge("effect_at_most_once", [effect(1), effect(1, recalled=True)]) is None
    assert judge("effect_at_most_once", [effect(1, recalled=True), effect(1)]) is not None


def test_items_need_not_be_hashable():
    assert judge("effect_at_most_once", [effect({"id": 1}), effect({"id": 2})]) is None
    assert judge("effect_at_most_once", [effect({"id": 1}), effect({"id": 1})]) is not None


def test_facts_without_an_item_are_about_something_else():
    events = [fact("b", "effect"), fact("b", "effect"), event("crash", "b")]
    assert judge("effect_at_most_once", events) is None
    assert judge("no_unexpected", events) is None


# -- no_unexpected -----------------------------------------------------------------------------------------------------


def test_an_effect_of_what_nobody_fed_is_unexpected():
    violation = judge("no_unexpected", [feed(1), effect(2)])
    assert violation is not None
    assert violation.message == "b: item 2 took effect, but nobody fed it"


@pytest.mark.parametrize(("ending", "words"), [(dead, "is a dead letter"), (reject, "was rejected")])
def test_so_is_the_end_of_what_nobody_fed(ending, words):
    violation = judge("no_unexpected", [ending(2)])
    assert violation is not None
    assert words in violation.message


def test_a_stage_that_is_not_on_the_way_is_unexpected():
    violation = judge("no_unexpected", [feed(1, stages=ROUTE), effect(1, stage="dye")])
    assert violation is not None
    assert "not on its way ('cut', 'sew')" in violation.message


def test_a_stage_before_its_turn_is_unexpected():
    violation = judge("no_unexpected", [feed(1, stages=ROUTE), effect(1, stage="sew")])
    assert violation is not None
    assert "before it passed stage 'cut'" in violation.message


def test_what_was_fed_and_passes_its_stages_is_expected():
    events = [feed(1, stages=ROUTE), effect(1, stage="cut"), feed(1, stages=ROUTE), effect(1, stage="sew")]
    assert judge("no_unexpected", [*events, feed(2), reject(2)], final=ALL) is None


# -- per_key_order -----------------------------------------------------------------------------------------------------


def test_items_of_one_key_that_overtake_each_other_are_reported():
    violation = judge("per_key_order", [feed(1, order="x"), feed(2, order="x"), effect(2), effect(1)])
    assert violation is not None
    assert "item 1 took effect after item 2" in violation.message


def test_items_of_other_keys_or_none_may_overtake():
    events = [feed(1, order="x"), feed(2, order="y"), feed(3), effect(3), effect(2), effect(1), effect(4)]
    assert judge("per_key_order", events) is None


def test_the_order_is_kept_at_each_stage_for_itself_and_a_repetition_changes_nothing():
    fed = [feed(number, order=["x"], stages=ROUTE) for number in (1, 2)]
    effects = [effect(1, stage="cut"), effect(2, stage="cut"), effect(1, stage="cut"), effect(1, stage="sew")]
    assert judge("per_key_order", [*fed, *effects, effect(2, stage="sew")], final=ALL) is None


# -- bounded_retry -----------------------------------------------------------------------------------------------------


def test_one_failure_too_many_is_reported():
    assert judge("bounded_retry", [fail(1, of=2)] * 2) is None
    violation = judge("bounded_retry", [fail(1, of=2), fail(1, of=2), crash("b"), fail(1, of=2)])
    assert violation is not None
    assert violation.message == "item 1 failed 3 times, and may be tried 2 times"


def test_the_bound_is_five_unless_it_is_said():
    assert judge("bounded_retry", [fail(1)] * 5) is None
    assert judge("bounded_retry", [fail(1)] * 6) is not None


def test_stages_and_items_are_counted_apart_and_recalled_failures_not_at_all():
    events = [
        fail(1, of=1, stage="cut"),
        fail(1, of=1, stage="sew"),
        fail(2, of=1),
        fail(2, of=1, recalled=True),
    ]
    assert judge("bounded_retry", events, final=ALL) is None


# -- dlq_complete ------------------------------------------------------------------------------------------------------


def test_what_failed_for_good_must_be_a_dead_letter():
    violation = judge("dlq_complete", [feed(1), fail(1, stage="cut", error="torn")], final=ALL)
    assert violation is not None
    assert violation.message == "item 1 at stage 'cut' failed for good (torn) and is no dead letter"
    assert judge("dlq_complete", [fail(1), dead(1)], final=ALL) is None


def test_a_retry_that_succeeds_needs_no_dead_letter():
    assert judge("dlq_complete", [fail(1), effect(1)], final=ALL) is None
    assert judge("dlq_complete", [effect(1), fail(1)], final=ALL) is None
    assert judge("dlq_complete", [fail(1, stage="cut"), effect(1, stage="sew")], final=ALL) is not None


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([dead(1)], "never failed"),
        ([fail(1), dead(1, error="")], "without an error"),
        ([fail(1), dead(1), dead(1)], "twice"),
    ],
)
def test_a_dead_letter_is_there_once_with_the_error_of_what_failed(events, words):
    violation = judge("dlq_complete", events)
    assert violation is not None
    assert words in violation.message


def test_a_dead_letter_may_be_recalled():
    assert judge("dlq_complete", [fail(1), dead(1), dead(1, recalled=True)], final=ALL) is None


# -- backpressure ------------------------------------------------------------------------------------------------------


def test_more_items_than_there_is_room_for_are_reported():
    violation = judge(
        "backpressure", [take(1, of=2), take(2, of=2), take(3, of=2, stage="cut"), take(4, of=2)]
    )
    assert violation is not None
    assert violation.message == "b holds 3 items, and has room for 2"
    assert violation.facts["items"] == [1, 2, 4]


def test_what_has_left_makes_room():
    events = [take(1, of=1), effect(1), take(2, of=1), dead(2), take(3, of=1), reject(3), take(4, of=1)]
    assert judge("backpressure", events, final=ALL) is None


def test_a_crash_empties_the_stage_and_an_item_that_comes_again_counts_once():
    assert judge("backpressure", [take(1, of=1), take(1, of=1), crash("b"), take(2, of=1)]) is None


def test_a_stage_that_names_no_bound_is_not_judged():
    assert judge("backpressure", [take(number) for number in range(99)]) is None


# -- conservation ------------------------------------------------------------------------------------------------------


def test_what_goes_in_and_never_comes_out_is_reported():
    violation = judge("conservation", [feed(1), feed(2), effect(1)], final=ALL)
    assert violation is not None
    assert violation.message == "item 2 went in and never came out"
    violation = judge("conservation", [feed(1, stages=ROUTE), effect(1, stage="cut")], final=ALL)
    assert violation is not None
    assert "the last stage that it passed is 'cut'" in violation.message


def test_an_item_that_ends_in_two_ways_is_reported_wherever_agents_are():
    violation = judge("conservation", [feed(1), effect(1), dead(1)], final=CUT_OFF)
    assert violation is not None
    assert violation.message == "item 1 came out and is a dead letter"


def test_each_item_may_end_in_its_own_way():
    events = [feed(1), feed(2), feed(3), effect(1), dead(2), reject(3)]
    assert judge("conservation", events, final=ALL) is None


def test_an_item_that_nobody_waits_for_any_longer_is_missed_by_nobody():
    events = [feed(1), fail(1), ack(1), fact("a", "abandon", item=1)]
    for name in ("conservation", "no_acked_loss", "dlq_complete"):
        assert judge(name, events, final=ALL) is None
        assert judge(name, events[:-1], final=ALL) is not None
        assert judge(name, [*events, effect(1)], final=ALL) is None
