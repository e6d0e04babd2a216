"""Writes that stand by a declared order: the latest, or the earliest.

1. A write that has seen another comes after it, whatever the clocks say. The rule is about those that are left.
2. Of these, time decides, then the author, then the number: a total order, the same everywhere (L. Lamport, *Time, Clocks,
   and the Ordering of Events in a Distributed System*, 1978, the order ⇒).
3. What is judged is what agents say: the winner of a conflict that they report, at once; and what they keep at a path, when
   the run has settled and everybody in the core has heard from everybody in it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import (
    FACTS,
    KINDS,
    Kept,
    Report,
    Writes,
    Written,
    kept_by,
    report_of,
)
from pytest_convergence._engine.state.paths import Path

__all__ = ["standing_by"]


class _Checker:
    kinds: Final = KINDS
    facts: Final = FACTS

    def __init__(self, scope: Scope, name: str, strategy: str, *, latest: bool) -> None:
        self._name = name
        self._strategy = strategy
        self._latest = latest
        self._writes = Writes(is_excerpt=scope.is_excerpt)
        self._kept: dict[tuple[str, Path], Kept] = {}
        self._last: dict[tuple[str, Path], Written] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "observe":
            kept = kept_by(event)
            if kept is not None and kept.strategy == self._strategy:
                before = self._kept.get((kept.agent, kept.path))
                self._kept[kept.agent, kept.path] = kept
                return None if before is None else self._judge_change(before, kept, event.at_ns)
        written = self._writes.add(event)
        if written is not None:
            return self._judge_own(written, event.at_ns) if event.kind == "observe" else None
        report = report_of(event)
        if report is None or not report.settled or report.strategy != self._strategy:
            return None
        self._writes.add_from(report)
        return self._judge_report(report, event.at_ns)

    def _judge_change(self, before: Kept, now: Kept, at_ns: int) -> Violation | None:
        """What was overwritten in knowledge never comes back."""
        old, new = self._writes.by_id.get(before.id), self._writes.by_id.get(now.id)
        if old is None or new is None or not self._writes.has_seen(old, new):
            return None
        message = f"{now.agent} goes back from {old} to {new}, which the author of the former had seen"
        return Violation(self._name, message, at_ns, (now.agent,))

    def _judge_own(self, written: Written, at_ns: int) -> Violation | None:
        """By its next write an agent keeps nothing any more that its last one has overwritten."""
        last = self._last.get((written.agent, written.path))
        self._last[written.agent, written.path] = written
        kept = self._kept.get((written.agent, written.path))
        held = None if kept is None else self._writes.by_id.get(kept.id)
        if last is None or held is None or not self._writes.has_seen(last, held):
            return None
        message = f"{written.agent} still keeps {held} by {self._strategy}, which it has overwritten itself by {last}"
        return Violation(self._name, message, at_ns, (written.agent,))

    def _first(self, writes: list[Written]) -> Written:
        return (max if self._latest else min)(writes, key=lambda written: written.order)

    def _judge_report(self, report: Report, at_ns: int) -> Violation | None:
        members = self._writes.known(report.writes)
        winners = self._writes.known(report.winners)
        if len(members) < len(report.writes) or not winners or not self._writes.are_told(members):
            return None
        whose = {winner.agent for winner in winners}
        standing = self._writes.newest(members)
        right = self._first(standing)
        fine = {right.agent}
        if len(standing) < len(members):
            # Somebody wrote a part of what somebody else wrote, and had seen it: the whole may stand, or the part.
            fine |= {self._first(members).agent, *(written.agent for written in standing)}
        if whose & fine:
            return None
        message = f"{report.agent} lets {winners[0]} stand by {self._strategy}, and {right} comes first"
        return Violation(self._name, message, at_ns, tuple(sorted({report.agent, right.agent})))

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for (agent, path), kept in sorted(self._kept.items()):
            about = [
                written
                for written in self._writes.by_id.values()
                if written.path == path and written.agent in final.core
            ]
            if not self._writes.are_told(about):
                continue
            mine = self._writes.by_id.get(kept.id)
            if agent not in final.core or not about or mine is None or mine.agent not in final.core:
                continue
            right = self._first(self._writes.newest(about))
            if right.id != kept.id:
                message = f"{agent} keeps {mine} by {self._strategy}, and {right} comes first"
                return Violation(self._name, message, final.at_ns, tuple(sorted({agent, right.agent})))
        return None


def standing_by(name: str, strategy: str, summary: str, *, latest: bool) -> Property:
    """Return the property that what stands by ``strategy`` is the latest (or the earliest) in the declared order."""
    checker = partial(_Checker, name=name, strategy=strategy, latest=latest)
    return Property(name, Kind.ALWAYS, summary, checker)
