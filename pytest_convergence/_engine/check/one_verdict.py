"""One verdict: what one agent decides for all it decides once, and nobody decides it in its place.

The integrity of a decision that must survive the crash of whoever made it: it is made durable before it is told (J. Gray,
*Notes on Data Base Operating Systems*, 1978, section 5.8.3.3, of the coordinator of a commit). While the one who decides is
down, the conflict is pending: a resolution by arbitration without a verdict was guessed.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rivalry import report_of

__all__ = ["ONE_VERDICT"]

_BY_VERDICT: Final = ("arbitration", "voting")


class _Checker:
    kinds: Final = frozenset({"observe", "conflict"})

    def __init__(self, scope: Scope) -> None:
        self._verdicts: dict[str, dict[str, tuple[str, str, Any]]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "verdict":
            return self._take(event, data.get("conflict"), str(data.get("strategy", "")), data.get("value"))
        report = report_of(event)
        if report is None or not report.settled or report.strategy not in _BY_VERDICT:
            return None
        where = ".".join(report.path)
        known = self._verdicts.get(canonical(report.id), {})
        given = known.get(report.strategy, known.get(""))
        if given is None:
            message = f"{report.agent} settles the conflict at {where} by {report.strategy}, and nobody has decided it"
        elif given[1] != canonical(report.value):
            message = (
                f"{report.agent} settles the conflict at {where} by {report.value!r}, and the verdict of {given[0]} "
                f"was {given[2]!r}"
            )
        else:
            return None
        return Violation(ONE_VERDICT.name, message, event.at_ns, (report.agent,))

    def _take(self, event: TraceEvent, conflict: Any, strategy: str, value: Any) -> Violation | None:
        given = (event.agent, canonical(value), value)
        first = self._verdicts.setdefault(canonical(conflict), {}).setdefault(strategy, given)
        if first[:2] == given[:2]:
            return None
        message = f"{first[0]} decided a conflict by {first[2]!r}, and {event.agent} decided it by {value!r}"
        if first[1] == given[1]:
            message = f"{first[0]} decided a conflict, and {event.agent} decided it too"
        agents = tuple(sorted({first[0], event.agent}))
        return Violation(ONE_VERDICT.name, message, event.at_ns, agents, {"conflict": conflict})

    def finish(self, final: FinalState) -> None:
        return None


ONE_VERDICT: Final = Property(
    "one_verdict",
    Kind.ALWAYS,
    "A conflict that one agent decides for all has one verdict, and nobody settles it without.",
    _Checker,
)
"""One durable verdict, never guessed."""
