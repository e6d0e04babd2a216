"""An exact rollback: what stands afterwards is what all writers had seen before.

The recovery line of optimistic systems (R. Strom, S. Yemini, *Optimistic Recovery in Distributed Systems*, 1985): the
latest state that all had in common.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import FACTS, KINDS, Id, Report, Writes, Written, report_of
from pytest_convergence._engine.state.paths import overlap

__all__ = ["ROLLBACK_EXACT"]


class _Checker:
    kinds: Final = KINDS
    facts: Final = FACTS

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes(is_excerpt=scope.is_excerpt)
        self._disputed: set[Id] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        if self._writes.add(event) is not None:
            return None
        report = report_of(event)
        if report is not None:
            self._disputed.update(report.writes)
        if report is None or not report.settled or report.strategy != "rollback":
            return None
        self._writes.add_from(report)
        members = self._writes.known(report.writes)
        if report.winners:
            return self._violation(report, event.at_ns, f"lets {members[0] if members else 'a write'} stand")
        right = self._ancestor(report, members)
        if right is None or canonical(right[0]) == canonical(report.value):
            return None
        return self._violation(
            report, event.at_ns, f"goes back to {report.value!r}, and all had seen {right[0]!r}"
        )

    def _violation(self, report: Report, at_ns: int, what: str) -> Violation:
        where = ".".join(report.path)
        return Violation(
            ROLLBACK_EXACT.name, f"{report.agent} rolls {where} back and {what}", at_ns, (report.agent,)
        )

    def _ancestor(self, report: Report, members: list[Written]) -> tuple[Any] | None:
        """The value that all had seen at the path, as ``(value,)``; ``None`` where writes do not tell it alone."""
        if len(members) < len(report.writes) or not self._writes.are_told(members):
            return None
        ids = {member.id for member in members}
        common = [
            written
            for written in self._writes.by_id.values()
            if written.id not in ids
            and overlap(written.path, report.path)
            and all(self._writes.has_seen(member, written) for member in members)
        ]
        newest = self._writes.newest(common)
        if not newest:  # replicas may have been written to before the run
            return None if report.conflict is not None else (None,)
        last = newest[0]
        plain = last.update is None or last.update.operation in ("set", "delete")
        plain = plain and last.id not in self._disputed  # it may have been undone itself
        return (last.value,) if len(newest) == 1 and plain and last.path == report.path else None

    def finish(self, final: FinalState) -> None:
        return None


ROLLBACK_EXACT: Final = Property(
    "rollback_exact",
    Kind.ALWAYS,
    "After a rollback nobody's write stands, and the value is the last that all writers had seen.",
    _Checker,
)
"""An exact rollback."""
