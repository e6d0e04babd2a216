"""Three-way merge: its identities, as laws over drawn documents; and what it makes of conflicts."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_convergence import ConvergenceUsageError, Merged, three_way_merge
from pytest_convergence._engine.state.three_way import compares, merge_sides, same
from pytest_convergence._engine.state.updates import DELETED

leaves = st.one_of(
    st.integers(0, 3), st.booleans(), st.none(), st.sampled_from("ab"), st.frozensets(st.integers(0, 3))
)
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("xyz"), inner, max_size=3), st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


unhurried = settings(deadline=None, max_examples=100)


def leaf_paths(value: Any, path: tuple[Any, ...] = ()) -> Mapping[tuple[Any, ...], Any]:
    """Every place that is no dict, and what stands there; empty dicts among them."""
    if type(value) is dict and value:
        return {
            at: leaf for key, item in value.items() for at, leaf in leaf_paths(item, (*path, key)).items()
        }
    return {path: value}


def get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        if type(value) is not dict or key not in value:
            return DELETED
        value = value[key]
    return value


@unhurried
@given(documents, documents)
def test_a_side_that_changed_nothing_has_no_say(base: Any, other: Any) -> None:
    for merged in (three_way_merge(base, other, base), three_way_merge(base, base, other)):
        assert same(merged.value, other)
        assert merged.is_complete


@unhurried
@given(documents, documents)
def test_sides_that_agree_do_not_conflict(base: Any, both: Any) -> None:
    merged = three_way_merge(base, both, both)
    assert same(merged.value, both)
    assert merged.is_complete


@unhurried
@given(documents, documents, documents)
def test_the_sides_may_be_swapped(base: Any, ours: Any, theirs: Any) -> None:
    one, other = three_way_merge(base, ours, theirs), three_way_merge(base, theirs, ours)
    assert same(one.value, other.value)
    swapped = [
        conflict._replace(values={"ours": conflict.values["theirs"], "theirs": conflict.values["ours"]})
        for conflict in other.conflicts
    ]
    assert [conflict.segments for conflict in one.conflicts] == [each.segments for each in swapped]
    assert all(
        same(mine.values[side], theirs.values[side])
        for mine, theirs in zip(one.conflicts, swapped, strict=True)
        for side in ("ours", "theirs")
    )


@unhurried
@given(documents, documents, documents)
def test_no_change_is_dropped_without_a_conflict(base: Any, ours: Any, theirs: Any) -> None:
    merged = three_way_merge(base, ours, theirs)
    reported = [conflict.segments for conflict in merged.conflicts]
    for side in (ours, theirs):
        for path, leaf in leaf_paths(side).items():
            if same(get(base, path), leaf) or isinstance(leaf, frozenset):
                continue  # unchanged, or merged member by member
            stands = get(merged.value, path)
            inside = leaf == {} and type(stands) is dict
            assert same(stands, leaf) or inside or any(path[: len(at)] == at for at in reported), (path, leaf)


@unhurried
@given(documents, documents, documents)
def test_where_there_is_a_conflict_the_base_stands_and_every_side_is_listed(
    base: Any, ours: Any, theirs: Any
) -> None:
    merged = three_way_merge(base, ours, theirs)
    for conflict in merged.conflicts:
        assert same(get(merged.value, conflict.segments), conflict.base)
        assert same(conflict.values["ours"], get(ours, conflict.segments))
        assert same(conflict.values["theirs"], get(theirs, conflict.segments))


@unhurried
@given(documents, st.lists(documents, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_any_number_of_sides_in_any_order(base: Any, made: list[Any], random: Any) -> None:
    sides = {f"side {number}": value for number, value in enumerate(made)}
    shuffled = list(sides.items())
    random.shuffle(shuffled)
    value, conflicts = merge_sides(base, sides)
    again, others = merge_sides(base, dict(shuffled))
    assert same(value, again)
    assert [conflict.segments for conflict in conflicts] == [conflict.segments for conflict in others]


def test_changes_of_different_places_are_all_taken() -> None:
    base = {"title": "draft", "body": {"intro": 1, "end": 2}, "old": True}
    ours = {"title": "final", "body": {"intro": 1, "end": 2}, "old": True}
    theirs = {"title": "draft", "body": {"intro": 1, "end": 3, "notes": []}}
    merged = three_way_merge(base, ours, theirs)
    assert merged == Merged({"title": "final", "body": {"intro": 1, "end": 3, "notes": []}}, (), (), {})


def test_a_conflict_names_its_exact_path_and_what_each_side_has() -> None:
    base = {"plan": {"title": "draft", "done": False}}
    merged = three_way_merge(
        base, {"plan": {"title": "A", "done": True}}, {"plan": {"title": "B", "done": False}}
    )
    assert merged.value == {"plan": {"title": "draft", "done": True}}
    [conflict] = merged.conflicts
    assert conflict.path == "plan.title"
    assert conflict.base == "draft"
    assert conflict.values == {"ours": "A", "theirs": "B"}
    assert str(conflict) == "plan.title: ours has 'A', theirs has 'B'; before 'draft'"
    assert not merged.is_complete


def test_deleting_what_the_other_side_changes_is_a_conflict() -> None:
    merged = three_way_merge({"a": {"x": 1, "y": 2}}, {}, {"a": {"x": 5, "y": 2}})
    [conflict] = merged.conflicts
    assert conflict.path == "a"
    assert conflict.values == {"ours": DELETED, "theirs": {"x": 5, "y": 2}}
    assert merged.value == {"a": {"x": 1, "y": 2}}


def test_what_both_sides_add_is_merged_key_by_key() -> None:
    merged = three_way_merge({}, {"a": {"x": 1, "z": 1}}, {"a": {"y": 2, "z": 2}})
    assert merged.value == {"a": {"x": 1, "y": 2}}
    assert [conflict.path for conflict in merged.conflicts] == ["a.z"]


@pytest.mark.parametrize("kind", [set, frozenset])
def test_sets_are_merged_by_what_was_added_and_removed(kind: Any) -> None:
    merged = three_way_merge(kind("abc"), kind("bcd"), kind("abe"))
    assert merged.value == {"b", "d", "e"}
    assert type(merged.value) is kind
    assert three_way_merge({}, {"s": kind("a")}, {"s": kind("b")}).value == {"s": {"a", "b"}}


def test_a_whole_value_can_be_in_conflict() -> None:
    merged = three_way_merge(1, 2, 3)
    assert merged.conflicts[0].path == ""
    assert str(merged.conflicts[0]).startswith("the whole value: ")


def test_truth_and_one_are_two_values() -> None:
    assert three_way_merge({"a": 0}, {"a": 1}, {"a": True}).conflicts


def test_the_arguments_are_left_alone_and_share_nothing_with_the_result() -> None:
    base = {"a": [1]}
    merged = three_way_merge(base, base, base)
    merged.value["a"].append(2)
    assert base == {"a": [1]}


def test_a_value_that_contains_itself_is_refused() -> None:
    ring: dict[str, Any] = {}
    ring["self"] = ring
    with pytest.raises(ConvergenceUsageError, match="contains itself"):
        three_way_merge({}, ring, {"other": 1})


class Plain:
    """Equal to nothing but itself."""


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    __hash__ = None  # type: ignore[assignment]


def test_values_that_are_no_plain_data_are_asked_themselves() -> None:
    assert three_way_merge({"p": Point(1)}, {"p": Point(2)}, {"p": Point(1)}).value == {"p": Point(2)}
    assert compares({"a": 1})
    assert compares(Point(1))
    assert not compares(Plain())
