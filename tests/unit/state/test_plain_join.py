"""The join of plain values: a semilattice where there is a join, and a conflict where there is none."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_convergence import assert_merge_laws
from pytest_convergence._engine.state.plain_join import join_method, join_values
from pytest_convergence._engine.state.three_way import same

counters = st.dictionaries(st.sampled_from("abc"), st.integers(0, 5))
lattices = st.fixed_dictionaries(
    {"count": counters, "seen": st.sets(st.integers(0, 3)), "done": st.booleans(), "note": st.none()},
    optional={"more": st.frozensets(st.sampled_from("xy"))},
)


unhurried = settings(deadline=None, max_examples=60)


def join(one: Any, other: Any) -> Any:
    value, conflicts = join_values({"one": one, "other": other})
    assert not conflicts
    return value


@unhurried
@given(st.lists(lattices, min_size=1, max_size=3))
def test_the_join_of_counters_sets_and_flags_keeps_the_laws(states: list[Any]) -> None:
    assert_merge_laws(join, states)


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (None, 3, 3),
        (None, None, None),
        ({"a": 1}, {"a": 3, "b": 1}, {"a": 3, "b": 1}),
        ({1}, {2}, {1, 2}),
        (frozenset({1}), {2}, {1, 2}),
        (frozenset({1}), frozenset({2}), frozenset({1, 2})),
        (True, False, True),
        (1, 2.5, 2.5),
        (1, 1.0, 1),
        ([1, 2], [1], [1, 2]),
        ("same", "same", "same"),
    ],
)
def test_values_and_their_joins(one: Any, other: Any, joined: Any) -> None:
    assert same(join(one, other), joined)
    assert same(join(other, one), joined)


@pytest.mark.parametrize(
    "values", [("a", "b", "c"), ([1], [2], [1, 2]), (1, "1", True), (float("nan"), 1.0, 2.0)], ids=str
)
def test_values_without_a_join_are_a_conflict_whatever_their_order(values: tuple[Any, ...]) -> None:
    found = []
    for order in permutations(enumerate(values)):
        value, [conflict] = join_values({f"side {place}": {"x": {"y": item}} for place, item in order})
        assert conflict.path == "x.y"
        assert sorted(conflict.values) == ["side 0", "side 1", "side 2"]
        found.append(repr(value))
    assert len(set(found)) == 1


class Log:
    """Something of the user's that joins itself with another by changing itself."""

    def __init__(self, *lines: str) -> None:
        self.lines = set(lines)

    def join(self, other: "Log") -> None:
        self.lines |= other.lines


def test_objects_that_can_join_themselves_are_asked_and_nobody_elses_are_changed() -> None:
    given = {"a": Log("1"), "b": Log("2"), "c": Log("3")}
    value, conflicts = join_values(given)
    assert value.lines == {"1", "2", "3"}
    assert not conflicts
    assert given["a"].lines == {"1"}


def test_builtin_values_have_no_join_method() -> None:
    assert join_method("text") is None  # str.join is another thing
    assert join_method(object()) is None
