"""A nested document, addressed by paths, without any notion of time: what updates are applied to, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

from pytest_convergence._engine.state.itemsets import ItemSet
from pytest_convergence._engine.state.paths import Path, is_branch
from pytest_convergence._engine.state.sequences import Items, Place
from pytest_convergence._engine.state.updates import Update
from pytest_convergence._engine.state.values import freeze, same_value

__all__ = ["ABSENT", "Document", "differences", "leaves"]


@final
class _Absent:
    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""What :meth:`Document.get` gives where nothing is stored. ``None`` is a value like any other."""


@final
class _Branch(dict[str, Any]):
    """A branch that exists because something was stored below it, and only as long."""


@final
class Document:
    """A nested dict with dotted paths.

    Writing below a leaf turns the leaf into a branch: the later write has its way. With its last key goes a branch that
    was not itself stored; a dict that was stored stays, empty.
    """

    __slots__ = ("_runs", "root")

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._runs: dict[tuple[Path, str], tuple[int, Any]] = {}

    def get(self, path: Path) -> Any:
        """Return what is stored at ``path`` (not a copy), or :data:`ABSENT`."""
        place: Any = self.root
        for segment in path:
            if not isinstance(place, dict) or segment not in place:
                return ABSENT
            place = place[segment]
        return place

    def put(self, path: Path, value: Any) -> None:
        """Store ``value`` (not a copy) at ``path``."""
        place = self.root
        for segment in path[:-1]:
            below = place.get(segment)
            if not isinstance(below, dict):
                below = place[segment] = _Branch()
            place = below
        place[path[-1]] = value

    def remove(self, path: Path) -> None:
        """Remove what is stored at ``path``, if anything."""
        place = self.get(path[:-1])
        if not isinstance(place, dict):
            return
        place.pop(path[-1], None)
        if not place and type(place) is _Branch:
            self.remove(path[:-1])

    def apply(self, update: Update) -> None:
        """Carry out one update after those before. An operation on something of the wrong kind starts from nothing."""
        path, operation = update.segments, update.operation
        if operation == "increment":
            already = self._runs.get((path, update.dot.agent), (-1, 0))
            amount = update.stored - already[1] if already[0] == update.since else update.stored
            self._runs[path, update.dot.agent] = (update.since, update.stored)
            current = self.get(path)
            self.put(path, current + amount if is_number(current) else amount)
        elif operation == "append":
            self._items(path).add_last(*update.dot, freeze(update.stored))
        elif operation == "insert":
            parent, side, items = update.stored
            self._items(path).add(*update.dot, Place(parent, side), freeze(items))
        elif operation == "erase":
            self._items(path).erase(update.stored.ids)
        elif operation == "add":
            self._item_set(path).put(update.stored, update.dot)
        elif operation == "discard":
            self._item_set(path).take(update.stored, update.context)
        else:
            for run in update.counted:
                self._runs[run.segments, run.agent] = (run.since, run.total)
            if operation == "set":
                value = freeze(update.stored)
                if type(value) is list:
                    value = Items(value, *update.dot)
                elif type(value) is set:
                    value = ItemSet(value, update.dot)
                self.put(path, value)
            else:
                self.remove(path)

    def _items(self, path: Path) -> Items:
        """The sequence at ``path``, an empty one if there is none; a list that nobody can tell the author of is one too."""
        current = self.get(path)
        if type(current) is not Items:
            current = Items(current if type(current) is list else ())
            self.put(path, current)
        return current

    def _item_set(self, path: Path) -> ItemSet:
        """The same for a set."""
        current = self.get(path)
        if type(current) is not ItemSet:
            current = ItemSet(current if isinstance(current, set | frozenset) else ())
            self.put(path, current)
        return current


def is_number(value: Any) -> bool:
    """Whether a value can be incremented. A bool cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def leaves(tree: dict[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Walk the leaves of a nested dict, in its own order. An empty branch counts as a leaf."""
    for key, value in tree.items():
        path = (*prefix, key)
        if value and is_branch(value):
            yield from leaves(value, path)
        else:
            yield path, value


def differences(old: dict[str, Any], new: dict[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the fewest writes that turn ``old`` into ``new``: paths with their new value, or :data:`ABSENT`."""
    for key in sorted(old.keys() - new.keys()):
        yield (*prefix, key), ABSENT
    for key in sorted(new):
        path = (*prefix, key)
        if key not in old:
            yield path, new[key]
        elif new[key] and is_branch(old[key]) and is_branch(new[key]):
            yield from differences(old[key], new[key], path)
        elif not same_value(old[key], new[key]):
            yield path, new[key]
