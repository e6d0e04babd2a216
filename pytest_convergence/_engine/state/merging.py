"""Merging rivals: three ways against their common ancestor, then by what their types allow.

1. :mod:`.three_way` merges what can be told apart by keys and members, and lists the places where it cannot.
2. At such a place, lists that all begin with what stood there before were appended to: everything that was appended is
   kept, in the order of the writes. Numbers are merged as they are said to be meant.
3. What is left is disputed: a rule picks one of the values, or the merge has failed.

The result depends on the values and on the declared order of their writers, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.state.document import is_number
from pytest_convergence._engine.state.three_way import MergeConflict, merge_sides, same
from pytest_convergence._engine.state.updates import DELETED

__all__ = ["NUMBERS", "Pick", "merge_rivals"]

NUMBERS: Final = ("conflict", "add", "max", "min")
"""What a number that several changed may be taken for."""

Pick: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Picks one of several values, given by writer in the order of the writes."""


def merge_rivals(
    ancestor: Any, values: Mapping[str, Any], numbers: str, pick: Pick | None
) -> tuple[Any] | None:
    """Merge what several writers made of ``ancestor``; return ``(value,)``, or ``None`` if a place stays disputed.

    Args:
        ancestor: what they all had seen; ``DELETED`` for nothing.
        values: by writer, in the order of their writes; ``DELETED`` where it is gone.
        numbers: one of :data:`NUMBERS`.
        pick: decides about a disputed place; ``None`` if nobody does.
    """
    merged, places = merge_sides(ancestor, values)
    for place in places:
        made = {writer: place.values[writer] for writer in values if writer in place.values}
        value = _at_place(place, made, numbers)
        if value is None:
            if pick is None:
                return None
            value = (pick(made),)
        merged = _put(merged, place.segments, value[0])
    return (merged,)


def _at_place(place: MergeConflict, made: Mapping[str, Any], numbers: str) -> tuple[Any] | None:
    values = list(made.values())
    if all(type(value) is list for value in values):
        return _appended(place.base, values)
    if numbers != "conflict" and all(map(is_number, values)):
        return _merged_number(place.base, values, numbers)
    return None


def _appended(base: Any, values: Sequence[list[Any]]) -> tuple[Any] | None:
    """Put together what was appended to a list, if nothing else was done to it."""
    start = [] if base is DELETED else base
    if type(start) is not list or not all(same(value[: len(start)], start) for value in values):
        return None
    return ([*start, *(item for value in values for item in value[len(start) :])],)


def _merged_number(base: Any, values: Sequence[Any], numbers: str) -> tuple[Any] | None:
    if numbers == "max":
        return (max(values),)
    if numbers == "min":
        return (min(values),)
    start = 0 if base is DELETED else base
    if not is_number(start):
        return None
    return (start + sum(value - start for value in values),)


def _put(tree: Any, segments: Sequence[Any], value: Any) -> Any:
    if not segments:
        return snapshot(value)
    place = tree
    for segment in segments[:-1]:
        place = place[segment]
    if value is DELETED:
        place.pop(segments[-1], None)
    else:
        place[segments[-1]] = snapshot(value)
    return tree
