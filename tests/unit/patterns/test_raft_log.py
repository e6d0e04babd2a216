"""The log of a Raft server: writing, finding where two logs part, and what a restart loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.effects import Effect, Observe, Persist, Sync
from pytest_convergence._engine.patterns.raft_log import Entry, RaftLog


def entries(*terms: int) -> list[Entry]:
    return [Entry(term, f"{term}.{place}", place) for place, term in enumerate(terms)]


def log_of(*terms: int) -> RaftLog:
    log = RaftLog()
    log.write(1, entries(*terms))
    return log


def terms_of(log: RaftLog) -> list[int]:
    return [entry.term for _, entry in log.entries()]


def stored(effects: Sequence[Effect], disk: dict[str, Any]) -> dict[str, Any]:
    return disk | {effect.key: effect.value for effect in effects if isinstance(effect, Persist)}


def test_an_empty_log_ends_at_index_0_in_term_0():
    log = RaftLog()
    assert (log.last_index, log.last_term, log.term_at(0), log.term_at(1)) == (0, 0, 0, None)


def test_entries_are_written_then_synced_then_observed():
    effects = RaftLog().write(1, entries(1, 1))
    assert [type(effect) for effect in effects] == [Persist, Persist, Sync, Observe, Observe]


def test_overwriting_says_what_is_dropped_and_forgets_its_ids():
    log = log_of(1, 1, 1)
    effects = log.write(2, [Entry(2, "new", "x")])
    facts = [(effect.fact, dict(effect.data)) for effect in effects if isinstance(effect, Observe)]
    assert facts == [("truncate", {"index": 2}), ("append", {"index": 2, "term": 2, "value": "x"})]
    assert terms_of(log) == [1, 2]
    assert (log.index_of("1.1"), log.index_of("1.2"), log.index_of("new")) == (None, None, 2)


def test_what_was_written_is_loaded():
    disk = stored(RaftLog().write(1, entries(1, 1, 2)), {})
    log = RaftLog()
    log.load(disk)
    assert [entry for _, entry in log.entries()] == entries(1, 1, 2)


def test_entries_that_followed_an_overwritten_one_are_not_loaded():
    log = RaftLog()
    disk = stored(log.write(1, entries(1, 1, 1, 1)), {})
    disk = stored(log.write(2, [Entry(3, "new", "x")]), disk)
    again = RaftLog()
    again.load(disk)
    assert terms_of(again) == [1, 3]


def test_a_torn_record_ends_the_log():
    disk = stored(RaftLog().write(1, entries(1, 1, 1)), {})
    disk["log.2"] = disk["log.2"][:2]
    log = RaftLog()
    log.load(disk)
    assert terms_of(log) == [1]


def test_runs_of_a_term_are_found_from_both_sides():
    log = log_of(1, 1, 4, 4, 4, 5)
    assert [log.first_of_term_at(index) for index in (1, 2, 5, 6)] == [1, 1, 3, 6]
    assert [log.last_of_term(term) for term in (1, 2, 3, 4, 5, 6)] == [2, 0, 0, 5, 6, 0]


@given(st.data())
def test_a_crash_between_two_writes_leaves_a_prefix_of_the_old_log_or_of_the_new(data: st.DataObject):
    """Leaders with growing terms overwrite tails; after each crash what is loaded is a log that there was."""
    log, disk = RaftLog(), dict[str, Any]()
    for term in range(1, data.draw(st.integers(2, 7))):
        before = [entry for _, entry in log.entries()]
        first = data.draw(st.integers(1, log.last_index + 1))
        new = [Entry(term, f"{term}.{place}", None) for place in range(data.draw(st.integers(1, 4)))]
        writes = [effect for effect in log.write(first, new) if isinstance(effect, Persist)]
        kept = data.draw(st.integers(0, len(writes)))
        disk = stored(writes[:kept], disk)
        if kept < len(writes) and data.draw(st.booleans()):
            torn = writes[kept]
            disk[torn.key] = list(torn.value)[: len(torn.value) // 2]
        log = RaftLog()
        log.load(disk)
        loaded = [entry for _, entry in log.entries()]
        possible = [
            before,
            before[: first - 1],
            *(before[: first - 1] + new[:count] for count in range(1, kept + 1)),
        ]
        assert loaded in possible
