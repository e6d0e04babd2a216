"""Dependants undone: what was derived from a value that was rolled back is rolled back with it.

The orphans of optimistic recovery (R. Strom, S. Yemini, *Optimistic Recovery in Distributed Systems*, 1985): a state that
depends on what was taken back must not survive. Dependence is what the writer declared, and what that depended on in turn;
who wrote in knowledge of all rivals knew of the rollback.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import (
    FACTS,
    KINDS,
    Id,
    Kept,
    Report,
    Writes,
    Written,
    kept_by,
    report_of,
)
from pytest_convergence._engine.state.derived import is_undone, rolled_back
from pytest_convergence._engine.state.paths import Path, overlap
from pytest_convergence._engine.state.updates import Dot, RolledBack

__all__ = ["DEPENDANTS_UNDONE"]


class _Checker:
    kinds: Final = KINDS
    facts: Final = FACTS

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes(is_excerpt=scope.is_excerpt)
        self._kept: dict[tuple[str, Path], Kept] = {}
        self._rollbacks: dict[tuple[str, Id], Report] = {}
        self._met: dict[
            frozenset[Id], RolledBack
        ] = {}  # all conflicts, by their writes, with what those knew
        self._replicas: dict[
            str, tuple[VectorClock, set[Id]]
        ] = {}  # by agent: what it has seen, and takes back

    def feed(self, event: TraceEvent) -> None:
        if self._writes.add(event) is not None:
            return
        fact, data = fact_of(event)
        if fact == "replica":
            undone: set[Id] = {Dot(*each) for each in data.get("undone", ())}
            self._replicas[event.agent] = VectorClock(data["seen"]), undone
            return
        kept = kept_by(event)
        if kept is not None:
            self._kept[kept.agent, kept.path] = kept
            return
        report = report_of(event)
        if report is not None:
            self._writes.add_from(report)
            if report.conflict is not None:
                self._met.setdefault(frozenset(report.writes), rolled_back(report.conflict.writes))
            for key, earlier in list(self._rollbacks.items()):  # a conflict grows: the last word counts
                if key[0] == report.agent and set(earlier.writes) & set(report.writes):
                    del self._rollbacks[key]
            if report.settled and report.strategy == "rollback":
                self._rollbacks[report.agent, report.id] = report

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for report in self._rollbacks.values():
            members = self._writes.known(report.writes)
            if self._has_grown(report):
                continue
            if report.agent in final.core and len(members) == len(report.writes):
                survivor = self._survivor(report, members, final.core)
                if survivor is not None:
                    where = ".".join(report.path)
                    message = (
                        f"{report.agent} rolls {where} back and not {survivor}, which was derived from it"
                    )
                    agents = tuple(sorted({report.agent, survivor.agent}))
                    return Violation(DEPENDANTS_UNDONE.name, message, final.at_ns, agents)
        return None

    def _has_grown(self, report: Report) -> bool:
        """Whether others have met more of a conflict than this agent, which was down, say, and has not reported it since."""
        if report.conflict is None:
            return False
        mine, dots = frozenset(report.writes), [write.dot for write in report.conflict.writes]
        return any(
            mine & writes and mine != writes and all(known.high.covers(*dot) for dot in dots)
            for writes, known in self._met.items()
        )

    def _survivor(self, report: Report, members: list[Written], core: tuple[str, ...]) -> Written | None:
        if report.conflict is not None:
            rollback = rolled_back(report.conflict.writes)
            seen, undone = self._replicas.get(report.agent, (VectorClock(), set()))
            if not all(seen.covers(*each.update.dot) for each in self._writes.by_id.values() if each.update):
                return None  # it has not said what it made of the last writes
            for write in self._writes.by_id.values():
                if write.update is None or write.id in undone or write.agent not in core:
                    continue
                if is_undone(write.update, rollback) and self._stands(write):
                    return write
            return None
        for kept in self._kept.values():
            held = self._writes.by_id.get(kept.id)
            if (
                kept.agent == report.agent
                and held is not None
                and self._is_orphan(held, members, report.path)
            ):
                return held
        return None

    def _stands(self, write: Written) -> bool:
        return not any(
            overlap(other.path, write.path) and self._writes.has_seen(other, write)
            for other in self._writes.by_id.values()
        )

    def _is_orphan(self, write: Written, members: list[Written], path: Path) -> bool:
        if all(self._knows(write, member) for member in members) or not self._writes.are_told(members):
            return False
        to_ask, asked = list(write.derived), set(write.derived)
        while to_ask:
            source = self._writes.by_id.get(to_ask.pop())
            if source is None:
                continue
            knowing = [member for member in members if self._knows(member, source)]
            if overlap(source.path, path) and 0 < len(knowing) < len(members):
                return True
            to_ask += source.derived - asked
            asked |= source.derived
        return False

    def _knows(self, one: Written, other: Written) -> bool:
        return one.id == other.id or self._writes.has_seen(one, other)


DEPENDANTS_UNDONE: Final = Property(
    "dependants_undone",
    Kind.EVENTUALLY,
    "What was derived from a value that was rolled back is rolled back with it.",
    _Checker,
)
"""Dependants undone."""
