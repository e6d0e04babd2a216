"""No silent loss: of concurrent writes to one path the losers are reported, or merged.

The "lost update" of concurrency control (P. Bernstein, V. Hadzilacos, N. Goodman, *Concurrency Control and Recovery in
Database Systems*, 1987, section 1.2), for replicas: who overwrites in knowledge of a write takes the responsibility for it,
but what nobody has seen when it was overruled must show up somewhere.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import FACTS, KINDS, Id, Writes, Written, report_of
from pytest_convergence._engine.state.paths import Path

__all__ = ["NO_SILENT_LOSS"]


class _Checker:
    kinds: Final = KINDS
    facts: Final = FACTS

    def __init__(self, scope: Scope) -> None:
        self._writes = Writes(is_excerpt=scope.is_excerpt)
        self._reported: set[Id] = set()
        self._standing: dict[Path, dict[Id, Written]] = {}

    def feed(self, event: TraceEvent) -> None:
        written = self._writes.add(event)
        if written is not None:
            self._stand(written)
            return
        report = report_of(event)
        if report is not None:
            self._reported.update(report.writes)

    def _stand(self, written: Written) -> None:
        """Keep, by path, the writes that none at that path has overwritten in knowledge."""
        standing = self._standing.setdefault(written.path, {})
        for other in list(standing.values()):
            if self._writes.has_seen(written, other):
                del standing[other.id]
        standing[written.id] = written

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for path in sorted(self._standing):
            around = [path[:depth] for depth in range(1, len(path) + 1) if path[:depth] in self._standing]
            above = self._writes.newest(rival for place in around for rival in self._standing[place].values())
            for write in self._standing[path].values():
                if write.agent not in final.core or write not in above:
                    continue
                for rival in above:
                    if self._is_lost(write, rival) and rival.agent in final.core:
                        message = f"{write} and {rival} were written in ignorance of each other, and nobody reports it"
                        agents = (write.agent, rival.agent)
                        return Violation(NO_SILENT_LOSS.name, message, final.at_ns, agents)
        return None

    def _is_lost(self, write: Written, rival: Written) -> bool:
        """Whether two rivals were met by nobody who said so."""
        is_reported = write.id in self._reported and rival.id in self._reported
        return (
            not is_reported
            and self._writes.are_rivals(write, rival)
            and self._writes.are_told([write, rival])
        )


NO_SILENT_LOSS: Final = Property(
    "no_silent_loss",
    Kind.EVENTUALLY,
    "Of concurrent writes to one path those that do not stand are reported.",
    _Checker,
)
"""No silent loss."""
