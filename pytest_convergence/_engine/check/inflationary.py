"""Inflationary: no update and no join takes anything from a replica that it has received.

M. Shapiro et al., *Conflict-free Replicated Data Types* (2011), definition 2.3: the state of a replica only grows in the
order of the semilattice, by its own updates and by merges. What a replica says that it has seen must not shrink within a
life; where the state of a ``replica`` fact is an object that joins (``join`` or ``merge``), it must be the join of itself
and the state before.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import Seen, covers, told
from pytest_convergence._engine.state.plain_join import join_method, join_values
from pytest_convergence._engine.state.three_way import compares, same

__all__ = ["INFLATIONARY"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})
    facts: Final = frozenset({"replica", "joined"})

    def __init__(self, scope: Scope) -> None:
        self._seen: dict[str, Seen] = {}
        self._states: dict[str, Any] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        agent = event.agent
        if event.kind == "crash":  # what it comes back with other properties judge
            self._seen.pop(agent, None)
            self._states.pop(agent, None)
            return None
        fact, data = fact_of(event)
        if fact not in ("replica", "joined"):
            return None
        now = told(data.get("seen"))
        before = self._seen.get(agent)
        self._seen[agent] = now
        if before is not None and not covers(now, before):
            message = f"{agent} had seen {_plain(before)} and then only {_plain(now)}"
            return Violation(
                INFLATIONARY.name, message, event.at_ns, (agent,), {"before": before, "after": now}
            )
        return self._grows(event, data["state"]) if "state" in data else None

    def _grows(self, event: TraceEvent, state: Any) -> Violation | None:
        if join_method(state) is None or not compares(state):
            return None
        before = self._states.get(event.agent)
        self._states[event.agent] = state
        if before is None or type(before) is not type(state):
            return None
        joined, conflicts = join_values({"before": snapshot(before), "after": snapshot(state)})
        if conflicts or same(joined, state):
            return None
        message = f"the state of {event.agent} became {state!r}, which is not above {before!r}: together they are {joined!r}"
        facts = {"before": before, "after": state, "join": joined}
        return Violation(INFLATIONARY.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


def _plain(seen: Seen) -> str:
    return repr(sorted(map(str, seen))) if isinstance(seen, frozenset) else repr(dict(seen.items()))


INFLATIONARY: Final = Property(
    "inflationary",
    Kind.TRANSITION,
    "No update and no join takes anything from a replica that it has received.",
    _Checker,
)
"""Judged on ``replica`` and ``joined`` facts."""
