"""One text for equal values: the laws, and what must not be told apart or mixed up."""

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.canonical import canonical, canonical_items

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.text(max_size=3) | st.integers(0, 9) | st.booleans() | st.tuples(st.integers(0, 3))
VALUES = st.recursive(
    ATOMS | st.frozensets(st.integers() | st.text(max_size=2), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: int
    tags: Any


class Opaque:
    pass


def _shuffled(value: Any) -> Any:
    """An equal value, made in another order."""
    if isinstance(value, dict):
        return {key: _shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [_shuffled(item) for item in value]
    if isinstance(value, frozenset):
        return frozenset(sorted(value, key=repr, reverse=True))
    return value


@given(VALUES)
def test_equal_values_have_equal_texts_whatever_order_they_were_made_in(value: Any):
    assert canonical(value) == canonical(_shuffled(value))


@given(st.lists(VALUES, max_size=5), st.lists(VALUES, max_size=5))
def test_the_text_of_items_does_not_show_where_they_were_cut(first: list[Any], second: list[Any]):
    assert canonical_items(first) + canonical_items(second) == canonical_items(first + second)


@given(st.lists(st.text() | st.integers(), max_size=4), st.lists(st.text() | st.integers(), max_size=4))
def test_different_lists_have_different_texts(first: list[Any], second: list[Any]):
    assert (canonical(first) == canonical(second)) == (first == second)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [None, True]}, '{"a":[null,true],"b":1}'),
        (b"\x00\xff", '{"bytes":"00ff"}'),
        (bytearray(b"a"), '{"bytes":"61"}'),
        ({3, 1, 2}, '{"set":["1","2","3"]}'),
        (Colour.RED, '{"enum":"Colour.RED"}'),
        (Level.LOW, "1"),
        (
            Point(1, {"b", "a"}),
            '{"dataclass":"Point","fields":[["x",1],["tags",{"set":["\\"a\\"","\\"b\\""]}]]}',
        ),
        (ValueError("text", 1), '{"args":["text",1],"exception":"ValueError"}'),
        (Opaque(), '{"object":"Opaque"}'),
        (canonical, '{"object":"canonical"}'),
        (Point, '{"object":"Point"}'),
        (datetime.datetime(2000, 1, 2, 3), '{"datetime":"2000-01-02 03:00:00"}'),
        (decimal.Decimal("1.50"), '{"Decimal":"1.50"}'),
        (fractions.Fraction(1, 3), '{"Fraction":"1/3"}'),
        (uuid.UUID(int=1), '{"UUID":"00000000-0000-0000-0000-000000000001"}'),
        (pathlib.PurePosixPath("a/b"), '{"PurePosixPath":"a/b"}'),
        (1 + 2j, '{"complex":"(1+2j)"}'),
        (range(3), '{"range":"range(0, 3)"}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_value_has_its_text(value: Any, text: str):
    assert canonical(value) == text


def test_keys_that_json_cannot_sort_are_told_apart():
    assert canonical({1: "a", "1": "b"}) == '{"map":[["\\"1\\"","\\"b\\""],["1","\\"a\\""]]}'
    assert canonical([{(1, 2): b"x"}, (1, None)]) == '[{"map":[["[1,2]","{\\"bytes\\":\\"78\\"}"]]},[1,null]]'


def test_a_mapping_that_is_no_dict_is_written_by_its_items():
    from types import MappingProxyType

    assert canonical(MappingProxyType({"a": 1})) == '{"map":[["\\"a\\"","1"]]}'
