"""Garbage is collected at points that events decide, and the collector is left as it was found."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from pytest_convergence._engine.sim.shims.collection import (
    EVENTS_BEFORE_FIRST_POINT,
    EVENTS_PER_POINT,
    Collection,
    between_runs,
    many_runs,
)


class Node:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.me = self


def cycle() -> "weakref.ref[Node]":
    return weakref.ref(Node())


@pytest.fixture
def collection() -> Iterator[Collection]:
    gc.collect()
    collection = Collection()
    collection.enter()
    yield collection
    collection.leave()


def test_the_automatic_collector_is_off_inside_and_on_again_after() -> None:
    collection = Collection()
    collection.enter()
    inside = gc.isenabled()
    collection.leave()
    assert (inside, gc.isenabled()) == (False, True)


def test_a_collector_that_was_off_stays_off_and_is_never_run() -> None:
    gc.disable()
    try:
        collection = Collection()
        collection.enter()
        collection.point(EVENTS_BEFORE_FIRST_POINT)
        garbage = cycle()
        collection.point(EVENTS_BEFORE_FIRST_POINT + EVENTS_PER_POINT)
        collection.leave()
        assert not gc.isenabled()
        assert garbage() is not None
    finally:
        gc.enable()


def test_allocations_alone_never_free_a_cycle_inside_a_run(collection: Collection) -> None:
    garbage = cycle()
    kept: list[list[int]] = [[] for _ in range(100_000)]
    assert kept
    assert garbage() is not None


def test_garbage_of_a_long_run_is_freed_at_the_next_point(collection: Collection) -> None:
    collection.point(EVENTS_BEFORE_FIRST_POINT)
    garbage = cycle()
    collection.point(EVENTS_BEFORE_FIRST_POINT + EVENTS_PER_POINT - 1)
    assert garbage() is not None
    collection.point(EVENTS_BEFORE_FIRST_POINT + EVENTS_PER_POINT)
    assert garbage() is None


def test_garbage_from_before_the_run_is_not_freed_inside_it() -> None:
    garbage = cycle()
    collection = Collection()
    collection.enter()
    for point in range(200):
        collection.point(EVENTS_BEFORE_FIRST_POINT + point * EVENTS_PER_POINT)
    survived = garbage() is not None
    collection.leave()
    gc.collect()
    assert survived
    assert garbage() is None


def test_what_lived_long_and_then_died_is_freed_by_a_later_point(collection: Collection) -> None:
    events = EVENTS_BEFORE_FIRST_POINT
    collection.point(events)
    node = Node()
    garbage = weakref.ref(node)
    for _ in range(20):
        events += EVENTS_PER_POINT
        collection.point(events)
    del node
    for _ in range(20):
        events += EVENTS_PER_POINT
        collection.point(events)
    assert garbage() is None


def test_leaving_thaws_what_was_frozen(collection: Collection) -> None:
    before = gc.get_freeze_count()
    collection.point(EVENTS_BEFORE_FIRST_POINT)
    assert gc.get_freeze_count() > before + 1_000
    collection.leave()
    assert gc.get_freeze_count() <= before


def test_objects_that_the_test_froze_stay_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        collection = Collection()
        collection.enter()
        collection.point(EVENTS_BEFORE_FIRST_POINT)
        collection.leave()
        # Some of them may have died, by chance; thawed, all would have gone.
        assert gc.get_freeze_count() > frozen // 2
    finally:
        gc.unfreeze()


def test_long_runs_are_cleaned_up_after_before_a_later_run() -> None:
    def long_run() -> "weakref.ref[Node]":
        node = Node()
        collection = Collection()
        collection.enter()
        collection.point(600_000)
        collection.leave()
        return weakref.ref(node)

    long_run()
    later = Collection()
    later.enter()  # pays what earlier tests of this process owe
    later.leave()
    garbage = long_run()
    later = Collection()
    later.enter()
    freed = garbage() is None
    later.leave()
    assert freed


def test_the_points_depend_on_events_alone() -> None:
    def finalized_at(noise: int) -> list[int]:
        seen: list[int] = []
        collection = Collection()
        collection.enter()
        for step in range(1, 60):
            events = EVENTS_BEFORE_FIRST_POINT + step * EVENTS_PER_POINT // 2
            weakref.finalize(Node(), seen.append, step)
            clutter: list[list[int]] = [[] for _ in range(noise)]
            collection.point(events)
            seen.append(-step)
            del clutter
        inside = list(seen)
        collection.leave()
        return inside

    assert finalized_at(0) == finalized_at(5_000)


def one_run() -> None:
    collection = Collection()
    collection.enter()
    collection.leave()


def test_in_a_search_what_a_run_leaves_is_collected_when_nobody_holds_it_any_more() -> None:
    gc.collect()
    with many_runs():
        one_run()
        session = Node()
        garbage = weakref.ref(session)
        kept: list[list[int]] = [
            [] for _ in range(10_000)
        ]  # the automatic collector would come here, too early
        assert kept
        del session
        outlived = garbage() is not None
        between_runs()
        assert outlived
        assert garbage() is None
        assert gc.isenabled()


def test_in_a_search_a_run_that_leaves_little_costs_no_collection() -> None:
    with many_runs():
        gc.collect()
        one_run()
        garbage = cycle()
        between_runs()
        assert garbage() is not None


def test_a_second_run_under_one_schedule_finds_the_collector_as_the_first_did() -> None:
    with many_runs():
        one_run()
        second = Collection()
        second.enter()
        second.point(EVENTS_BEFORE_FIRST_POINT)
        garbage = cycle()
        second.point(EVENTS_BEFORE_FIRST_POINT + EVENTS_PER_POINT)
        second.leave()
        assert garbage() is None
    assert gc.isenabled()


def test_after_a_search_that_fails_the_collector_is_on() -> None:
    with pytest.raises(ValueError, match="found"), many_runs():
        one_run()
        raise ValueError("found")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off_in_a_search_too() -> None:
    gc.disable()
    try:
        with many_runs():
            one_run()
            between_runs()
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
