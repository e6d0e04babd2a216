"""What can be written to a replica, each operation as the update that it is told to others as.

1. ``set`` and ``delete`` take the place of what they have seen at their path and below. ``increment`` and ``append`` add.
2. A *set* is written item by item: concurrent additions are all kept, and an item that is added while somebody else
   discards it stays (:mod:`.itemsets`). A *sequence* is written by places: whoever inserts says beside which item, so
   that concurrent insertions do not shift each other (:mod:`.sequences`).
3. ``merge`` and ``rollback`` are several of these, so they travel like any others.
4. A write may say what it was derived from, so that a rollback of that takes it back too (:mod:`.derived`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.court import Court
from pytest_convergence._engine.state.derived import carried, sources_at
from pytest_convergence._engine.state.document import ABSENT, Document, differences, is_number, leaves
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.paths import Path, format_path, parse_path
from pytest_convergence._engine.state.sequences import Items
from pytest_convergence._engine.state.updates import (
    DELETED,
    Dot,
    Erased,
    Inserted,
    Past,
    RolledBack,
    Source,
    Update,
    runs_seen,
)
from pytest_convergence._engine.state.values import freeze
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Writing"]


class Writing(ABC):
    """The operations of a replica that write."""

    __slots__ = ("_depends",)

    agent: str
    court: Court
    _clock: VectorClock
    _depends: tuple[Path, ...]
    _live: LiveUpdates
    _now_ns: Callable[[], int]
    _undone: Mapping[Dot, Any]

    @abstractmethod
    def as_dict(self, version: int | None = None) -> dict[str, Any]:
        """Return the document as a nested dict."""

    @abstractmethod
    def get(self, path: str | Sequence[str], default: Any = None) -> Any:
        """Return a copy of what is stored at ``path``."""

    @abstractmethod
    def _view(self, segment: str) -> Document:
        """Return the document of all paths that begin with ``segment``."""

    @abstractmethod
    def _write(self, update: Update) -> None:
        """Make an update of this agent's."""

    @abstractmethod
    def _rollbacks(self) -> tuple[RolledBack, ...]:
        """Return the rollbacks that are known here."""

    @contextmanager
    def derived_from(self, *paths: str | Sequence[str]) -> Iterator[None]:
        """Say that what is written in the ``with`` block was derived from what is read at ``paths``.

        Where conflicts are settled by *rollback*, a rollback at, above or below one of them then takes these writes back as
        well. Do not await in the block: what other tasks of the agent write meanwhile would count too.

        Raises:
            ConvergenceUsageError: a path is not a path, or there is none.
        """
        before, self._depends = self._depends, (*self._depends, *_parse_all(paths))
        try:
            yield
        finally:
            self._depends = before

    def set(
        self,
        path: str | Sequence[str],
        value: Any,
        *,
        priority: float | None = None,
        depends_on: Sequence[str | Sequence[str]] = (),
    ) -> None:
        """Store ``value`` at ``path``, in place of whatever is there and below. A leaf on the way becomes a branch.

        Args:
            path: where.
            value: plain data; copied.
            priority: counts where conflicts are settled by it: that of this write, instead of its author's.
            depends_on: the paths whose values ``value`` was derived from, as a list; see :meth:`derived_from`.

        Raises:
            ConvergenceUsageError: a path is not a path, or the value is not plain data.
        """
        segments = parse_path(path)
        stored = freeze(value, format_path(segments))
        if not depends_on:
            self._overwrite(segments, "set", stored, priority)
            return
        if isinstance(depends_on, str):
            raise ConvergenceUsageError(
                f"depends_on is a list of paths, [{depends_on!r}], not {depends_on!r}."
            )
        with self.derived_from(*depends_on):
            self._overwrite(segments, "set", stored, priority)

    def _sources(self) -> tuple[Source, ...]:
        if not self._depends or not self.court.rolls_back:
            return ()
        return sources_at(self._depends, self._live.overlapping, self._undone)

    def _add(self, segments: Path, operation: str, stored: Any, since: int = 0) -> None:
        """Write something that takes the place of nothing."""
        at_ns, sources = self._now_ns(), self._sources()
        self._write(
            Update(self._next_dot(), segments, operation, stored, self._clock, at_ns, since, sources=sources)
        )

    def delete(self, path: str | Sequence[str]) -> bool:
        """Remove ``path`` and everything below; return whether there was anything."""
        segments = parse_path(path)
        if self._view(segments[0]).get(segments) is ABSENT:
            return False
        self._overwrite(segments, "delete", None)
        return True

    def increment(self, path: str | Sequence[str], by: float = 1) -> Any:
        """Add ``by`` to the number at ``path`` (0 if there is none) and return the sum.

        Concurrent increments add up; no increment is lost, and none is a conflict.

        Raises:
            ConvergenceUsageError: ``by``, or what is stored, is not a number.
        """
        segments = parse_path(path)
        if not is_number(by):
            raise ConvergenceUsageError(
                f"increment({format_path(segments)!r}, by={by!r}): by must be a number."
            )
        self._expect(segments, is_number, "increment", "a number")
        if self._turns_leaf_into_branch(segments, by):
            return by
        total, since = by, self._clock[self.agent] + 1
        run = self._own_run(segments)
        if run is not None and run.sources == self._sources():
            total, since = run.stored + by, run.since
        self._add(segments, "increment", total, since)
        return self.get(segments)

    def append(self, path: str | Sequence[str], item: Any) -> None:
        """Append ``item`` to the list at ``path`` (empty if there is none).

        Concurrent appends are all kept, in the order of time, author and number; none is a conflict.

        Raises:
            ConvergenceUsageError: what is stored is not a list.
        """
        segments = parse_path(path)
        stored = freeze(item, f"the item appended to {format_path(segments)}")
        self._expect(segments, _is_list, "append", "a list")
        if not self._turns_leaf_into_branch(segments, [stored]):
            self._add(segments, "append", stored)

    def add(self, path: str | Sequence[str], item: Any) -> None:
        """Add ``item`` to the set at ``path`` (empty if there is none).

        If somebody discards it meanwhile, it stays.

        Raises:
            ConvergenceUsageError: what is stored is not a set, or the item cannot be in one.
        """
        self._write_item(parse_path(path), "add", item)

    def discard(self, path: str | Sequence[str], item: Any) -> bool:
        """Take ``item`` out of the set at ``path``; return whether it was in.

        Raises:
            ConvergenceUsageError: what is stored is not a set, or the item cannot be in one.
        """
        segments = parse_path(path)
        current = self._view(segments[0]).get(segments)
        if current is ABSENT or (_is_set(current) and _hashable(item) and item not in current):
            return False
        self._write_item(segments, "discard", item)
        return True

    def _write_item(self, segments: Path, operation: str, item: Any) -> None:
        where = f"the item of {format_path(segments)}"
        stored = freeze(item, where)
        if not _hashable(stored):
            raise ConvergenceUsageError(f"{where} must be hashable, such as text or a tuple, not {item!r}.")
        self._expect(segments, _is_set, operation, "a set")
        if not self._turns_leaf_into_branch(segments, {stored}):
            self._add(segments, operation, stored)

    def insert(self, path: str | Sequence[str], index: int, *items: Any) -> None:
        """Insert ``items`` into the list at ``path`` (empty if there is none) so that the first stands at ``index``.

        Concurrent insertions are all kept, each beside the items that its author saw. A text is a sequence of characters:
        ``insert("text", 0, *"Hello")``, and ``"".join(state.get("text"))``.

        Raises:
            ConvergenceUsageError: what is stored is not a list, or has no such place.
        """
        segments = parse_path(path)
        stored = tuple(freeze(item, f"an item of {format_path(segments)}") for item in items)
        self._expect(segments, _is_list, "insert", "a list")
        self._check_place(segments, index, 0)
        if stored and not self._turns_leaf_into_branch(segments, list(stored)):
            parent, side = self._items(segments).place(index)
            self._add(segments, "insert", Inserted(parent, side, stored))

    def erase(self, path: str | Sequence[str], index: int, count: int = 1) -> None:
        """Take ``count`` items out of the list at ``path``, from ``index`` on.

        Raises:
            ConvergenceUsageError: what is stored is not a list, or has not so many items.
        """
        segments = parse_path(path)
        self._expect(segments, _is_list, "erase", "a list")
        self._check_place(segments, index, count)
        if count:
            self._add(segments, "erase", Erased(self._items(segments).ids(index, count)))

    def _items(self, segments: Path) -> Items:
        current = self._view(segments[0]).get(segments)
        if type(current) is Items:
            return current
        return Items(current if type(current) is list else ())

    def _check_place(self, segments: Path, index: int, count: int) -> None:
        size = len(self._items(segments))
        if not (index >= 0 and count >= 0 and index + count <= size):
            what = f"{count} items from place {index!r}" if count else f"place {index!r}"
            raise ConvergenceUsageError(f"{format_path(segments)!r} has {size} items, and no {what}.")

    def merge(
        self, path: str | Sequence[str] | Mapping[str, Any], values: Mapping[str, Any] | None = None
    ) -> None:
        """Write the leaves of a nested mapping, at ``path`` or at the top; leave everything else as it is.

        Each leaf is one write, so that two agents who merge different parts are not in conflict. Keys are single
        segments: a dot in a key does not divide it.

        Raises:
            ConvergenceUsageError: there is no mapping to merge, or one of its keys is not a string.
        """
        if isinstance(path, Mapping):
            prefix: Path = ()
            values = path
        else:
            prefix = parse_path(path)
        if not isinstance(values, Mapping):
            raise ConvergenceUsageError(
                f"merge() takes a mapping of values, not {values!r}; for a value use set()."
            )
        tree = freeze(values, format_path(prefix) or "state")
        for key in tree:
            if not isinstance(key, str):
                raise ConvergenceUsageError(f"merge() takes a mapping whose keys are strings, not {key!r}.")
        for segments, value in leaves(tree, prefix):
            if value == {} and isinstance(self._view(segments[0]).get(segments), dict):
                continue
            self._overwrite(segments, "set", value)

    def rollback(self, version: int) -> None:
        """Make the document what it was at ``version``, by new writes: the version grows, and others follow.

        Raises:
            ConvergenceUsageError: the version is not in the history.
        """
        past = self.as_dict(version)
        for segments, value in list(differences(self.as_dict(), past)):
            if value is ABSENT:
                self._overwrite(segments, "delete", None)
            else:
                self._overwrite(segments, "set", freeze(value))

    def _next_dot(self) -> Dot:
        return Dot(self.agent, self._clock[self.agent] + 1)

    def _expect(self, segments: Path, fits: Callable[[Any], bool], operation: str, kind: str) -> None:
        current = self._view(segments[0]).get(segments)
        if current is not ABSENT and not fits(current):
            raise ConvergenceUsageError(
                f"{operation}({format_path(segments)!r}) needs {kind} there, and there is {current!r}; "
                "set() or delete() it first."
            )

    def _turns_leaf_into_branch(self, segments: Path, value: Any) -> bool:
        """Where a write goes below a leaf, write the branch that takes the leaf's place: the leaf must not come back."""
        view = self._view(segments[0])
        for depth in range(1, len(segments)):
            above = view.get(segments[:depth])
            if above is ABSENT:
                return False
            if not isinstance(above, dict):
                for segment in reversed(segments[depth:]):
                    value = {segment: value}
                self._overwrite(segments[:depth], "set", value)
                return True
        return False

    def _overwrite(self, segments: Path, operation: str, stored: Any, priority: float | None = None) -> None:
        if operation == "set" and len(segments) > 1 and self._turns_leaf_into_branch(segments, stored):
            return
        court, context = self.court, self._clock
        counted = runs_seen(self._live.at_or_below(segments))
        past: tuple[Past, ...] = ()
        if court.needs_ancestor:
            found = self._view(segments[0]).get(segments)
            value = DELETED if found is ABSENT else freeze(found)
            past = court.past(segments, self._live.overlapping(segments), value, context, self._undone)
        rank, at_ns = court.priority(segments, priority), self._now_ns()
        rolled = carried(self._rollbacks(), segments) if court.rolls_back else ()
        dot, sources = self._next_dot(), self._sources()
        self._write(
            Update(dot, segments, operation, stored, context, at_ns, 0, counted, past, rank, sources, rolled)
        )

    def _own_run(self, segments: Path) -> Update | None:
        """The own increment that the next one may continue: nothing but increments has come between."""
        own = [
            update
            for update in self._live.at(segments)
            if update.operation == "increment" and update.dot.agent == self.agent
        ]
        if not own:
            return None
        last = max(own, key=lambda update: update.dot.counter)
        for update in self._live.overlapping(segments):
            counts = update.operation == "increment" and update.segments == segments
            if not counts and not last.has_seen(update):
                return None
        return last


def _parse_all(paths: Iterable[str | Sequence[str]]) -> tuple[Path, ...]:
    parsed = tuple(parse_path(path) for path in paths)
    if not parsed:
        raise ConvergenceUsageError(
            "derived_from() needs at least one path: what the writes were derived from."
        )
    return parsed


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_set(value: Any) -> bool:
    return isinstance(value, set | frozenset)


def _hashable(item: Any) -> bool:
    try:
        hash(item)
    except TypeError:
        return False
    return True
