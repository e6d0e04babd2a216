"""How far each item has come."""

from pytest_convergence import ItemProgress, ItemState, item_progress
from tests.unit.check.events import MS, crash, event, fact

FEED = [fact("a", "feed", item=number, stages=["cut", "sew"]) for number in (1, 2)]


def told(name, item=1, /, at=0, **data):
    return fact("b", name, item=item, stage="cut", at=at * MS, **data)


def test_an_item_waits_is_worked_on_and_passes():
    events = [*FEED, told("take"), told("attempt"), told("effect"), told("ack")]
    states = [item_progress(events[:count])[1].state for count in range(2, 7)]
    assert states == ["waiting", "taken", "working", "waiting", "waiting"]
    last = fact("c", "effect", item=1, stage="sew", at=7 * MS)
    found = item_progress([*events, last])
    assert found[1] == ItemProgress(1, ItemState.DONE, "sew", ("cut", "sew"), 0, 0.007)
    assert found[2] == ItemProgress(2, ItemState.WAITING)
    assert list(found) == [1, 2]


def test_failures_are_counted_and_a_dead_letter_is_the_end():
    events = [*FEED, told("attempt"), told("fail"), told("retry"), told("attempt"), told("fail")]
    assert item_progress(events)[1] == ItemProgress(1, ItemState.RETRYING, "cut", (), 2)
    events += [told("fail", recalled=True), told("dead_letter", at=3), told("take", at=9)]
    assert item_progress(events)[1] == ItemProgress(1, ItemState.DEAD_LETTER, "cut", (), 2, 0.003)
    assert item_progress([*FEED, told("reject")])[1].state is ItemState.REJECTED


def test_what_a_crashed_agent_held_waits_again():
    events = [*FEED, told("take"), told("take", 2), told("effect", 2), told("effect", 2), crash("b")]
    found = item_progress(events)
    assert [progress.state for progress in found.values()] == [ItemState.WAITING, ItemState.WAITING]
    assert found[2].passed == ("cut",)
    assert item_progress([*FEED, told("take"), crash("c")])[1].state is ItemState.TAKEN
    assert item_progress([*FEED, told("take"), told("release")])[1].state is ItemState.WAITING


def test_items_without_a_hash_go_by_their_text_and_other_facts_say_nothing():
    found = item_progress([event("send", "a"), fact("a", "round", round=1), fact("a", "feed", item=[1])])
    assert found == {"[1]": ItemProgress([1], ItemState.WAITING)}
