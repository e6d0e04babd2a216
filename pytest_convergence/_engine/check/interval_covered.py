"""Interval covered: what is told as a difference is joined only onto a replica that holds what lies before it.

A delta is everything between two points. Joined onto a replica that lacks something before its start it leaves a hole that
nobody will fill, for the replica counts as one that has seen the end. That is the condition of P. Almeida, A. Shoker,
C. Baquero, *Delta State Replicated Data Types* (2018), section 7.2 (causal delta-merging): with it the join of deltas is
the state that their author had, which :mod:`.sec` compares.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import covers, told

__all__ = ["INTERVAL_COVERED"]


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"joined"})

    def __init__(self, scope: Scope) -> None:
        pass

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact != "joined" or covers(told(data.get("seen")), told(data.get("start"))):
            return None
        start, seen = data.get("start"), data.get("seen")
        message = (
            f"{event.agent} joined what begins after {_plain(start)} and had seen {_plain(seen)} only: "
            "what lies between is missing for good"
        )
        facts = {"start": start, "seen": seen, "end": data.get("end")}
        return Violation(INTERVAL_COVERED.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


def _plain(seen: object) -> str:
    items = told(seen)
    return repr(dict(items.items())) if not isinstance(items, frozenset) else repr(sorted(map(str, items)))


INTERVAL_COVERED: Final = Property(
    "interval_covered",
    Kind.ALWAYS,
    "A difference is joined only onto a replica that holds all that lies before its start.",
    _Checker,
)
"""Judged on ``joined`` facts."""
