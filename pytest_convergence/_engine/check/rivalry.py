"""What properties of conflicts read: who wrote what in knowledge of what, and what was reported and kept.

Replicas write ``state`` and ``conflict`` events, which hold the update or the conflict itself. Agents with a state of
their own observe the facts ``write``, ``conflict``, ``keep`` and ``verdict``. Both are read into the same records here, so
the same properties judge both.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Any, Final, NamedTuple, TypeAlias, final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.state.conflicts import Conflict
from pytest_convergence._engine.state.paths import Path, overlap, parse_path
from pytest_convergence._engine.state.updates import DELETED, Dot, Update, commute

__all__ = [
    "FACTS",
    "KINDS",
    "Id",
    "Kept",
    "Report",
    "Writes",
    "Written",
    "id_of",
    "kept_by",
    "path_of",
    "report_of",
    "written_by",
]

KINDS: Final = frozenset({"observe", "state", "conflict"})
"""The kinds of events that speak of writes and of conflicts."""

FACTS: Final = frozenset({"write", "conflict", "keep", "replica"})
"""The facts that do, or that say what an agent has seen of them."""

Id: TypeAlias = Hashable


class Written(NamedTuple):
    """One write. ``order`` is the author's time, the author, and a number: the order of concurrent writes.

    ``derived`` are the writes that it was derived from, where its author says so.
    """

    id: Id
    agent: str
    path: Path
    value: Any
    order: tuple[Any, ...]
    priority: float
    seen: frozenset[Id]
    update: Update | None = None
    derived: frozenset[Id] = frozenset()

    def __str__(self) -> str:
        return f"{self.agent}'s {self.value!r} at {'.'.join(self.path)}"


class Report(NamedTuple):
    """One agent's report of a conflict.

    ``winners`` are the writes that stand, of one author or none; ``settled`` is false while it is open.
    """

    id: Id
    agent: str
    path: Path
    writes: tuple[Id, ...]
    strategy: str
    winners: tuple[Id, ...]
    value: Any
    settled: bool
    conflict: Conflict | None = None


class Kept(NamedTuple):
    """What an agent holds at a path from now on, by which strategy."""

    agent: str
    path: Path
    id: Id
    strategy: str


def path_of(data: Mapping[str, Any]) -> Path:
    """The path that a fact speaks of; ``state`` where it does not say."""
    path = data.get("path", "state")
    return parse_path(path) if isinstance(path, str | list | tuple) else (str(path),)


def id_of(value: Any) -> Id:
    """An id that can be looked up, whatever agents use for one."""
    return value if isinstance(value, str | int | Dot) else canonical(value)


def written_by(event: TraceEvent) -> Written | None:
    """Return the write that an event tells of, or ``None``."""
    if event.kind == "state":
        update = event.detail.get("write") if isinstance(event.detail, Mapping) else None
        return _from_update(update) if isinstance(update, Update) else None
    fact, data = fact_of(event)
    if fact != "write" or "id" not in data:
        return None
    agent = str(data.get("by", event.agent))
    order = (data.get("at", 0), agent, str(data["id"]))
    seen = frozenset(id_of(each) for each in data.get("seen", ()))
    priority = data.get("priority", 0)
    derived = frozenset(id_of(each) for each in data.get("derived_from", ()))
    value, path = data.get("value"), path_of(data)
    return Written(id_of(data["id"]), agent, path, value, order, priority, seen, derived=derived)


def _from_update(update: Update) -> Written:
    value = DELETED if update.operation == "delete" else update.stored  # not copied: nobody here changes it
    order, priority = update.order, update.priority
    return Written(update.dot, update.agent, update.segments, value, order, priority, frozenset(), update)


def report_of(event: TraceEvent) -> Report | None:
    """Return the conflict that an event reports, or ``None``."""
    if event.kind == "conflict":
        conflict = event.detail.get("report") if isinstance(event.detail, Mapping) else None
        return _from_conflict(event.agent, conflict) if isinstance(conflict, Conflict) else None
    fact, data = fact_of(event)
    if fact != "conflict" or "writes" not in data:
        return None
    writes = tuple(id_of(each) for each in data["writes"])
    winner = data.get("winner")
    name = id_of(data["id"]) if "id" in data else canonical(sorted(map(str, writes)))
    return Report(
        name,
        event.agent,
        path_of(data),
        writes,
        str(data.get("strategy", "")),
        () if winner is None else (id_of(winner),),
        data.get("value"),
        winner is not None or "value" in data,
    )


def _from_conflict(agent: str, conflict: Conflict) -> Report:
    resolution = conflict.resolution
    winner = conflict.winner
    return Report(
        conflict.id,
        agent,
        conflict.segments,
        tuple(write.dot for write in conflict.writes),
        "" if resolution is None else resolution.strategy,
        tuple(write.dot for write in conflict.writes if write.agent == winner),
        None if resolution is None else resolution.value,
        resolution is not None,
        conflict,
    )


def kept_by(event: TraceEvent) -> Kept | None:
    """Return what an agent says that it keeps, or ``None``."""
    fact, data = fact_of(event)
    if fact != "keep" or "write" not in data:
        return None
    return Kept(event.agent, path_of(data), id_of(data["write"]), str(data.get("strategy", "")))


@final
class Writes:
    """All writes of a run, or of an excerpt of it, and what happened before what."""

    __slots__ = ("_after", "_is_excerpt", "by_id")

    def __init__(self, *, is_excerpt: bool = False) -> None:
        self._is_excerpt = is_excerpt
        self.by_id: dict[Id, Written] = {}
        self._after: dict[Id, set[Id]] = {}

    def add(self, event: TraceEvent) -> Written | None:
        """Take the write that an event tells of, if it does, and return it."""
        written = written_by(event)
        if written is not None:
            self.by_id[written.id] = written
        return written

    def add_from(self, report: Report) -> None:
        """Take the writes that the report of a replica holds: some may have been made before the run."""
        if report.conflict is not None:
            for write in report.conflict.writes:
                if write.dot not in self.by_id:
                    self.by_id[write.dot] = _from_update(write)

    def has_seen(self, later: Written, earlier: Written) -> bool:
        """Whether the author of ``later`` knew ``earlier`` when it wrote, directly or through what it had seen."""
        if later.update is not None:
            return earlier.update is not None and later.update.has_seen(earlier.update)
        return earlier.id in self._past(later)

    def are_told(self, writes: Iterable[Written]) -> bool:
        """Whether it is known all that the authors had seen: else two writes may only seem to be concurrent.

        An agent that crashes between keeping a write and telling of it goes on from a write that nobody has told of.
        """
        return all(each.update is not None or self.has_told(self._past(each)) for each in writes)

    def has_told(self, ids: Set[Id]) -> bool:
        """Whether somebody has told of each of these writes."""
        return self._is_excerpt or ids <= self.by_id.keys()

    def _past(self, written: Written) -> set[Id]:
        known = self._after.get(written.id)
        if known is None:
            known = set()
            to_ask = list(written.seen)
            while to_ask:
                each = to_ask.pop()
                if each not in known:
                    known.add(each)
                    before = self.by_id.get(each)
                    to_ask += [] if before is None else before.seen
            if self.has_told(known):  # else more may be told of later
                self._after[written.id] = known
        return known

    def are_rivals(self, one: Written, other: Written) -> bool:
        """Whether two writes are concurrent, overlap and do not agree."""
        if one.id == other.id or not overlap(one.path, other.path):
            return False
        if self.has_seen(one, other) or self.has_seen(other, one):
            return False
        if one.update is not None and other.update is not None:
            return not commute(one.update, other.update)
        return one.path != other.path or canonical(one.value) != canonical(other.value)

    def known(self, ids: Iterable[Id]) -> list[Written]:
        """The writes of these ids, as far as they are known, in the order of time, author and number."""
        found = [self.by_id[each] for each in ids if each in self.by_id]
        return sorted(found, key=lambda written: written.order)

    def newest(self, writes: Iterable[Written]) -> list[Written]:
        """Those of ``writes`` that none of them has seen."""
        found = list(writes)
        return [one for one in found if not any(self.has_seen(other, one) for other in found)]
