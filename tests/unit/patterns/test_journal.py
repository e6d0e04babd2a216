"""The journal: whole entries survive, in order, and a torn one gives way to the next."""

from typing import Any

from pytest_convergence._engine.base.effects import Effect, Persist, Sync
from pytest_convergence._engine.patterns.journal import Journal


def written(journal: Journal, disk: dict[str, Any], *entry: Any) -> None:
    onto(disk, journal.append(*entry))


def onto(disk: dict[str, Any], effects: list[Effect]) -> None:
    persist, sync = effects
    assert isinstance(persist, Persist)
    assert sync == Sync()
    disk[persist.key] = persist.value


def test_what_was_appended_is_read_back_in_order():
    disk: dict[str, Any] = {}
    journal = Journal("log")
    for number in range(12):  # more than one digit: the order is that of numbers, not of texts
        written(journal, disk, "entry", number)
    assert Journal("log").load(disk) == [["entry", number] for number in range(12)]


def test_an_empty_disk_is_an_empty_journal():
    assert Journal("log").load({}) == []
    assert Journal("log").load({"other.0": ["entry", "end"]}) == []


def test_a_torn_entry_is_none_and_the_next_one_takes_its_place():
    disk: dict[str, Any] = {}
    journal = Journal("log")
    written(journal, disk, "first", 1)
    disk["log.1"] = ["second"]  # the half of ["second", 2, "end"] that the crash let through
    again = Journal("log")
    assert again.load(disk) == [["first", 1]]
    written(again, disk, "another", 3)
    assert Journal("log").load(disk) == [["first", 1], ["another", 3]]
    disk["log.2"] = []
    assert len(Journal("log").load(disk)) == 2


def test_a_checkpoint_takes_the_place_of_all_before_it_and_the_storage_stops_growing():
    disk: dict[str, Any] = {}
    journal = Journal("log")
    for generation in range(12):
        for number in range(5 - generation % 3):
            written(journal, disk, "entry", generation, number)
        before = Journal("log").load(disk)
        onto(disk, journal.checkpoint("sum", generation))
        assert Journal("log").load(disk) == [["sum", generation]]
        assert len(before) == 5 - generation % 3 + (generation > 0)
        assert len(journal) == 1
    assert len(disk) <= 3 * 6


def test_a_torn_checkpoint_is_none_and_what_came_before_counts_on():
    disk: dict[str, Any] = {}
    journal = Journal("log")
    for generation in range(4):
        written(journal, disk, "entry", generation)
        kept = Journal("log").load(disk)
        place = journal.checkpoint("sum", generation)[0]
        assert isinstance(place, Persist)
        disk[place.key] = place.value[:1]
        journal = Journal("log")
        assert journal.load(disk) == kept
        written(journal, disk, "later", generation)
        assert Journal("log").load(disk) == [*kept, ["later", generation]]
        onto(disk, journal.checkpoint("sum", generation))
