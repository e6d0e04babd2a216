"""Exact detection: what is reported as a conflict is one.

Two writes conflict if neither author had seen the other's (L. Lamport, *Time, Clocks, and the Ordering of Events in a
Distributed System*, 1978: they are concurrent) and they are about the same path. A clock that is wrong, or an arrival that
is late, makes no conflict. (That nothing which *is* one goes unreported is the property ``no_silent_loss``.)
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import FACTS, KINDS, Writes, report_of

__all__ = ["DETECT_EXACT"]


class _Checker:
    kinds: Final = KINDS
    facts: Final = FACTS

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes()

    def feed(self, event: TraceEvent) -> Violation | None:
        if self._writes.add(event) is not None:
            return None
        report = report_of(event)
        if report is None:
            return None
        self._writes.add_from(report)
        members = self._writes.known(report.writes)
        for one in members:
            if len(members) == len(report.writes) and not any(
                self._writes.are_rivals(one, other) for other in members
            ):
                others = ", ".join(str(other) for other in members if other is not one)
                message = (
                    f"{report.agent} reports a conflict of {one} with {others or 'nothing'}, and it is none"
                )
                agents = tuple(sorted({report.agent, *(member.agent for member in members)}))
                return Violation(DETECT_EXACT.name, message, event.at_ns, agents, {"writes": report.writes})
        return None

    def finish(self, final: FinalState) -> None:
        return None


DETECT_EXACT: Final = Property(
    "detect_exact",
    Kind.ALWAYS,
    "What is reported as a conflict are concurrent writes to the same path, and nothing else.",
    _Checker,
)
"""Exact detection: no false alarm."""
