"""Termination: once faults have stopped, every agent of a live quorum decides, or all give up within their bound.

No algorithm can promise more: where votes stay split and nobody revises, giving up after the agreed number of rounds
*is* the end (Fischer, Lynch and Paterson 1985 say why some bound, or luck, is needed).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import decided_value, fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["TERMINATION"]


class _Checker:
    kinds: Final = frozenset({"observe", "decide"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._decided: set[str] = set()
        self._gave_up: set[str] = set()

    def feed(self, event: TraceEvent) -> None:
        if decided_value(event) is not None:
            self._decided.add(event.agent)
        elif fact_of(event)[0] == "undecided":
            self._gave_up.add(event.agent)

    def finish(self, final: FinalState) -> Violation | None:
        if not final.demands_progress(self._scope):
            return None
        decided = [agent for agent in final.core if agent in self._decided]
        ended = self._decided if decided else self._gave_up
        waiting = tuple(agent for agent in final.core if agent not in ended)
        if not waiting:
            return None
        known = f"although {', '.join(decided)} decided" if decided else "and did not give up either"
        message = f"{', '.join(waiting)} did not decide, {known}"
        facts = {"waiting": waiting, "decided": tuple(decided)}
        return Violation(TERMINATION.name, message, final.at_ns, waiting, facts)


TERMINATION: Final = Property(
    "termination",
    Kind.EVENTUALLY,
    "Once faults have stopped, a live quorum decides or gives up together.",
    _Checker,
)
