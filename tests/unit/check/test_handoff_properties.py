"""The hand-off properties, fact by fact: what each demands, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence._engine.check.property import FinalState
from tests.unit.check.events import THREE, crash, event, fact, judge

W = "w"
END = FinalState(100_000_000_000, core=THREE, views=dict.fromkeys(THREE))


def own(agent: str, token: Any, **data: Any) -> Any:
    return fact(agent, "own", task=W, token=token, **data)


def release(agent: str, token: Any) -> Any:
    return fact(agent, "release", task=W, token=token)


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([release("a", 1)], id="released"),
        pytest.param([fact("a", "suspend", task=W, token=1)], id="suspended"),
        pytest.param([fact("a", "finished", task=W, token=1)], id="finished"),
        pytest.param([crash("a")], id="crashed"),
        pytest.param([event("pause", "a")], id="paused"),
    ],
)
def test_another_owns_the_work_when_the_first_one_cannot_act_any_more(between):
    assert judge("single_owner", [own("a", 1), *between, own("b", 2)]) is None


def test_two_owners_that_may_act_are_one_too_many():
    violation = judge("single_owner", [own("a", (0, 1)), own("b", [1, 2])])
    assert violation is not None
    assert violation.agents == ("a", "b")
    assert "1.2" in violation.message


def test_facts_that_are_not_about_a_work_concern_no_hand_off_property():
    assert judge("single_owner", [fact("a", "own", lock=1), fact("b", "own", lock=1)]) is None


def test_an_owner_may_say_again_that_it_owns_the_work():
    assert judge("single_owner", [own("a", 1), own("a", 1)]) is None


def test_a_released_work_that_nobody_took_is_lost():
    violation = judge("no_lost_owner", [own("a", 1), release("a", 1)], final=END)
    assert violation is not None
    assert "nobody has taken it" in violation.message


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([own("a", 1)], id="owned"),
        pytest.param([own("a", 1), release("a", 1), own("b", 2)], id="handed over"),
        pytest.param([own("a", 1), fact("a", "finished", task=W, token=1)], id="finished"),
        pytest.param([own("a", 1), fact("a", "withdraw", task=W, token=1)], id="withdrawn"),
        pytest.param([own("a", 1), own("b", 2), release("a", 1)], id="released late by a former owner"),
        pytest.param([own("a", 1), crash("a"), own("a", 1)], id="remembered after a crash"),
        pytest.param([own("a", 1), crash("b")], id="another one crashed"),
        pytest.param(
            [
                own("a", 1),
                fact("a", "finished", task=W, token=1),
                fact("b", "taken", task=W, token=2),
                crash("b"),
            ],
            id="taken by somebody who had not heard that it is finished",
        ),
    ],
)
def test_a_work_that_is_owned_or_over_is_not_lost(events):
    assert judge("no_lost_owner", events, final=END) is None


def test_an_owner_that_came_back_and_does_not_know_of_its_work_has_lost_it():
    violation = judge("no_lost_owner", [own("a", 1), crash("a")], final=END)
    assert violation is not None
    assert "came back" in violation.message


def test_a_work_of_a_dead_owner_is_not_lost_but_to_be_taken_over():
    dead = FinalState(100_000_000_000, core=("b", "c"), views=dict.fromkeys("bc"))
    events = [fact("b", "offers", capabilities=[]), own("a", 1), crash("a")]
    assert judge("no_lost_owner", events, final=dead) is None
    assert judge("failover_within", events, final=dead) is not None


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([own("a", 1), crash("a")], id="nobody takes work"),
        pytest.param(
            [fact("b", "offers", capabilities=["x"]), own("a", 1, capabilities=["y"]), crash("a")],
            id="nobody can do it",
        ),
        pytest.param(
            [fact("b", "offers", capabilities=[]), own("a", 1, failover=1000), crash("a")],
            id="the bound has not passed",
        ),
        pytest.param(
            [fact("b", "offers", capabilities=[]), own("a", 1), crash("a"), own("b", 2)], id="somebody did"
        ),
        pytest.param(
            [fact("b", "offers", capabilities=[]), own("a", 1), release("a", 1), crash("a")],
            id="it was released",
        ),
    ],
)
def test_a_takeover_is_demanded_only_of_somebody_who_can(events):
    dead = FinalState(100_000_000_000, core=("b", "c"), views=dict.fromkeys("bc"))
    assert judge("failover_within", events, final=dead) is None


def test_a_full_agent_need_not_take_over():
    other = fact("b", "own", task="other", token=1)
    dead = FinalState(100_000_000_000, core=("b", "c"), views=dict.fromkeys("bc"))
    offers = fact("b", "offers", capabilities=[], capacity=1)
    assert judge("failover_within", [offers, other, own("a", 1), crash("a")], final=dead) is None


@pytest.mark.parametrize("name", ["no_lost_owner", "failover_within"])
def test_nothing_is_demanded_of_a_world_that_has_not_settled(name):
    events = [own("a", 1), release("a", 1)]
    assert judge(name, events, final=FinalState(0, core=THREE, settled=False)) is None


def test_a_smaller_token_after_a_greater_one_is_a_stale_effect():
    first = fact("b", "access", resource="r", task=W, token=2)
    stale = fact("a", "access", resource="r", task=W, token=1)
    violation = judge("no_stale_effect", [first, stale])
    assert violation is not None
    assert violation.facts == {"task": W, "resource": "r", "before": 2, "accepted": 1}
    assert judge("no_stale_effect", [stale, first, first]) is None


def test_resources_are_judged_one_by_one():
    first = fact("b", "access", resource="r", task=W, token=2)
    assert judge("no_stale_effect", [first, fact("a", "access", resource="s", task=W, token=1)]) is None


def test_a_token_has_one_owner_and_a_later_owner_has_a_greater_one():
    assert judge("token_unique_monotonic", [own("a", 1), own("b", 1)]) is not None
    assert judge("token_unique_monotonic", [own("a", 2), own("b", 1)]) is not None
    assert judge("token_unique_monotonic", [own("a", 1), own("b", 2), own("a", 3)]) is None


def test_a_work_that_was_taken_by_an_old_token_and_never_acted_on_is_no_harm():
    late = fact("b", "taken", task=W, token=2)
    assert judge("token_unique_monotonic", [own("a", 1), own("c", 3), late]) is None


@pytest.mark.parametrize("how", ["release", "finished", "withdraw"])
def test_what_was_given_up_is_not_taken_again_by_the_same_token(how):
    events = [own("a", 1), fact("a", how, task=W, token=1), own("a", 1)]
    assert judge("transfer_exactly_once", events) is not None
    assert judge("transfer_exactly_once", [*events[:2], own("a", 3)]) is None


def test_a_work_is_taken_once_by_one_token():
    taken = fact("b", "taken", task=W, token=2)
    assert judge("transfer_exactly_once", [taken, taken]) is not None
    assert judge("transfer_exactly_once", [taken, own("b", 2), crash("b"), own("b", 2)]) is None


def offered(context: Any, token: int = 2, **data: Any) -> Any:
    return fact("a", "offered", task=W, token=token, to="b", context=context, **data)


def test_a_context_arrives_as_it_was_offered():
    assert judge("context_intact", [offered([1, 2]), own("b", 2, context=[1, 2])]) is None
    violation = judge("context_intact", [offered([1, 2]), own("b", 2, context=[1])])
    assert violation is not None
    assert violation.facts == {"task": W, "handed over": [1, 2], "arrived": [1]}


def test_an_owner_may_have_gone_on_from_what_it_was_given():
    saved = fact("b", "saved", task=W, token=2, context=[1, 2, 3])
    events = [offered([1, 2]), own("b", 2, context=[1, 2]), saved, own("b", 2, context=[1, 2, 3])]
    assert judge("context_intact", events) is None


def test_a_recovered_context_is_one_that_an_owner_had():
    events = [own("a", 1, context="old"), fact("a", "saved", task=W, token=1, context="new"), crash("a")]
    assert judge("context_intact", [*events, own("b", 9, context="old")]) is None
    assert judge("context_intact", [*events, own("b", 9, context="invented")]) is not None


def test_who_owns_a_work_offers_what_it_takes():
    offers = fact("b", "offers", capabilities=["x", "y"])
    assert judge("capability_match", [offers, own("b", 1, capabilities=["x"])]) is None
    assert judge("capability_match", [offers, own("b", 1, capabilities=["z"])]) is not None
    assert judge("capability_match", [offered(0, capabilities=["z"]), own("b", 2)]) is not None
    assert judge("capability_match", [own("b", 1, capabilities=["z"], origin=True)]) is None


def test_room_is_that_for_works_that_are_held_at_a_time():
    offers = fact("b", "offers", capabilities=[], capacity=1)
    one = fact("b", "own", task=1, token=1)
    other = fact("b", "own", task=2, token=1)
    assert judge("load_bound", [offers, one, other]) is not None
    assert judge("load_bound", [offers, one, fact("b", "finished", task=1, token=1), other]) is None
    assert judge("load_bound", [offers, one, one]) is None
    assert judge("load_bound", [offers, one, crash("b"), other]) is None


def test_who_saves_the_work_of_a_failed_owner_may_do_so_without_room_but_not_act_on_it():
    offers = fact("b", "offers", capabilities=[], capacity=1)
    one = fact("b", "own", task=1, token=1)
    saved = fact("b", "taken", task=2, token=2, reason="failure-recovery")
    assert judge("load_bound", [offers, one, saved]) is None
    assert judge("load_bound", [offers, one, saved, fact("b", "own", task=2, token=2)]) is not None


def test_a_work_may_change_hands_as_often_as_its_budget_allows():
    hops = [own("ab"[number % 2], number) for number in range(5)]
    assert judge("no_ping_pong", hops) is None
    assert judge("no_ping_pong", [offered(0, max_hops=3), *hops]) is not None
    assert judge("no_ping_pong", [own("ab"[number % 2], number) for number in range(20)]) is not None


def test_recoveries_do_not_count_as_hops():
    hops = [own("ab"[number % 2], number, reason="failure-recovery") for number in range(40)]
    assert judge("no_ping_pong", hops) is None
