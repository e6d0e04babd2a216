"""What a replica writes, and what it tells others: updates and deltas.

1. Every write is an *update* with a unique *dot*, the n-th update of its author. Its *context* is the set of dots that
   the author had seen when writing. Dots of one author are numbered without gaps, so the set is kept as a vector clock.
2. u happened before v if and only if the context of v holds the dot of u. Nothing else (no timestamp, no order of
   arrival) decides about causality, and a context is asked about one dot, never compared with another as a whole:
   updates of different paths can therefore never be taken for rivals.
3. ``set`` and ``delete`` *replace* the updates at and below their path that they have seen. An ``increment`` carries
   the sum of a run of its author's increments and replaces those that it includes, so a counter costs one update per
   author; a ``set`` notes what it had seen of each run, so that nothing is counted twice when a run goes on beside it.
   An ``append`` replaces nothing, nor do ``insert`` and ``erase``; ``add`` and ``discard`` replace what they have seen about
   the same item of the same set.
4. A *delta* is everything between two clocks: the live updates that the later clock has and the earlier has not.
   Updates that were replaced in between need not be told: whatever replaced them is in the delta (P. Almeida et al.,
   Delta State Replicated Data Types, 2018, section 7.2: a delta-interval is joined only onto a state that covers its
   start).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.paths import Path, format_path, overlap
from pytest_convergence._engine.state.values import freeze, same_value

__all__ = [
    "ADDING",
    "DELETED",
    "OPERATIONS",
    "ORDER_FREE",
    "Delta",
    "Deleted",
    "Dot",
    "Erased",
    "Inserted",
    "Past",
    "RolledBack",
    "Run",
    "Source",
    "Update",
    "causal_key",
    "commute",
    "copy_value",
    "runs_seen",
]

OPERATIONS: Final = ("set", "delete", "increment", "append", "add", "discard", "insert", "erase")
"""The kinds of updates. ``merge`` and ``rollback`` are written as several of these."""

_FAMILIES: Final[Mapping[str, str]] = {
    "increment": "counter",
    "append": "list",
    "add": "set",
    "discard": "set",
    "insert": "sequence",
    "erase": "sequence",
}
"""Operations on one kind of value: those of a family commute with each other."""

ORDER_FREE: Final = frozenset({"add", "discard", "insert", "erase"})
"""Operations that can be applied to what they commute with in any order."""

ADDING: Final = frozenset({"append", "insert", "erase"})
"""Operations that never replace an update."""


class Dot(NamedTuple):
    """The name of an update: its author and its number there, from 1."""

    agent: str
    counter: int


class Run(NamedTuple):
    """A run of increments of one author at one path: the numbers of its first and last increment, and their sum."""

    segments: Path
    agent: str
    since: int
    upto: int
    total: Any


class Source(NamedTuple):
    """An update that another one was derived from, and where it was written."""

    segments: Path
    dot: Dot


class RolledBack(NamedTuple):
    """A rollback at a path: of the updates there those are lost that ``high`` covers and ``low`` does not."""

    segments: Path
    low: VectorClock
    high: VectorClock


class Past(NamedTuple):
    """What a write found at its path: the live updates there, what they came to, and how much its author had seen.

    ``sources`` tells what that was derived from.
    """

    rank: int
    dots: tuple[Dot, ...]
    value: Any
    sources: tuple[Source, ...] = ()


class Inserted(NamedTuple):
    """What an ``insert`` stores: beside whom its items go, on which side, and the items."""

    parent: tuple[str, int, int] | None
    side: int
    items: tuple[Any, ...]


class Erased(NamedTuple):
    """What an ``erase`` stores: the names of the items."""

    ids: tuple[tuple[str, int, int], ...]


@final
class Deleted:
    """The type of :data:`DELETED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DELETED"

    def __copy__(self) -> Deleted:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Deleted:
        return self

    def __reduce__(self) -> str:
        return "DELETED"


DELETED: Final = Deleted()
"""Stands for "no value" where a rival of a write is a delete. A resolver may return it, to delete."""


@final
@dataclass(frozen=True, slots=True)
class Update:
    """One write to a replicated document. Immutable; equal updates have equal dots.

    Attributes:
        dot: author and number.
        segments: the path that is written, as segments.
        operation: one of :data:`OPERATIONS`.
        stored: the value as the replica holds it. Read :attr:`value`, which is a copy.
        context: the updates that the author had seen.
        at_ns: the author's clock when writing, in nanoseconds. Decides between concurrent writes, and nothing else.
        since: for an increment, the number of the first increment of the run that its value is the sum of.
        counted: for a set or delete, the runs of increments that it had seen at or below its path.
        past: for a set or delete, what its author had found there, the newest first; kept only where a strategy asks for
            the common ancestor of rivals.
        priority: how urgent its author held it to be; asked by the strategy *priority* alone.
        sources: what it was derived from, as far as its author said so (:mod:`.derived`).
        rolled: for a set or delete, the rollbacks at, above or below its path that its author knew of.
    """

    dot: Dot
    segments: Path = field(compare=False)
    operation: str = field(compare=False)
    stored: Any = field(compare=False, repr=False)
    context: VectorClock = field(compare=False)
    at_ns: int = field(default=0, compare=False)
    since: int = field(default=0, compare=False)
    counted: tuple[Run, ...] = field(default=(), compare=False)
    past: tuple[Past, ...] = field(default=(), compare=False, repr=False)
    priority: float = field(default=0, compare=False)
    sources: tuple[Source, ...] = field(default=(), compare=False, repr=False)
    rolled: tuple[RolledBack, ...] = field(default=(), compare=False, repr=False)

    @property
    def agent(self) -> str:
        """The author."""
        return self.dot.agent

    @property
    def path(self) -> str:
        """The path in dotted text."""
        return format_path(self.segments)

    @property
    def value(self) -> Any:
        """What was written (a copy): the value set, the amount, the item or items; :data:`DELETED` for a delete or erase."""
        if self.operation in ("delete", "erase"):
            return DELETED
        return freeze(list(self.stored.items) if self.operation == "insert" else self.stored)

    @property
    def order_free(self) -> bool:
        """Whether it gives the same beside whatever it commutes with, applied before or after."""
        return self.operation in ORDER_FREE

    @property
    def order(self) -> tuple[int, str, int]:
        """The order of concurrent updates: time, then author, then number. Total, and the same everywhere."""
        return (self.at_ns, self.dot.agent, self.dot.counter)

    def has_seen(self, other: Update) -> bool:
        """Whether ``other`` happened before this update."""
        return self.context.covers(*other.dot)

    def concurrent_with(self, other: Update) -> bool:
        """Whether neither happened before the other."""
        return self.dot != other.dot and not self.has_seen(other) and not other.has_seen(self)

    def replaces(self, other: Update) -> bool:
        """Whether a replica that holds this update has no more use for ``other``."""
        if self.operation == "increment":
            return (
                other.operation == "increment"
                and other.dot.agent == self.dot.agent
                and self.since <= other.dot.counter < self.dot.counter
                and other.segments == self.segments
            )
        if self.operation in ADDING:
            return False
        if self.operation in ("add", "discard"):
            return (
                other.operation in ("add", "discard")
                and other.segments == self.segments
                and self.has_seen(other)
                and same_value(other.stored, self.stored)
            )
        return other.segments[: len(self.segments)] == self.segments and self.has_seen(other)

    def __deepcopy__(self, memo: dict[int, Any]) -> Update:
        return self

    def __str__(self) -> str:
        shown = "" if self.value is DELETED else f" {self.value!r}"
        return f"{self.operation} {self.path}{shown} by {self.dot.agent} #{self.dot.counter}"


def commute(one: Update, other: Update) -> bool:
    """Whether two updates give the same document in either order, so that their being concurrent loses nothing.

    Increments of one counter add up; appends to one list are all kept, in the order of time, author and number; additions
    and discards of one set, and insertions and erasures in one sequence, give the same in every order; equal values
    written to one path are one value; deletes agree. Everything else that overlaps does not commute, a ``set`` beside an
    ``increment`` included: whether the amount counts from the old value or the new one is a real question.
    """
    if not overlap(one.segments, other.segments):
        return True
    if len(one.segments) > len(other.segments):
        one, other = other, one
    kinds = (one.operation, other.operation)
    if kinds == ("delete", "delete"):
        return True
    if len(one.segments) == len(other.segments):
        if _FAMILIES.get(one.operation, one) == _FAMILIES.get(other.operation, other):
            return True
        return kinds == ("set", "set") and same_value(one.stored, other.stored)
    if one.operation != "set" or other.operation not in ("set", "delete"):
        return False
    # A subtree beside a part of it: they agree if the subtree says the same about that part.
    part: Any = one.stored
    for segment in other.segments[len(one.segments) :]:
        if type(part) is not dict or segment not in part:
            return other.operation == "delete"
        part = part[segment]
    return other.operation == "set" and same_value(part, other.stored)


def causal_key(update: Update) -> tuple[int, Dot]:
    """Sorts an update after all those that it has seen."""
    return update.context.total(), update.dot


def runs_seen(replaced: Iterable[Update]) -> tuple[Run, ...]:
    """The runs of increments among what a write replaces, and those that the replaced writes had noted themselves.

    Of each author's runs at a path the latest is enough: that an earlier one went on unseen is impossible.
    """
    latest: dict[tuple[Path, str], Run] = {}
    for update in replaced:
        runs = update.counted
        if update.operation == "increment":
            runs = (Run(update.segments, update.dot.agent, update.since, update.dot.counter, update.stored),)
        for run in runs:
            known = latest.get((run.segments, run.agent))
            if known is None or (known.since, known.upto) < (run.since, run.upto):
                latest[run.segments, run.agent] = run
    return tuple(latest[key] for key in sorted(latest))


def copy_value(value: Any) -> Any:
    """Copy a stored value, or :data:`DELETED`."""
    return DELETED if value is DELETED else freeze(value)


@final
@dataclass(frozen=True, slots=True)
class Delta:
    """What one replica tells another: the live updates between two clocks.

    Attributes:
        start: what the receiver must have seen already for the delta to make sense there.
        end: what it has seen afterwards.
        updates: the updates, an update after all those of the delta that it has seen.
    """

    start: VectorClock
    end: VectorClock
    updates: tuple[Update, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Delta:
        return self

    def __len__(self) -> int:
        return len(self.updates)

    def __bool__(self) -> bool:
        return not self.end <= self.start
