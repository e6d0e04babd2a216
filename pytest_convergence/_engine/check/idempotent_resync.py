"""Idempotent resynchronisation: who is sent what it has stays as it is, its version included.

Messages between replicas are repeated until they are acknowledged, so most of what goes wrong arrives twice. A join is
idempotent (M. Shapiro et al., Conflict-free Replicated Data Types, 2011, section 2.2: the states are a semilattice). The
*version* is the part that :mod:`.sec` does not see: one that grows with every message makes each replica believe that the
other has news, and the two never stop telling each other.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["IDEMPOTENT_RESYNC"]


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"replica"})

    def __init__(self, scope: Scope) -> None:
        self._held: dict[str, tuple[str, str, Any]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact != "replica":
            return None
        now = (canonical(data.get("seen")), canonical(data.get("state")), data.get("version"))
        before = self._held.get(event.agent)
        self._held[event.agent] = now
        if before is None or before[0] != now[0]:
            return None
        if before[1] != now[1]:
            what = f"its state became {data.get('state')!r}"
        elif before[2] != now[2] and None not in (before[2], now[2]):
            what = f"its version went from {before[2]!r} to {now[2]!r}"
        else:
            return None
        message = f"{event.agent} was sent what it had, and {what}"
        return Violation(
            IDEMPOTENT_RESYNC.name, message, event.at_ns, (event.agent,), {"seen": data.get("seen")}
        )

    def finish(self, final: FinalState) -> None:
        return None


IDEMPOTENT_RESYNC: Final = Property(
    "idempotent_resync",
    Kind.TRANSITION,
    "A replica that is sent what it has stays as it is, its version included.",
    _Checker,
)
"""Judged on ``replica`` facts: two of one agent with the same ``seen``, one after the other, are equal in all."""
