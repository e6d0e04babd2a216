"""No stale read: a read sees all that was committed before it began.

That is the part of linearizability (Herlihy and Wing 1990) that reads of a replicated log break: the log itself orders the
writes. Source of the rule: Ongaro, *Consensus: Bridging Theory and Practice* (2014), section 6.4. What was committed, and
where in the log a read stood, is compared by index.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_STALE_READ"]


class _Begun(NamedTuple):
    committed: int
    by: str
    at_ns: int


class _Checker:
    """Reads whose beginning nobody observed are not judged."""

    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._committed = 0
        self._by = ""
        self._begun: dict[tuple[str, Any], _Begun] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        agent = event.agent
        if event.kind == "crash":
            self._begun = {key: begun for key, begun in self._begun.items() if key[0] != agent}
        elif fact == "commit" and data["index"] > self._committed:
            self._committed, self._by = data["index"], agent
        elif fact == "read_request":
            self._begun.setdefault((agent, data["id"]), _Begun(self._committed, self._by, event.at_ns))
        elif fact == "read":
            begun = self._begun.pop((agent, data["id"]), None)
            if begun is not None and data["index"] < begun.committed:
                return self._violation(event, begun, data)
        return None

    def _violation(self, event: TraceEvent, begun: _Begun, data: Any) -> Violation:
        message = (
            f"{event.agent} answered the read {data['id']!r} as of index {data['index']}; when it began, at "
            f"{format_ns(begun.at_ns)}, {begun.by} had committed up to index {begun.committed}"
        )
        facts = {"read": data["index"], "committed": begun.committed}
        return Violation(NO_STALE_READ.name, message, event.at_ns, (event.agent, begun.by), facts)

    def finish(self, final: FinalState) -> None:
        return None


NO_STALE_READ: Final = Property(
    "no_stale_read", Kind.HISTORY, "A read sees all that was committed before it began.", _Checker
)
