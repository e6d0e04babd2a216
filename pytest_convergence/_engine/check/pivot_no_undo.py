"""After the pivot of a saga nothing is undone.

Source: the pivot of flexible transactions, Mehrotra, Rastogi, Korth and Silberschatz, *A transaction model for multidatabase
systems* (ICDCS 1992): what follows it is retried until it succeeds.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["PIVOT_NO_UNDO"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._pivots: dict[str, str] = {}
        self._passed: set[str] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        saga, step = str(data.get("saga")), data.get("step")
        if fact == "saga_begin" and data.get("pivot") is not None:
            self._pivots[saga] = data["pivot"]
        elif fact == "step_done" and self._pivots.get(saga) == step:
            self._passed.add(saga)
        elif fact == "step_undone" and saga in self._passed and not data.get("remembered"):
            message = f"{event.agent} undid step {step!r} of saga {saga!r} after its pivot {self._pivots[saga]!r} was done"
            return Violation(PIVOT_NO_UNDO.name, message, event.at_ns, (event.agent,), dict(data))
        return None

    def finish(self, final: FinalState) -> None:
        return None


PIVOT_NO_UNDO: Final = Property(
    "pivot_no_undo",
    Kind.ALWAYS,
    "Once the pivot of a saga is done, no step of it is undone.",
    _Checker,
)
