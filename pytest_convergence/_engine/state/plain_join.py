"""Join of plain values: the least value that contains all of them, where there is one.

Source: M. Shapiro, N. Preguiça, C. Baquero, M. Zawirski, *A comprehensive study of Convergent and Commutative Replicated
Data Types* (INRIA report 7506, 2011): states that form a semilattice are merged by their join, in any order, any number of
times.

1. ``None`` is the bottom: it adds nothing.
2. Dicts are joined key by key, sets are united, of numbers the greatest stands, ``True`` beats ``False``. A dict from
   agents to numbers is thus a grow-only counter (section 3.1.2 there), a set a grow-only set (section 3.3.1).
3. Of lists the longest stands if all the others are beginnings of it (a log that grows).
4. An object with a method ``join`` or ``merge`` is asked: ``one.join(other)``, in the order of the sides.
5. Equal values join to themselves. Whatever else has no join: that is a conflict, which lists all values. The greatest of
   them in a fixed order stands in, so that the result does not depend on the order of the sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.state.three_way import MergeConflict, Segments, ordered_keys, same
from pytest_convergence._engine.state.updates import DELETED

__all__ = ["JOIN_METHODS", "join_method", "join_values"]

JOIN_METHODS: Final = ("join", "merge")
"""By which methods an object may be joined with another of its kind."""


def join_values(sides: Mapping[str, Any]) -> tuple[Any, tuple[MergeConflict, ...]]:
    """Join the values of all sides; return the value and the places that have no join."""
    conflicts: list[MergeConflict] = []
    value = _join({side: snapshot(value) for side, value in sides.items()}, (), conflicts)
    return value, tuple(conflicts)


def join_method(value: Any) -> Callable[[Any], Any] | None:
    """Return the method by which ``value`` joins itself with another, or ``None``."""
    if type(value).__module__ == "builtins":
        return None
    for name in JOIN_METHODS:
        method = getattr(value, name, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
    return None


def _join(sides: Mapping[str, Any], path: Segments, conflicts: list[MergeConflict]) -> Any:
    present = {side: value for side, value in sides.items() if value is not None}
    values = list(present.values())
    if not values:
        return None
    if all(type(value) is dict for value in values):
        return _join_dicts(present, path, conflicts)
    if all(type(value) in (set, frozenset) for value in values):
        united = set().union(*values)
        return united if any(type(value) is set for value in values) else frozenset(united)
    if all(join_method(value) is not None for value in values):
        return _join_objects(values)
    found = _join_leaves(values)
    if found is not None:
        return found[0]
    conflicts.append(MergeConflict(".".join(map(str, path)), DELETED, snapshot(present), path))
    return max(values, key=lambda value: (canonical(value), type(value).__name__))


def _join_leaves(values: list[Any]) -> tuple[Any] | None:
    """Join values that have no parts to join, as ``(value,)``; ``None`` if they have no join."""
    if all(same(value, values[0]) for value in values):
        return (values[0],)
    if all(type(value) is bool for value in values):
        return (True,)
    if all(type(value) in (int, float) and value == value for value in values):
        return (max(values, key=lambda value: (value, type(value).__name__, repr(value))),)
    if all(type(value) is list for value in values):
        longest = max(values, key=len)
        if all(same(value, longest[: len(value)]) for value in values):
            return (longest,)
    return None


def _join_dicts(
    sides: Mapping[str, dict[Any, Any]], path: Segments, conflicts: list[MergeConflict]
) -> dict[Any, Any]:
    joined: dict[Any, Any] = {}
    for key in ordered_keys([{}, *sides.values()]):
        below = {side: value[key] for side, value in sides.items() if key in value}
        joined[key] = _join(below, (*path, key), conflicts)
    return joined


def _join_objects(values: list[Any]) -> Any:
    joined = values[0]
    for value in values[1:]:
        method = join_method(joined)
        changed = None if method is None else method(value)
        joined = joined if changed is None else changed  # one that changes itself returns nothing
    return joined
