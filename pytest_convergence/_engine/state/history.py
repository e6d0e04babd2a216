"""What a replica remembers of its past: its last versions, and the conflicts that it met."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple, final

from pytest_convergence._engine.state.conflicts import Conflict
from pytest_convergence._engine.state.updates import Dot, Update
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["ConflictLog", "History", "Version"]


class Version(NamedTuple):
    """One step in the life of a replica: which update made it, and the author's time (ns) of that update."""

    number: int
    path: str
    operation: str
    agent: str
    at_ns: int


class _Change(NamedTuple):
    added: Update
    replaced: tuple[Update, ...]


@final
class History:
    """Counts versions, and keeps the last changes so that they can be undone in thought."""

    __slots__ = ("_changes", "_dropped", "version")

    def __init__(self, length: int) -> None:
        self.version = 0
        self._changes: deque[_Change] = deque(maxlen=length)
        self._dropped: list[tuple[int, tuple[Update, ...]]] = []

    def add(self, update: Update, replaced: tuple[Update, ...]) -> None:
        """Note that ``update`` became live, in place of ``replaced``."""
        self.version += 1
        self._changes.append(_Change(update, replaced))

    def drop(self, updates: tuple[Update, ...]) -> None:
        """Note that ``updates``, which the document does not show, are kept no more. Versions before may still need them."""
        oldest = self.version - len(self._changes)
        self._dropped = [(at, dropped) for at, dropped in self._dropped if at > oldest]
        self._dropped.append((self.version, updates))

    def forget(self, version: int) -> None:
        """Start anew at ``version``, or at the present one if that is later: versions only grow."""
        self._changes.clear()
        self._dropped.clear()
        self.version = max(self.version, version)

    def versions(self) -> tuple[Version, ...]:
        """The versions kept, oldest first."""
        first = self.version - len(self._changes) + 1
        return tuple(
            Version(number, added.path, added.operation, added.dot.agent, added.at_ns)
            for number, (added, _) in enumerate(self._changes, first)
        )

    def live_at(self, version: int, live: Iterable[Update]) -> list[Update]:
        """The updates that were live at ``version``, given those that are live now.

        Raises:
            ConvergenceUsageError: the version is not kept.
        """
        oldest = self.version - len(self._changes)
        if type(version) is not int or not oldest <= version <= self.version:
            raise ConvergenceUsageError(
                f"version {version!r} is not in the history: versions {oldest} to {self.version} are kept."
            )
        then = {update.dot: update for update in live}
        then.update((each.dot, each) for at, dropped in self._dropped if version < at for each in dropped)
        for added, replaced in islice(reversed(self._changes), self.version - version):
            then.pop(added.dot, None)
            then.update((update.dot, update) for update in replaced)
        return list(then.values())


@final
class ConflictLog:
    """The conflicts met, each at its last stage, and which of them have not been reported yet."""

    __slots__ = ("_by_dot", "_by_id", "_fresh", "_listed", "_next")

    def __init__(self) -> None:
        self._listed: dict[int, Conflict] = {}  # by place: the later a conflict was met, the greater
        self._fresh: dict[int, Conflict] = {}
        self._by_dot: dict[Dot, int] = {}
        self._by_id: dict[str, int] = {}
        self._next = 0

    def add(self, conflict: Conflict) -> None:
        """List a conflict in place of its earlier stages."""
        stages = sorted({self._by_dot[dot] for dot in conflict.dots if dot in self._by_dot})
        place = stages[0] if stages else self._next
        self._next = max(self._next, place + 1)
        for stage in stages:
            known = self._listed.pop(stage)
            self._fresh.pop(stage, None)
            self._by_id.pop(known.id, None)
            for dot in known.dots:
                del self._by_dot[dot]
        self._listed[place] = self._fresh[place] = conflict
        self._by_id[conflict.id] = place
        self._by_dot.update(dict.fromkeys(conflict.dots, place))

    def about(self, key: str) -> tuple[Conflict, ...]:
        """The conflict whose id a question's ``key`` begins with, if it is listed."""
        place = self._by_id.get(key.partition("/")[0])
        return () if place is None else (self._listed[place],)

    def rolled_back(self) -> tuple[Conflict, ...]:
        """The conflicts that were settled by going back to what was before."""
        return tuple(
            known
            for known in self.listed()
            if known.resolution is not None and known.resolution.strategy == "rollback"
        )

    def take_fresh(self) -> tuple[Conflict, ...]:
        """The conflicts that were added since the last call."""
        if not self._fresh:
            return ()
        fresh, self._fresh = self._fresh, {}
        return tuple(fresh[place] for place in sorted(fresh))

    def listed(self) -> tuple[Conflict, ...]:
        """All conflicts, in the order in which they were met."""
        return tuple(self._listed[place] for place in sorted(self._listed))
