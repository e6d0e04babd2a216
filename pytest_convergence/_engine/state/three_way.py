"""Three-way merge of nested values: what several sides made of one base, put together.

Source: the rule for each place is that of a three-way merge of trees (T. Lindholm, *A Three-way Merge for XML
Documents*, DocEng 2004): a place that one side alone changed takes that change, a place that all sides changed
alike takes it once, and anything else is a conflict. Here a place is a path of keys in nested dicts.

1. A side that left a place as the base has it does not count there. So ``merge(b, x, b) = x`` and ``merge(b, b, y) = y``.
2. Sides that agree do not conflict: ``merge(b, x, x) = x``.
3. Dicts are merged key by key. A key that is gone on one side was deleted there; deleting is a change like any other.
4. Sets are merged member by member. That never conflicts: a member of the base can only have been removed, and any other
   only added.
5. All other values, lists among them, are one place each: their parts have no names that would outlive a change.
6. In a conflict the base stands, and the conflict lists the value of every side that changed the place. So nothing is
   dropped in silence, and the result does not depend on the order of the sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final, NamedTuple, TypeAlias

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.state.updates import DELETED
from pytest_convergence._engine.state.values import same_value
from pytest_convergence.errors import ConvergenceUsageError

__all__ = [
    "MergeConflict",
    "Merged",
    "Segments",
    "compares",
    "merge_sides",
    "ordered_keys",
    "same",
    "three_way_merge",
]

Segments: TypeAlias = tuple[Any, ...]

OURS: Final = "ours"
THEIRS: Final = "theirs"


class MergeConflict(NamedTuple):
    """A place that several sides changed, and not alike.

    Attributes:
        path: the keys that lead there, as dotted text; empty for the whole value.
        base: what stood there before (and stands there now); ``DELETED`` if there was nothing.
        values: what each side that changed the place made of it; ``DELETED`` where it is gone.
        segments: the keys themselves.
    """

    path: str
    base: Any
    values: Mapping[str, Any]
    segments: Segments = ()

    def __str__(self) -> str:
        sides = ", ".join(f"{side} has {value!r}" for side, value in self.values.items())
        return f"{self.path or 'the whole value'}: {sides}; before {self.base!r}"


class Merged(NamedTuple):
    """A merge that is not the whole story, or that may not be.

    Attributes:
        value: what was merged.
        conflicts: the places that could not be merged, in the order of their paths.
        missing: whose part had not come in by the deadline.
        failed: whose work raised, and what.
    """

    value: Any
    conflicts: tuple[MergeConflict, ...] = ()
    missing: tuple[str, ...] = ()
    failed: Mapping[str, str] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every part is in it and nothing conflicts."""
        return not (self.conflicts or self.missing or self.failed)


def three_way_merge(base: Any, ours: Any, theirs: Any) -> Merged:
    """Merge what two sides made of ``base``.

    Conflicts name their sides ``"ours"`` and ``"theirs"``. The arguments stay as they are, and share nothing with the
    result.

    Raises:
        ConvergenceUsageError: a value contains itself.
    """
    value, conflicts = merge_sides(base, {OURS: ours, THEIRS: theirs})
    return Merged(value, conflicts, (), {})


def merge_sides(base: Any, sides: Mapping[str, Any]) -> tuple[Any, tuple[MergeConflict, ...]]:
    """Merge what any number of sides made of ``base``; return the value and the conflicts."""
    conflicts: list[MergeConflict] = []
    try:
        value = snapshot(_merge(base, sides, (), conflicts))
    except RecursionError:
        raise ConvergenceUsageError("a value cannot be merged that contains itself.") from None
    return value, tuple(sorted(conflicts, key=_place))


def _merge(base: Any, sides: Mapping[str, Any], path: Segments, conflicts: list[MergeConflict]) -> Any:
    changed = {side: value for side, value in sides.items() if not same(value, base)}
    if not changed:
        return base
    values = list(changed.values())
    if all(same(value, values[0]) for value in values[1:]):
        return values[0]
    if all(type(value) is dict for value in values) and (base is DELETED or type(base) is dict):
        return _merge_dicts(base if type(base) is dict else {}, changed, path, conflicts)
    if all(_is_set(value) for value in values) and (base is DELETED or _is_set(base)):
        return _merge_sets(base if _is_set(base) else set(), values)
    text = ".".join(map(str, path))
    conflicts.append(MergeConflict(text, snapshot(base), snapshot(changed), path))
    return base


def _merge_dicts(
    base: dict[Any, Any], sides: Mapping[str, Any], path: Segments, conflicts: list[MergeConflict]
) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for key in ordered_keys([base, *sides.values()]):
        made = {side: value.get(key, DELETED) for side, value in sides.items()}
        value = _merge(base.get(key, DELETED), made, (*path, key), conflicts)
        if value is not DELETED:
            merged[key] = value
    return merged


def _merge_sets(base: Set[Any], values: list[Any]) -> Any:
    added = set().union(*(value - base for value in values))
    removed = set().union(*(base - value for value in values))
    kind = frozenset if all(type(value) is frozenset for value in values) else set
    return kind((base - removed) | added)


def _is_set(value: Any) -> bool:
    return type(value) is set or type(value) is frozenset


def ordered_keys(dicts: list[dict[Any, Any]]) -> list[Any]:
    """The keys of all ``dicts``: those of the first as they stand there, then the others in the order of their text."""
    later = {key: None for each in dicts[1:] for key in each if key not in dicts[0]}
    return [*dicts[0], *sorted(later, key=_text)]


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same data; what is no plain data is asked itself."""
    if one is other:
        return True
    if one is DELETED or other is DELETED or type(one) is not type(other):
        return False
    try:
        return same_value(one, other)
    except ConvergenceUsageError:
        return bool(one == other)


def compares(value: Any) -> bool:
    """Whether ``value`` equals a copy of itself, so that one can tell by comparing whether it is the same data."""
    return same(value, snapshot(value))


def _text(key: Any) -> tuple[str, str]:
    return str(key), type(key).__name__


def _place(conflict: MergeConflict) -> list[tuple[str, str]]:
    return [_text(key) for key in conflict.segments]
