"""No starvation: nobody loses its conflicts by priority for ever.

Aging makes the priority of what has waited grow (A. Silberschatz, P. Galvin, G. Gagne, *Operating System Concepts*, 2018,
section 5.3.4). With steps of at least 1, whoever has lost as often in a row as the highest and the lowest priority differ
is ahead of all that was ever seen, and can at most lose to an equal once more. What loses more often does not age. A loss
counts after another if its author knew of that one: nobody can come forward before it knows.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import KINDS, Id, Writes, Written, report_of
from pytest_convergence._engine.state.paths import Path, overlap

__all__ = ["NO_STARVATION"]


class _Checker:
    kinds: Final = KINDS | {"crash"}

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes()
        self._lost: dict[tuple[str, Path], list[Written]] = {}
        self._judged: set[frozenset[Id]] = set()
        self._lowest = float("inf")
        self._highest = float("-inf")

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":  # how long it has waited an agent need not know in its next life
            self._forget(event.agent, ())
            return None
        if self._writes.add(event) is not None:
            return None
        report = report_of(event)
        if report is None or report.strategy != "priority" or not report.winners:
            return None
        self._writes.add_from(report)
        if frozenset(report.writes) in self._judged:
            return None
        self._judged.add(frozenset(report.writes))
        members = self._writes.known(report.writes)
        for written in members:
            self._lowest = min(self._lowest, written.priority)
            self._highest = max(self._highest, written.priority)
        winners = self._writes.known(report.winners)
        for written in members:
            if self._has_starved(written, winners, report.path):
                where = ".".join(report.path)
                message = (
                    f"{written.agent} loses one conflict after another at {where}, by priorities from "
                    f"{self._lowest:g} to {self._highest:g}: it does not come forward"
                )
                return Violation(NO_STARVATION.name, message, event.at_ns, (written.agent,))
        return None

    def _has_starved(self, written: Written, winners: list[Written], path: Path) -> bool:
        """Count a win or a loss; whether there were too many losses since the last win."""
        lost_to = self._lost.setdefault((written.agent, path), [])
        if any(winner.agent == written.agent for winner in winners):
            self._forget(written.agent, path)
        elif winners and (not lost_to or self._writes.has_seen(written, lost_to[-1])):
            lost_to.append(winners[-1])
        return len(lost_to) > self._highest - self._lowest + 2

    def _forget(self, agent: str, path: Path) -> None:
        for (whose, where), lost_to in self._lost.items():
            if whose == agent and overlap(where, path):
                lost_to.clear()

    def finish(self, final: FinalState) -> None:
        return None


NO_STARVATION: Final = Property(
    "no_starvation",
    Kind.HISTORY,
    "By priority nobody loses more often in a row than the priorities differ: who loses comes forward.",
    _Checker,
)
"""No starvation."""
