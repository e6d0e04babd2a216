"""Priority: the write of the highest priority stands.

Source: D. Rosenkrantz, R. Stearns, P. Lewis, *System Level Concurrency Control for Distributed Database Systems* (1978):
each side of a conflict carries its rank with it, so whoever meets the conflict decides it alike.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import FACTS, KINDS, Writes, report_of

__all__ = ["PRIORITY_RULE"]


class _Checker:
    kinds: Final = KINDS
    facts: Final = FACTS

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes()

    def feed(self, event: TraceEvent) -> Violation | None:
        if self._writes.add(event) is not None:
            return None
        report = report_of(event)
        if report is None or report.strategy != "priority" or not report.winners:
            return None
        self._writes.add_from(report)
        members = self._writes.known(report.writes)
        winners = self._writes.known(report.winners)
        if len(members) < len(report.writes) or not winners:
            return None
        highest = max(members, key=lambda written: written.priority)
        won = max(winners, key=lambda written: written.priority)
        if won.priority >= highest.priority:
            return None
        message = f"{report.agent} lets {won} of priority {won.priority:g} stand over {highest} of {highest.priority:g}"
        agents = tuple(sorted({report.agent, highest.agent}))
        return Violation(PRIORITY_RULE.name, message, event.at_ns, agents)

    def finish(self, final: FinalState) -> None:
        return None


PRIORITY_RULE: Final = Property(
    "priority_rule", Kind.ALWAYS, "By priority no write stands over one of a higher priority.", _Checker
)
"""The rule of priority."""
