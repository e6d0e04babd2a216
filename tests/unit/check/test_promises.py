"""Promises survive a restart, and nobody sends before its word is durable."""

import pytest

from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import find_property
from tests.unit.check.events import THREE, crash, event, fact, judge, persist, send, sync

SURVIVE, BEFORE = "promises_survive_restart", "reply_before_sync"


def vote(candidate, term=3):
    return fact("a", "vote", term=term, candidate=candidate)


@pytest.mark.parametrize(
    ("said", "later"),
    [
        (vote("b"), vote("c")),
        (vote("b"), vote(None)),
        (fact("a", "term", term=4), fact("a", "term", term=3)),
        (fact("a", "vote", round=2, value="A"), fact("a", "vote", round=2, value="B")),
        (fact("a", "confirm", round=2, value=None), fact("a", "confirm", round=2, value="B")),
        (fact("a", "promise", name="owner", value="b"), fact("a", "promise", name="owner", value="c")),
        (
            fact("a", "promise", name="ballot", at_least=(3, "b")),
            fact("a", "promise", name="ballot", at_least=(2, "c")),
        ),
    ],
)
def test_what_was_told_and_is_different_after_a_restart_is_reported(said, later):
    violation = judge(SURVIVE, [said, send("a"), crash("a"), later])
    assert violation is not None
    assert violation.message.startswith("a told others that its ")
    assert violation.agents == ("a",)
    assert judge(SURVIVE, [said, send("a"), crash("a"), said]) is None


def test_the_message_names_the_promise_and_both_values():
    violation = judge(SURVIVE, [vote("b"), send("a"), crash("a"), vote(None)])
    assert violation is not None
    assert (
        violation.message == "a told others that its vote in term 3 is 'b', and after a restart it says None"
    )
    assert violation.facts == {"name": "vote in term 3", "told": "b", "after restart": None}


def test_what_nobody_was_told_does_not_bind():
    assert judge(SURVIVE, [vote("b"), crash("a"), vote("c")]) is None
    assert judge(SURVIVE, [send("a"), vote("b"), send("b"), crash("a"), vote("c")]) is None


def test_within_one_life_the_property_has_nothing_to_say():
    assert judge(SURVIVE, [vote("b"), send("a"), vote("c"), crash("b"), vote("b")]) is None


def test_promises_of_all_earlier_lives_bind():
    events = [vote("b"), send("a"), crash("a"), fact("a", "term", term=3), send("a"), crash("a")]
    assert judge(SURVIVE, [*events, vote("c")]) is not None
    assert judge(SURVIVE, [*events, fact("a", "term", term=2)]) is not None
    assert judge(SURVIVE, [*events, vote("c", term=4), fact("a", "term", term=4)]) is None


def test_the_recollection_of_no_vote_is_no_promise():
    assert judge(SURVIVE, [vote(None), send("a"), crash("a"), vote("b")]) is None


def test_facts_that_promise_nothing_are_passed_over():
    events = [
        fact("a", "leader", term=3),
        fact("a", "round", round=1),
        event("observe", "a", "not a mapping"),
    ]
    assert judge(SURVIVE, [*events, send("a"), crash("a"), *events], final=FinalState(0, THREE)) is None


def test_sendings_are_asked_for_only_while_something_is_untold():
    monitor = Monitor([find_property(SURVIVE), find_property(BEFORE)], Scope(THREE))
    assert "send" not in monitor.kinds
    monitor.feed(vote("b"))
    assert "send" in monitor.kinds
    monitor.feed(send("a"))
    assert "send" not in monitor.kinds
    monitor.feed(persist("a"))
    assert "send" in monitor.kinds
    monitor.feed(sync("a"))
    assert "send" not in monitor.kinds


def test_a_protocol_message_before_the_sync_is_reported():
    violation = judge(BEFORE, [persist("a", "raft.1", "pattern"), send("a", "c", "vote_response", "pattern")])
    assert violation is not None
    assert violation.message.startswith(
        "a sent 'vote_response' to c before its own writes (raft.1) were synced"
    )
    assert violation.agents == ("a", "c")


@pytest.mark.parametrize(
    "events",
    [
        [persist("a", channel="pattern"), sync("a", "pattern"), send("a", channel="pattern")],
        [persist("a", channel="pattern"), crash("a"), send("a", channel="pattern")],
        [persist("a", channel="user"), send("a", channel="pattern")],
        [persist("b", channel="pattern"), send("a", channel="pattern")],
        [persist("a"), send("a")],
        [persist("a", "cache"), vote("b"), send("a")],
        [persist("a", "cache"), fact("a", "vote", term=1, candidate="b", durable="vote"), send("a")],
        [
            persist("a", "vote"),
            fact("a", "vote", term=1, candidate="b", durable="vote"),
            sync("a"),
            send("a"),
        ],
        [
            persist("a", "vote"),
            fact("a", "vote", term=1, candidate="b", durable="vote"),
            crash("a"),
            send("a"),
        ],
        [persist("a", channel="pattern"), event("send", "a")],
    ],
)
def test_what_does_not_rest_on_an_unsynced_write_may_be_sent(events):
    assert judge(BEFORE, events, final=FinalState(0, THREE)) is None


def test_a_promise_that_names_its_key_is_judged_on_the_users_channel_too():
    promise = fact("a", "vote", term=1, candidate="b", durable="vote")
    violation = judge(BEFORE, [persist("a", "cache"), persist("a", "vote"), promise, send("a")])
    assert violation is not None
    assert violation.facts == {"kind": "message", "keys": ("vote",)}


def test_what_the_world_saw_is_reported_as_it_is():
    violation = judge(BEFORE, [fact("a", "unsynced_send", to="b", kind="promise")])
    assert violation is not None
    assert violation.message.startswith("a sent 'promise' to b before its own writes were synced")
