"""Agreement: no two agents decide differently, dead ones included (uniform agreement).

Source: Cachin, Guerraoui and Rodrigues, *Introduction to Reliable and Secure Distributed Programming* (2011), section 5.2,
uniform consensus. What a dead agent decided it may have acted upon.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.decisions import Decided
from pytest_convergence._engine.check.facts import decided_value
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["AGREEMENT"]


class _Checker:
    kinds: Final = frozenset({"observe", "decide"})

    def __init__(self, scope: Scope) -> None:
        self._first: Decided | None = None

    def feed(self, event: TraceEvent) -> Violation | None:
        decided = decided_value(event)
        if decided is None:
            return None
        now = Decided(event.agent, decided[0], event.at_ns)
        first = self._first
        if first is None:
            self._first = now
            return None
        if first.agent == now.agent or first.value == now.value:
            return None
        facts = {first.agent: first.value, now.agent: now.value}
        return Violation(AGREEMENT.name, f"{first}, and {now}", now.at_ns, (first.agent, now.agent), facts)

    def finish(self, final: FinalState) -> None:
        return None


AGREEMENT: Final = Property("agreement", Kind.ALWAYS, "No two agents decide differently.", _Checker)
