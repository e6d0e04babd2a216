"""Durable state under torn writes."""

import itertools

from pytest_convergence._engine.base.effects import Persist, Sync
from pytest_convergence._engine.patterns.durable import Slots


def test_a_new_agent_has_no_state():
    assert Slots("raft").load({}) is None


def test_every_write_is_synced_at_once():
    persist, sync = Slots("raft").save({"term": 1})
    assert isinstance(persist, Persist)
    assert sync == Sync()


def test_the_newest_whole_state_is_found_and_the_next_write_spares_it():
    slots, disk = Slots("raft"), {}
    for term in range(1, 6):
        write = slots.save({"term": term})[0]
        disk[write.key] = write.value
        restarted = Slots("raft")
        assert restarted.load(disk) == {"term": term}
        assert restarted.save({})[0].key != write.key


def test_whatever_is_left_of_a_torn_write_the_state_before_is_found():
    slots, disk = Slots("raft"), {}
    for term in (1, 2):
        write = slots.save({"term": term})[0]
        disk[write.key] = write.value
    torn = slots.save({"term": 3})[0]
    for length, kind in itertools.product(range(3), (list, tuple)):
        assert Slots("raft").load({**disk, torn.key: kind(torn.value[:length])}) == {"term": 2}
    assert Slots("raft").load({**disk, torn.key: "garbage"}) == {"term": 2}
