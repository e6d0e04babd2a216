"""Antichain: the writes that stand side by side at a path are those that no other has seen, all of them and no others.

Happens-before is read from the writes of the run. Of two *siblings* neither may have seen the other, or a value stays that
somebody has overwritten in knowledge of it; and a write that nobody has overwritten must be among them, or it is lost
(N. Preguiça et al., *Dotted Version Vectors: Efficient Causality Tracking for Distributed Key-Value Stores*, 2012,
section 2: the values of a key are the maximal elements of its writes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import Id, Writes, Written, id_of, path_of
from pytest_convergence._engine.check.seen import Seen, told
from pytest_convergence._engine.state.paths import Path
from pytest_convergence._engine.state.updates import DELETED

__all__ = ["ANTICHAIN"]

_OVERWRITING: Final = ("set", "delete")
_MOST: Final = 64
"""So many of the latest writes to a path are looked for among its siblings."""


class _Checker:
    kinds: Final = frozenset({"observe", "state"})
    facts: Final = frozenset({"siblings", "write"})

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes(is_excerpt=scope.is_excerpt)
        self._at: dict[Path, deque[Written]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        written = self._writes.add(event)
        if written is not None:
            if written.update is None or written.update.operation in _OVERWRITING:
                self._at.setdefault(written.path, deque(maxlen=_MOST)).append(written)
            return None
        fact, data = fact_of(event)
        if fact != "siblings" or "writes" not in data:
            return None
        return self._judge(event, data)

    def _judge(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        path, ids = path_of(data), [id_of(each) for each in data["writes"]]
        siblings = self._writes.known(ids)
        for one in siblings:
            for other in siblings:
                if one.id != other.id and self._writes.has_seen(one, other):
                    return _violation(event, path, f"keeps {other}, which {one} has overwritten")
        if "seen" in data:
            lost = self._lost(path, set(ids), told(data["seen"]))
            if lost is not None:
                return _violation(event, path, f"has lost {lost}, which nobody has overwritten")
        return None

    def _lost(self, path: Path, kept: set[Id], seen: Seen) -> Written | None:
        """Return a write to ``path`` that the agent has seen, that no other has, and that it does not keep."""
        if isinstance(seen, frozenset) and not self._writes.has_told(seen):
            return None  # nobody has told what that write has overwritten
        above = [each for size in range(1, len(path) + 1) for each in self._at.get(path[:size], ())]
        known = [each for each in above if _includes(seen, each)]
        for each in self._at.get(path, ()):
            if each.id in kept or each.value is DELETED or not _includes(seen, each):
                continue
            if not any(other.id != each.id and self._may_have_seen(other, each) for other in known):
                return each
        return None

    def _may_have_seen(self, later: Written, earlier: Written) -> bool:
        return self._writes.has_seen(later, earlier) or not self._writes.are_told([later])

    def finish(self, final: FinalState) -> None:
        return None


def _includes(seen: Seen, write: Written) -> bool:
    if isinstance(seen, VectorClock):
        return write.update is not None and seen.covers(*write.update.dot)
    return write.id in seen


def _violation(event: TraceEvent, path: Path, what: str) -> Violation:
    where = ".".join(path)
    message = f"at {where} {event.agent} {what}"
    return Violation(ANTICHAIN.name, message, event.at_ns, (event.agent,), {"path": where})


ANTICHAIN: Final = Property(
    "antichain",
    Kind.ALWAYS,
    "The siblings at a path are the writes there that no other has seen, all of them and no others.",
    _Checker,
)
"""Judged on ``siblings`` facts and on writes."""
