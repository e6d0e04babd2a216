"""Durable state under torn writes."""

import itertools
from typing import Any

from pytest_convergence._engine.base.effects import Persist, Sync
from pytest_convergence._engine.patterns.durable import Slots


def write(slots: Slots, state: dict[str, Any]) -> Persist:
    persist = slots.save(state)[0]
    assert isinstance(persist, Persist)
    return persist


def test_a_new_agent_has_no_state():
    assert Slots("raft").load({}) is None


def test_every_write_is_synced_at_once():
    persist, sync = Slots("raft").save({"term": 1})
    assert isinstance(persist, Persist)
    assert sync == Sync()


def test_the_newest_whole_state_is_found_and_the_next_write_spares_it():
    slots = Slots("raft")
    disk: dict[str, Any] = {}
    for term in range(1, 6):
        persist = write(slots, {"term": term})
        disk[persist.key] = persist.value
        restarted = Slots("raft")
        assert restarted.load(disk) == {"term": term}
        assert write(restarted, {}).key != persist.key


def test_whatever_is_left_of_a_torn_write_the_state_before_is_found():
    slots = Slots("raft")
    disk: dict[str, Any] = {}
    for term in (1, 2):
        persist = write(slots, {"term": term})
        disk[persist.key] = persist.value
    torn = write(slots, {"term": 3})
    for length, kind in itertools.product(range(3), (list, tuple)):
        assert Slots("raft").load({**disk, torn.key: kind(torn.value[:length])}) == {"term": 2}
    assert Slots("raft").load({**disk, torn.key: "garbage"}) == {"term": 2}
