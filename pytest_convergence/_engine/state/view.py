"""From live updates to the document that is read: a pure function of the *set* of updates.

1. Updates are applied one after another. An update comes after those that it has seen; where that leaves a choice, the
   order is time, then author, then number. So replicas that have the same updates read the same, whatever order they
   arrived in.
2. The order is asked of overlapping updates alone: what happens at ``plan.owner`` never decides about ``plan.title``.
3. A resolver with a function of its own decides about each group of rivals. Its value is stored where the last of the
   group would have been applied; what was written in knowledge of a member comes on top. A rollback undoes that too,
   unless its author knew of all the rivals.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

from pytest_convergence._engine.state.conflicts import (
    UNKNOWN,
    Conflict,
    Resolution,
    ancestor_in,
    conflict_id,
    rival_groups,
    shortest_path,
)
from pytest_convergence._engine.state.court import Court, is_dependant, undoes
from pytest_convergence._engine.state.derived import NOT_APPLIED, rolled_back
from pytest_convergence._engine.state.document import ABSENT, Document
from pytest_convergence._engine.state.paths import Path, format_path, overlap
from pytest_convergence._engine.state.updates import DELETED, Dot, RolledBack, Update
from pytest_convergence._engine.state.values import freeze

__all__ = ["Decided", "causal_order", "fold", "rollbacks_among", "settle"]

Decided: TypeAlias = dict[str, Conflict]
"""The conflicts that were settled before, by id: a resolver is asked once about each."""

_LAST_WRITE: Final = "last-write"
_ROLLBACK: Final = "rollback"

_NONE_UNDONE: Final[Mapping[Dot, Any]] = MappingProxyType({})

_ByAuthor: TypeAlias = dict[str, tuple[list[int], list[Update]]]


def causal_order(updates: Iterable[Update]) -> list[Update]:
    """Order updates: causes before effects where paths overlap, otherwise by time, author, number.

    This is topological sorting with a priority queue (A. Kahn, 1962).
    """
    pending = list(updates)
    if len(pending) == 1:
        return pending
    waits: dict[Dot, int] = {update.dot: 0 for update in pending}
    followers: dict[Dot, list[Update]] = {}
    for earlier, later in _edges(pending):
        waits[later.dot] += 1
        followers.setdefault(earlier.dot, []).append(later)
    ready = [(update.order, update) for update in pending if not waits[update.dot]]
    heapq.heapify(ready)
    ordered: list[Update] = []
    while ready:
        _, update = heapq.heappop(ready)
        ordered.append(update)
        for later in followers.get(update.dot, ()):
            waits[later.dot] -= 1
            if not waits[later.dot]:
                heapq.heappush(ready, (later.order, later))
    return ordered


def _edges(updates: list[Update]) -> Iterable[tuple[Update, Update]]:
    """Yield enough pairs (earlier, later) of overlapping updates to imply all of them."""
    by_path: dict[Path, _ByAuthor] = {}
    for update in sorted(updates, key=lambda update: update.dot):
        numbers, written = by_path.setdefault(update.segments, {}).setdefault(update.dot.agent, ([], []))
        numbers.append(update.dot.counter)
        written.append(update)
    for update in updates:
        for depth in range(1, len(update.segments) + 1):
            for author, (numbers, written) in by_path.get(update.segments[:depth], {}).items():
                # Of each author the latest that was seen is enough: the author's own order gives the rest.
                seen = bisect_right(numbers, update.context[author])
                if seen:
                    yield written[seen - 1], update
                if depth < len(update.segments):
                    yield from ((update, above) for above in written[seen:] if above.has_seen(update))


@final
class _Group:
    """A group of rivals while the fold passes over it."""

    __slots__ = ("behind", "dots", "left", "members", "path")

    def __init__(self, members: tuple[Update, ...]) -> None:
        self.members = members
        self.dots = {member.dot for member in members}
        self.path = shortest_path(members)
        self.left = len(members)
        self.behind: list[Update] = []

    def precedes(self, update: Update) -> bool:
        """Whether ``update`` was written in knowledge of a member, at a place that the decision covers."""
        return overlap(update.segments, self.path) and any(update.has_seen(member) for member in self.members)


def fold(
    live: Iterable[Update], court: Court, decided: Decided, undone: Mapping[Dot, Any] = _NONE_UNDONE
) -> Document:
    """Apply live updates in order, with conflicts settled by ``court``. ``decided`` keeps its answers by id.

    ``undone`` are those that a rollback at another path takes back, with what comes back in their place.
    """
    document = Document()
    if court.is_last_write:
        for update in causal_order(live):
            document.apply(update)
        return document
    updates = list(live)
    groups = [_Group(members) for members in rival_groups(updates)]
    for update in causal_order(updates):
        group = next((group for group in groups if update.dot in group.dots), None)
        if group is None:
            waiting = next((group for group in groups if group.left and group.precedes(update)), None)
            if waiting is not None:
                waiting.behind.append(update)
            else:
                _apply(document, update, undone)
            continue
        group.left -= 1
        if not group.left:
            _apply_group(document, group, updates, court, decided, undone)
    return document


def _apply(document: Document, update: Update, undone: Mapping[Dot, Any]) -> None:
    if update.dot not in undone:
        document.apply(update)
        return
    before = undone[update.dot]
    if before is DELETED:
        document.remove(update.segments)
    elif before is not NOT_APPLIED:
        document.put(update.segments, freeze(before))


def _apply_group(
    document: Document,
    group: _Group,
    updates: list[Update],
    court: Court,
    decided: Decided,
    undone: Mapping[Dot, Any],
) -> None:
    resolution = settle(group.members, updates, court, decided).resolution
    behind = group.behind
    some_undone = any(member.dot in undone for member in group.members)
    is_rolled_back = resolution is not None and resolution.strategy == _ROLLBACK
    if resolution is None or resolution.strategy == _LAST_WRITE or (some_undone and not is_rolled_back):
        # What an undone member found comes back first: it is older than what the others wrote.
        ordered = causal_order(group.members)
        for member in sorted(ordered, key=lambda member: member.dot not in undone):
            _apply(document, member, undone)
    elif resolution.value is DELETED:
        document.remove(group.path)
    else:
        document.put(group.path, freeze(resolution.value))
    if is_rolled_back:
        behind = [update for update in behind if not is_dependant(update, group.members)]
    for update in behind:
        _apply(document, update, undone)


def rollbacks_among(live: Iterable[Update], court: Court, decided: Decided) -> tuple[RolledBack, ...]:
    """The rollbacks that live updates tell of: those of rivals that are here, and those that were written over."""
    updates = list(live)
    found = dict.fromkeys(rollback for update in updates for rollback in update.rolled)
    for group in rival_groups(updates):
        resolution = settle(group, updates, court, decided).resolution
        if resolution is not None and resolution.strategy == _ROLLBACK:
            found[rolled_back(group)] = None
    return tuple(found)


def settle(group: tuple[Update, ...], live: Iterable[Update], court: Court, decided: Decided) -> Conflict:
    """Describe the conflict between the rivals of ``group`` among ``live``, with what ``court`` says about it."""
    key = conflict_id(group)
    if key not in decided:
        decided[key] = _settle(key, group, live, court, decided)
    return decided[key]


def _settle(
    key: str, group: tuple[Update, ...], live: Iterable[Update], court: Court, decided: Decided
) -> Conflict:
    path = shortest_path(group)
    about = [update for update in live if overlap(update.segments, path)]
    before = [
        update
        for update in about
        if not any(update.dot == member.dot or update.has_seen(member) for member in group)
    ]

    def read_with(members: Iterable[Update]) -> Any:
        value = fold([*before, *members], court, decided).get(path)
        return DELETED if value is ABSENT else freeze(value)

    def last_write() -> Resolution:
        last = causal_order(group)[-1].dot.agent
        if court.is_last_write:
            return Resolution(_LAST_WRITE, read_with(group), last)
        document = fold(before, court, decided)
        for update in causal_order(group):
            document.apply(update)
        value = document.get(path)
        return Resolution(_LAST_WRITE, DELETED if value is ABSENT else freeze(value), last)

    values = {
        agent: read_with(member for member in group if member.dot.agent == agent)
        for agent in sorted({member.dot.agent for member in group})
    }
    ancestor: Any = UNKNOWN
    if court.needs_ancestor:
        ancestor = ancestor_in(group)
        if ancestor is UNKNOWN and not any(member.operation in ("set", "delete") for member in group):
            ancestor = read_with(())
    found = court.settle(Conflict(key, format_path(path), group, values, ancestor=ancestor), last_write)
    if found.resolution is not None and found.resolution.strategy == _ROLLBACK:
        undone = (update for update in about if undoes(found, update))
        found = replace(found, undone=tuple(sorted(undone, key=lambda update: update.order)))
    return found
