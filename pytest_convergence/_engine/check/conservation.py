"""Conservation: what goes in comes out, or is a dead letter, or was rejected; each item in one of these ways.

Source: the account of the total-queue checker of Jepsen (Kingsbury): attempted = ok + lost + recovered, with nothing lost.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import Ledger
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["CONSERVATION"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._ledger = Ledger()

    def feed(self, event: TraceEvent) -> None:
        self._ledger.enter(event)

    def finish(self, final: FinalState) -> Violation | None:
        progress = self._ledger.demands_progress(final, self._scope)
        for item, fed in self._ledger.fed.items():
            endings = self._ledger.endings(item)
            if len(endings) > 1:
                return self._violation(fed.shown, f"item {fed.shown!r} {' and '.join(endings)}", final)
            if progress and not endings and item not in self._ledger.abandoned:
                passed = [stage for stage in fed.route if stage in self._ledger.effects.get(item, {})]
                last = f"; the last stage that it passed is {passed[-1]!r}" if passed and passed[-1] else ""
                return self._violation(
                    fed.shown, f"item {fed.shown!r} went in and never came out{last}", final
                )
        return None

    def _violation(self, shown: object, message: str, final: FinalState) -> Violation:
        return Violation(CONSERVATION.name, message, final.at_ns, (), {"item": shown})


CONSERVATION: Final = Property(
    "conservation",
    Kind.EVENTUALLY,
    "What goes in comes out, or is a dead letter, or was rejected, and only one of these.",
    _Checker,
)
