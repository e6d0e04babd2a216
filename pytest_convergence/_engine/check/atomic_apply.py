"""Atomic apply: a whole document is taken in at one stroke; nobody finds half of it, not even after a crash.

All or nothing (J. Gray, *The Transaction Concept: Virtues and Limitations*, 1981, section 4). A replica that says that it
has joined a document (``joined`` with ``way="full"``) holds all of it from then on, held nothing of it before that it
does not say, and comes back from a crash with all of it or with nothing of it that was new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import NOTHING, Seen, covers, told, united

__all__ = ["ATOMIC_APPLY"]

_FULL: Final = "full"
_MOST: Final = 32
"""So many of the latest documents are looked for after a crash."""


class _Joined(NamedTuple):
    before: Seen
    end: Seen


class _Replica:
    """What is known of one agent's replica in its present life."""

    __slots__ = ("exposed", "joined", "restarted", "whole")

    def __init__(self) -> None:
        self.joined: deque[_Joined] = deque(maxlen=_MOST)
        self.whole: Seen = NOTHING  # all documents of this life
        self.exposed: Seen = NOTHING
        self.restarted = False


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})
    facts: Final = frozenset({"replica", "joined"})

    def __init__(self, scope: Scope) -> None:
        self._replicas: dict[str, _Replica] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            if (replica := self._replicas.get(event.agent)) is not None:
                replica.restarted, replica.whole, replica.exposed = True, NOTHING, NOTHING
            return None
        fact, data = fact_of(event)
        if fact == "joined" and data.get("way") == _FULL:
            return self._join(event, data)
        if fact == "replica" and event.agent in self._replicas:
            return self._expose(event, told(data.get("seen")))
        return None

    def _join(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        replica = self._replicas.setdefault(event.agent, _Replica())
        before, end = told(data.get("seen")), told(data.get("end"))
        if replica.restarted:
            found = self._come_back(event, replica, before)
            if found is not None:
                return found
        if not covers(before, replica.exposed):
            return _half(event, "showed a part of a document before it had joined it")
        if not covers(before, replica.whole):
            return _half(event, "holds a part of a document that it has joined")
        replica.joined.append(_Joined(before, end))
        replica.whole = united(replica.whole, end)
        return None

    def _expose(self, event: TraceEvent, seen: Seen) -> Violation | None:
        replica = self._replicas[event.agent]
        if replica.restarted:
            return self._come_back(event, replica, seen)
        replica.exposed = seen
        return (
            None
            if covers(seen, replica.whole)
            else _half(event, "shows a part of a document that it has joined")
        )

    def _come_back(self, event: TraceEvent, replica: _Replica, seen: Seen) -> Violation | None:
        joined, replica.restarted = tuple(replica.joined), False
        replica.joined.clear()
        if any(_is_half(seen, each) for each in joined):
            return _half(event, "came back from a crash with a part of a document that it had joined")
        return None

    def finish(self, final: FinalState) -> None:
        return None


def _is_half(seen: Seen, joined: _Joined) -> bool:
    """Whether some of what a document brought is there, and some is not."""
    before, end = joined
    if isinstance(seen, frozenset) and isinstance(end, frozenset):
        fresh = end - before if isinstance(before, frozenset) else end
        return bool(fresh & seen) and not fresh <= seen
    if isinstance(seen, VectorClock) and isinstance(end, VectorClock) and isinstance(before, VectorClock):
        fresh_by = {agent: count for agent, count in end.items() if count > before[agent]}
        some = any(seen[agent] > before[agent] for agent in fresh_by)
        return some and any(seen[agent] < count for agent, count in fresh_by.items())
    return False


def _half(event: TraceEvent, what: str) -> Violation:
    return Violation(ATOMIC_APPLY.name, f"{event.agent} {what}", event.at_ns, (event.agent,))


ATOMIC_APPLY: Final = Property(
    "atomic_apply",
    Kind.TRANSITION,
    "A whole document is taken in at one stroke: nobody finds half of it, not even after a crash.",
    _Checker,
)
"""Judged on ``joined`` and ``replica`` facts."""
