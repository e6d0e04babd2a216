"""Deterministic resolution: the same conflict is settled alike by whoever settles it, and whatever arrived first.

State machine replication in small (F. Schneider, *Implementing Fault-Tolerant Services Using the State Machine Approach*,
1990, section 2): equal inputs, equal answers.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import Id, Report, report_of

__all__ = ["DETERMINISTIC_RESOLUTION"]


class _Checker:
    kinds: Final = frozenset({"observe", "conflict"})

    def __init__(self, scope: Scope) -> None:
        self._first: dict[tuple[frozenset[Id], str], tuple[str, Report]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        report = report_of(event)
        if report is None or not report.settled:
            return None
        what: Any = [sorted(map(str, report.winners)), report.value]
        now = (canonical(what), report)
        text, first = self._first.setdefault((frozenset(report.writes), report.strategy), now)
        if text == now[0]:
            return None
        where = ".".join(report.path)
        message = f"{first.agent} settles the conflict at {where} by {_end(first)}, and {report.agent} by {_end(report)}"
        facts = {"writes": report.writes, "strategy": report.strategy}
        name = DETERMINISTIC_RESOLUTION.name
        return Violation(name, message, event.at_ns, tuple(sorted({first.agent, report.agent})), facts)

    def finish(self, final: FinalState) -> None:
        return None


def _end(report: Report) -> str:
    return f"{report.value!r}" if report.value is not None else f"the write {report.winners[0]!r}"


DETERMINISTIC_RESOLUTION: Final = Property(
    "deterministic_resolution",
    Kind.ALWAYS,
    "The same conflict is settled alike by whoever settles it, whatever arrived first.",
    _Checker,
)
"""Deterministic resolution."""
