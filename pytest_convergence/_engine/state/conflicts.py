"""Conflicts: what they are, how they are found, and how they are told apart.

1. Two live updates are *rivals* if their paths overlap, neither has seen the other, and they do not commute. A
   *conflict* is a connected group of rivals. Its path is the shortest among them; all their paths overlap it.
2. A conflict is named by its path and its dots, so every replica that meets the same rivals gives it the same id.
3. While a conflict is open it may grow (a third rival arrives) or move on (a rival is overwritten by its own author).
   Reports that share a dot are stages of one conflict: :func:`distinct_conflicts` keeps the last of each.
4. What every author had seen when it wrote is the *common ancestor* of the rivals. It is read from what the writes say
   about their past, never from what a replica happens to remember, so it is the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.state.conflict_types import ConflictType, Severity
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.paths import Path, overlap
from pytest_convergence._engine.state.updates import Dot, Update, commute, copy_value
from pytest_convergence._engine.state.values import encode

__all__ = [
    "UNKNOWN",
    "Conflict",
    "Resolution",
    "Unknown",
    "ancestor_in",
    "are_rivals",
    "conflict_id",
    "distinct_conflicts",
    "group_around",
    "rival_groups",
    "shortest_path",
]


@final
class Unknown:
    """The type of :data:`UNKNOWN`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Unknown:
        return self

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
"""The ancestor of a conflict where no strategy asked for it, or where the writes do not reach back so far."""


class Resolution(NamedTuple):
    """How a conflict was settled.

    ``strategy`` is the name of the resolver, ``value`` what every replica now reads at the conflict's path, ``winner``
    the agent whose write prevailed, or ``None`` where the value is nobody's alone. ``after`` names the strategies that
    were asked before and had no answer.
    """

    strategy: str
    value: Any
    winner: str | None = None
    after: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Conflict:
    """Concurrent writes that do not agree.

    Attributes:
        id: equal on every replica that meets the same writes.
        path: the dotted path; the shortest, if a subtree and a part of it were written concurrently.
        writes: the rivals in the order of time, author and number.
        values: by agent, what would be read at ``path`` had only that agent's writes happened;
            :data:`~pytest_convergence._engine.state.updates.DELETED` where it would be gone.
        resolution: how it was settled, or ``None`` while it is not.
        type: what it is about: a :class:`ConflictType`, or a name that a rule of the test's own gave.
        severity: how grave it is.
        ancestor: what was read at ``path`` before any of the rivals: the last thing that all their authors had seen.
            :data:`DELETED <pytest_convergence._engine.state.updates.DELETED>` where there was nothing,
            :data:`UNKNOWN` unless a strategy asks for it (*merge*, *rollback*, a function).
        waits_for: whom it waits for, in words, while it is pending; ``""`` otherwise.
        undone: writes that a rollback took back along with the rivals, because they were made in knowledge of some.
    """

    id: str
    path: str
    writes: tuple[Update, ...] = field(repr=False, hash=False)
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    resolution: Resolution | None = field(default=None, hash=False)
    type: str = ConflictType.STATE_MISMATCH
    severity: Severity = Severity.MEDIUM
    ancestor: Any = field(default=UNKNOWN, hash=False)
    waits_for: str = field(default="", hash=False, compare=False)
    undone: tuple[Update, ...] = field(default=(), hash=False, compare=False, repr=False)

    @property
    def status(self) -> str:
        """``resolved``, ``pending`` (somebody was asked and has not answered) or ``unresolved``."""
        if self.resolution is not None:
            return "resolved"
        return "pending" if self.waits_for else "unresolved"

    @property
    def segments(self) -> Path:
        """The path as segments."""
        return shortest_path(self.writes)

    @property
    def agents(self) -> tuple[str, ...]:
        """Who wrote, in the order of names."""
        return tuple(sorted({write.dot.agent for write in self.writes}))

    @property
    def dots(self) -> frozenset[Dot]:
        """The names of the writes."""
        return frozenset(write.dot for write in self.writes)

    @property
    def winner(self) -> str | None:
        """The agent whose write prevailed, if one did."""
        return self.resolution.winner if self.resolution is not None else None

    def copied(self) -> Conflict:
        """A conflict to give away: what its reader does to the values stays with the reader."""
        resolution = self.resolution
        if resolution is not None:
            resolution = resolution._replace(value=copy_value(resolution.value))
        values = {agent: copy_value(value) for agent, value in self.values.items()}
        ancestor = self.ancestor if self.ancestor is UNKNOWN else copy_value(self.ancestor)
        return replace(self, values=values, resolution=resolution, ancestor=ancestor)

    def __deepcopy__(self, memo: dict[int, Any]) -> Conflict:
        return self.copied()

    def __str__(self) -> str:
        sides = ", ".join(f"{agent} wrote {self.values.get(agent)!r}" for agent in self.agents)
        if self.resolution is None:
            waits = f", waits for {self.waits_for}" if self.waits_for else ""
            return f"{self.path}: {sides}; {self.status}{waits}"
        whose = f" of {self.resolution.winner}" if self.resolution.winner is not None else ""
        return f"{self.path}: {sides}; {self.resolution.strategy} kept {self.resolution.value!r}{whose}"


