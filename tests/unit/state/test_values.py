"""Plain data: what may be stored, and that its encoding tells apart whatever differs."""

import copy
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from itertools import combinations
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.document import ABSENT
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.updates import DELETED, Delta, Dot, Update
from pytest_convergence._engine.state.values import checksum_of, encode, freeze, same_value
from pytest_convergence.errors import ConvergenceUsageError

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Task:
    name: str
    parts: Any = None


DIFFERENT = [
    None, False, True, 0, 1, -1, 0.0, -0.0, 1.0, float("inf"), 1j, "", "1", "\ud800", b"", b"1", [], (), set(), {},
    [1], (1,), {1}, [[1], 2], [1, [2]], [12], [1, 2], {"a": 1}, {"a": 1, "b": 2}, {1: "a"}, {"1": "a"}, {"a": {}},
    Colour.RED, Colour.BLUE, Task("t"), Task("t", [1]),
    date(2020, 1, 1), datetime(2020, 1, 1), Decimal("1"), Decimal("1.0"), PurePosixPath("a"),
]  # fmt: skip


def test_different_data_have_different_encodings() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert encode(one) != encode(other), (one, other)
        assert not same_value(one, other)


@pytest.mark.parametrize("value", DIFFERENT, ids=repr)
def test_a_frozen_copy_is_the_same_data(value: Any) -> None:
    frozen = freeze([value])[0]
    assert same_value(frozen, value)
    assert type(frozen) is type(value)


_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(_DATA, _DATA)
def test_the_encoding_decides_equality(one: Any, other: Any) -> None:
    assert same_value(one, copy.deepcopy(one))
    if same_value(one, other):
        assert repr(one) == repr(other) or one == other


@given(st.dictionaries(st.text(), st.integers()), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(mapping: dict[str, int], random: Any) -> None:
    items = list(mapping.items())
    random.shuffle(items)
    assert checksum_of(dict(items)) == checksum_of(mapping)
    assert freeze(dict(items)) == mapping


def test_relatives_of_plain_data_become_plain() -> None:
    assert freeze(OrderedDict(a=[1])) == {"a": [1]}
    assert type(freeze(OrderedDict(a=1))) is dict
    assert freeze(MappingProxyType({"a": 1})) == {"a": 1}
    assert freeze(bytearray(b"x")) == b"x"
    assert freeze({"a": 1}.keys()) == {"a"}
    assert freeze(Point([1], 2)) == Point([1], 2)
    assert freeze({(1, "a"): 2}) == {(1, "a"): 2}


def test_a_frozen_dataclass_is_a_copy() -> None:
    task = Task("t", [1])
    frozen = freeze(task)
    task.parts.append(2)
    assert frozen == Task("t", [1])


def test_what_is_not_plain_is_refused_wherever_it_hides() -> None:
    for value in (object(), [object()], {"k": object()}, {object(): 1}, Task("t", object()), Task):
        with pytest.raises(ConvergenceUsageError, match="is not plain data"):
            freeze(value)
        with pytest.raises(ConvergenceUsageError, match="is not plain data"):
            encode(value)


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConvergenceUsageError, match="does it contain itself"):
        freeze(endless)
    with pytest.raises(ConvergenceUsageError, match="does it contain itself"):
        encode(endless)


def test_markers_and_updates_are_copied_as_themselves() -> None:
    assert copy.copy(DELETED) is copy.deepcopy(DELETED) is pickle.loads(pickle.dumps(DELETED)) is DELETED
    assert (repr(DELETED), repr(ABSENT)) == ("DELETED", "ABSENT")
    update = Update(Dot("a", 1), ("x",), "set", [1], VectorClock())
    delta = Delta(VectorClock(), VectorClock({"a": 1}), (update,))
    assert copy.deepcopy(update) is update
    assert copy.deepcopy(delta) is delta
    assert pickle.loads(pickle.dumps(delta)) == delta


def test_discarding_an_update_that_is_not_there_changes_nothing() -> None:
    live = LiveUpdates()
    update = Update(Dot("a", 1), ("x", "y"), "set", 1, VectorClock())
    live.discard(update)
    live.add(update)
    live.discard(Update(Dot("a", 2), ("x", "y"), "set", 1, VectorClock()))
    assert list(live) == [update]
    assert len(live) == 1
    live.discard(update)
    assert len(live) == 0
    assert list(live.overlapping(("x",))) == []
