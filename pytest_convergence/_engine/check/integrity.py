"""Integrity: in one life, an agent decides once.

Source: Cachin, Guerraoui and Rodrigues, *Introduction to Reliable and Secure Distributed Programming* (2011), section 5.1:
no process decides twice.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.decisions import Decided
from pytest_convergence._engine.check.facts import decided_value
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["INTEGRITY"]


class _Checker:
    """A repeated announcement of the same value is no second decision."""

    kinds: Final = frozenset({"observe", "decide", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._decided: dict[str, Decided] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            self._decided.pop(event.agent, None)
            return None
        decided = decided_value(event)
        if decided is None:
            return None
        now = Decided(event.agent, decided[0], event.at_ns)
        first = self._decided.setdefault(event.agent, now)
        if first.value == now.value:
            return None
        facts = {"first": first.value, "then": now.value}
        message = f"{first}, and then {now.value!r}"
        return Violation(INTEGRITY.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


INTEGRITY: Final = Property("integrity", Kind.TRANSITION, "An agent decides once.", _Checker)