def are_rivals(one: Update, other: Update) -> bool:
    """Whether two updates are concurrent, overlap and do not commute."""
    return overlap(one.segments, other.segments) and one.concurrent_with(other) and not commute(one, other)


def rivals(update: Update, live: LiveUpdates) -> list[Update]:
    """The live updates that ``update`` is in conflict with."""
    return [other for other in live.overlapping(update.segments) if are_rivals(update, other)]


def group_around(update: Update, live: LiveUpdates) -> tuple[Update, ...]:
    """The whole group of rivals that ``update`` belongs to, in order; empty if it has none."""
    group = {update.dot: update}
    to_ask = [update]
    while to_ask:
        for rival in rivals(to_ask.pop(), live):
            if rival.dot not in group:
                group[rival.dot] = rival
                to_ask.append(rival)
    return tuple(sorted(group.values(), key=_order)) if len(group) > 1 else ()


def rival_groups(updates: Iterable[Update]) -> list[tuple[Update, ...]]:
    """All groups of rivals among live updates, in the order of their first writes."""
    live = LiveUpdates()
    for update in updates:
        live.add(update)
    groups: list[tuple[Update, ...]] = []
    seen: set[Dot] = set()
    for update in live:
        if update.dot not in seen:
            group = group_around(update, live)
            seen.update(member.dot for member in group)
            groups.extend([group] if group else [])
    return sorted(groups, key=lambda group: group[0].order)


def conflict_id(group: Iterable[Update]) -> str:
    """The id of the conflict between these writes."""
    members = tuple(group)
    dots = sorted((write.dot.agent, write.dot.counter) for write in members)
    return hashlib.sha256(encode([list(shortest_path(members)), dots])).hexdigest()[:16]


def distinct_conflicts(reports: Iterable[Conflict]) -> tuple[Conflict, ...]:
    """List each conflict once, however many replicas report it and at however many stages, in the order of writes.

    Of the stages of one conflict the one that knows most (most authors, then latest writes) is kept; of the reports of
    one stage, one that tells how it was settled.
    """
    known: dict[str, Conflict] = {}
    for report in reports:
        before = known.get(report.id)
        if before is None or _certainty(before) < _certainty(report):
            known[report.id] = report
    latest = [max(stages, key=_knowledge) for stages in _joined(known.values())]
    return tuple(sorted(latest, key=lambda conflict: (_order(conflict.writes[0]), conflict.id)))


def _joined(reports: Iterable[Conflict]) -> list[list[Conflict]]:
    """Put together what shares a dot, in time that grows with the number of dots alone."""
    stages: dict[int, list[Conflict]] = {}
    home: dict[Dot, int] = {}
    for number, report in enumerate(reports):
        stages[number] = [report]
        for dot in report.dots:
            other = home.get(dot, number)
            if other != number:
                moved = stages.pop(other)
                stages[number] += moved
                home.update((each, number) for stage in moved for each in stage.dots)
            home[dot] = number
    return list(stages.values())


def _certainty(report: Conflict) -> tuple[bool, bool, int, str]:
    """How much a report says about the end of its conflict: settled at the first attempt is the last word."""
    resolution = report.resolution
    if resolution is None:
        return False, not report.waits_for, 0, ""
    return True, not report.waits_for, -len(resolution.after), resolution.strategy


def ancestor_in(group: Iterable[Update]) -> Any:
    """The value that all authors of ``group`` had seen at its path, by what the writes say about their past.

    Of what the writes at the path of the conflict had found there, the newest that every author had seen;
    :data:`UNKNOWN` if there is none, or if one of them found something later that all had seen: where one author has
    written at a deeper path in between, nobody says what stood there before. (The base of a three-way merge; for one
    replicated path it is unique unless branches crossed, and then all replicas choose the same.)
    """
    members = tuple(group)
    path = shortest_path(members)

    def all_had_seen(dot: Dot) -> bool:
        return all(member.context.covers(*dot) for member in members)

    found = [
        past
        for write in members
        if write.segments == path
        for past in write.past
        if all(map(all_had_seen, past.dots))
    ]
    if not found:
        return UNKNOWN
    newest = max(found, key=lambda past: (past.rank, past.dots))
    standing = {dot for write in members for past in write.past[:1] for dot in past.dots if all_had_seen(dot)}
    return newest.value if standing <= set(newest.dots) else UNKNOWN


def _knowledge(conflict: Conflict) -> tuple[int, int, str]:
    return len(conflict.agents), sum(write.dot.counter for write in conflict.writes), conflict.id


def _order(update: Update) -> tuple[int, str, int]:
    return update.order


def shortest_path(group: Iterable[Update]) -> Path:
    """The path of the conflict between these writes: the one that overlaps all the others."""
    return min((write.segments for write in group), key=len)
