"""Causal context: the clock of a write counts what its author had received before it, nothing less and nothing more.

That is what makes the comparison of clocks happens-before, both ways: ``a`` happened before ``b`` if and only if the clock
of ``b`` covers ``a`` (C. Fidge 1988, F. Mattern 1989; of writes N. Preguiça et al., *Dotted Version Vectors*, 2012,
section 2). A clock that forgets a received write makes a conflict of what was none; one that counts what never came
overwrites it unseen. What an author has received is read from the trace: its own writes, and what it has ``joined``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import told, without
from pytest_convergence._engine.state.updates import Update

__all__ = ["CAUSAL_CONTEXT"]


class _Checker:
    kinds: Final = frozenset({"observe", "state", "crash"})
    facts: Final = frozenset({"replica", "joined", "write"})

    def __init__(self, scope: Scope) -> None:
        self._received: dict[str, VectorClock] = {}  # of whom it is known

    def feed(self, event: TraceEvent) -> Violation | None:
        agent = event.agent
        if event.kind == "crash":  # what it comes back with it says
            self._received.pop(agent, None)
            return None
        if event.kind == "state":
            update = event.detail.get("write") if isinstance(event.detail, Mapping) else None
            return self._write(event, update.context, str(update)) if isinstance(update, Update) else None
        fact, data = fact_of(event)
        if fact == "joined":
            return self._join(event, data)
        if fact == "write" and "clock" in data:
            clock = told(data["clock"])
            if isinstance(clock, VectorClock) and clock[agent]:
                before = VectorClock({**clock, agent: clock[agent] - 1})
                return self._write(event, before, f"write {data.get('id', '')}".strip())
        if fact == "replica" and agent not in self._received:
            seen = told(data.get("seen"))
            if isinstance(seen, VectorClock):
                self._received[agent] = seen
        return None

    def _write(self, event: TraceEvent, context: VectorClock, what: str) -> Violation | None:
        agent = event.agent
        received = self._received.get(agent, context)
        self._received[agent] = context.tick(agent)
        return None if context == received else _violation(event, what, received, context)

    def _join(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        seen, end = told(data.get("seen")), told(data.get("end"))
        if not isinstance(seen, VectorClock) or not isinstance(end, VectorClock):
            return None
        received = self._received.get(event.agent, seen)
        self._received[event.agent] = seen | end
        # Not everybody tells of each own write.
        if seen == received or without(seen, event.agent) == without(received, event.agent):
            return None  # not everybody tells of each own write
        return _violation(event, "what it holds", received, seen)

    def finish(self, final: FinalState) -> None:
        return None


def _violation(event: TraceEvent, what: str, received: VectorClock, counted: VectorClock) -> Violation:
    had, said = dict(received.items()), dict(counted.items())
    wrong = "counts what never came" if not counted <= received else "forgets what had come"
    message = (
        f"the clock of {event.agent} {wrong}: for {what} it says {said}, and {event.agent} had received {had}"
    )
    facts = {"clock": said, "received": had}
    return Violation(CAUSAL_CONTEXT.name, message, event.at_ns, (event.agent,), facts)


CAUSAL_CONTEXT: Final = Property(
    "causal_context",
    Kind.HISTORY,
    "The clock of a write counts what its author had received before it, nothing less and nothing more.",
    _Checker,
)
"""Judged on writes (of replicas, and ``write`` facts with a ``clock``) and ``joined`` facts."""
