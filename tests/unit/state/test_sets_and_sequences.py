"""Sets and sequences in a replica: what they do, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.itemsets import ItemSet
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.sequences import Items, Place
from pytest_convergence._engine.state.updates import DELETED
from pytest_convergence.errors import ConvergenceUsageError


def _pair(write: Callable[[Replica], Any] | None = None) -> tuple[Replica, Replica]:
    a, b = Replica("a"), Replica("b")
    if write is not None:
        write(a)
    b.join(a.delta_since(b.clock))
    return a, b


def _meet(a: Replica, b: Replica) -> None:
    a.join(b.delta_since(a.clock))
    b.join(a.delta_since(b.clock))
    assert a.as_dict() == b.as_dict()


def test_a_set_is_read_as_a_set_and_stays_when_its_last_item_goes() -> None:
    replica = Replica("a")
    replica.add("tags", "x")
    replica.add("tags", ("y", 1))
    assert replica.get("tags") == {"x", ("y", 1)}
    assert replica.discard("tags", "x")
    assert not replica.discard("tags", "x")
    assert not replica.discard("others", "x")
    assert replica.discard("tags", ("y", 1))
    assert replica.as_dict() == {"tags": set()}


def test_an_item_that_is_added_while_another_discards_it_stays() -> None:
    a, b = _pair(lambda replica: replica.add("tags", "x"))
    a.discard("tags", "x")
    b.add("tags", "x")
    _meet(a, b)
    assert a.get("tags") == {"x"}
    assert not a.conflicts
    b.discard("tags", "x")
    _meet(a, b)
    assert a.get("tags") == set()


def test_a_set_that_was_written_whole_can_be_added_to_and_taken_from() -> None:
    a, b = _pair(lambda replica: replica.set("tags", {"x", "y"}))
    a.add("tags", "z")
    b.discard("tags", "x")
    _meet(a, b)
    assert a.get("tags") == {"y", "z"}


def test_a_set_inside_of_a_value_can_be_written_too() -> None:
    replica = Replica("a")
    replica.set("plan", {"tags": {"x"}, "steps": [1, 3]})
    replica.add("plan.tags", "y")
    replica.discard("plan.tags", "x")
    replica.insert("plan.steps", 1, 2)
    replica.erase("plan.steps", 0)
    assert replica.as_dict() == {"plan": {"tags": {"y"}, "steps": [2, 3]}}


def test_items_that_are_equal_are_one_and_read_alike_everywhere() -> None:
    a, b = _pair()
    a.add("n", True)
    b.add("n", 1)
    _meet(a, b)
    assert a.checksum == b.checksum
    (item,) = a.get("n")
    b.discard("n", item)
    _meet(a, b)
    assert len(a.get("n")) == 1, "the other one had an addition of its own"
    assert a.checksum == b.checksum


def test_setting_a_set_beside_an_addition_is_a_conflict() -> None:
    a, b = _pair()
    a.set("tags", {"x"})
    b.add("tags", "y")
    _meet(a, b)
    assert [conflict.path for conflict in a.conflicts] == ["tags"]


def test_what_is_inserted_stands_where_it_was_put() -> None:
    a, b = _pair(lambda replica: replica.insert("text", 0, *"ace"))
    a.insert("text", 1, "b")
    b.insert("text", 2, "d")
    b.insert("text", 4, *"fg")
    _meet(a, b)
    assert "".join(a.get("text")) == "abcdefg"
    a.erase("text", 1, 5)
    b.insert("text", 3, "-")
    _meet(a, b)
    assert "".join(a.get("text")) == "a-g"


def test_a_list_that_was_set_or_appended_to_is_a_sequence_too() -> None:
    a, b = _pair(lambda replica: replica.set("list", [1, 4]))
    a.append("list", 5)
    b.insert("list", 1, 2, 3)
    _meet(a, b)
    assert a.get("list") == [1, 2, 3, 4, 5]
    a.append("list", 6)
    b.erase("list", 0)
    _meet(a, b)
    assert a.get("list") == [2, 3, 4, 5, 6]


def test_writing_below_a_value_turns_it_into_a_branch() -> None:
    replica = Replica("a")
    replica.set("x", 1)
    replica.add("x.tags", "y")
    replica.set("z", 1)
    replica.insert("z.list", 0, 2)
    replica.set("w", 1)
    replica.append("w.list", 3)
    assert replica.as_dict() == {"x": {"tags": {"y"}}, "z": {"list": [2]}, "w": {"list": [3]}}
    replica.add("x.tags", "v")
    assert replica.get("x.tags") == {"y", "v"}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda replica: replica.add("n", 1), r"add\('n'\) needs a set there"),
        (lambda replica: replica.discard("n", 1), r"discard\('n'\) needs a set there"),
        (lambda replica: replica.insert("n", 0, 1), r"insert\('n'\) needs a list there"),
        (lambda replica: replica.erase("n", 0), r"erase\('n'\) needs a list there"),
        (lambda replica: replica.add("tags", []), "must be hashable"),
        (lambda replica: replica.add("tags", object()), "is not plain data"),
        (lambda replica: replica.insert("list", 3, 1), "'list' has 2 items, and no place 3"),
        (lambda replica: replica.insert("list", -1, 1), "no place -1"),
        (lambda replica: replica.erase("list", 1, 2), "'list' has 2 items, and no 2 items from place 1"),
        (lambda replica: replica.erase("list", 0, -1), "no -1 items"),
    ],
)
def test_what_cannot_be_written_is_refused(write: Callable[[Replica], Any], message: str) -> None:
    replica = Replica("a", {"n": 1, "list": [1, 2]})
    with pytest.raises(ConvergenceUsageError, match=message):
        write(replica)


def test_writing_nothing_is_no_write() -> None:
    replica = Replica("a", {"list": [1]})
    replica.insert("list", 1)
    replica.erase("list", 0, 0)
    assert replica.version == 1


def test_a_rollback_brings_items_back() -> None:
    replica = Replica("a")
    replica.insert("text", 0, *"abc")
    replica.add("tags", "x")
    version = replica.version
    replica.erase("text", 0, 2)
    replica.discard("tags", "x")
    replica.rollback(version)
    assert replica.as_dict() == {"text": ["a", "b", "c"], "tags": {"x"}}
    replica.insert("text", 3, "d")
    replica.add("tags", "y")
    assert replica.as_dict() == {"text": ["a", "b", "c", "d"], "tags": {"x", "y"}}


def test_an_update_says_what_was_written() -> None:
    made: list[Any] = []
    replica = Replica("a", on_update=made.append)
    replica.insert("text", 0, "x", "y")
    replica.erase("text", 0)
    replica.add("tags", "z")
    assert [update.value for update in made] == [["x", "y"], DELETED, "z"]
    assert str(made[0]) == "insert text ['x', 'y'] by a #1"
    assert str(made[1]) == "erase text by a #2"


def test_many_items_are_kept_in_pieces() -> None:
    items = Items()
    for number in range(2_000):
        items.add("a", number + 1, items.place(number // 2), (number,))
    assert sorted(items) == list(range(2_000))
    plain: list[int] = []
    for number in range(2_000):
        plain.insert(number // 2, number)
    assert items == plain
    assert items.ids(700, 600) == tuple(("a", plain[place] + 1, 0) for place in range(700, 1_300))
    items.erase(items.ids(700, 600))
    assert items == plain[:700] + plain[1_300:]
    assert items.ids(0, 0) == ()
    with pytest.raises(IndexError):
        items.place(1_402)


def test_an_item_whose_parent_is_gone_stands_at_the_beginning() -> None:
    items = Items(["x"], "a", 1)
    items.add("b", 1, Place(("c", 9, 0)), ("y",))
    assert sorted(items) == ["x", "y"]
    items.erase([("c", 9, 0)])
    assert sorted(items) == ["x", "y"]


def test_an_item_set_forgets_only_what_was_seen() -> None:
    items = ItemSet()
    items.put("x", ("a", 1))
    items.put("x", ("b", 1))
    items.take("x", VectorClock({"a": 1}))
    assert items == {"x"}
    items.take("x", VectorClock({"b": 1}))
    items.take("y", VectorClock({"b": 1}))
    assert items == set()
