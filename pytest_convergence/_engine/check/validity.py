"""Validity: what is decided was proposed, or an allowed rule made it.

Agreement alone is too weak a goal: "everybody decides 0" agrees every time.

Source: Cachin, Guerraoui and Rodrigues, *Introduction to Reliable and Secure Distributed Programming* (2011), section 5.1.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import decided_value, fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["VALIDITY"]


class _Checker:
    """Judges a decision by the proposals made before it, and by what the run allows."""

    kinds: Final = frozenset({"observe", "decide"})

    def __init__(self, scope: Scope) -> None:
        self._allowed = scope.allowed
        self._proposed: list[Any] = []  # values need not be hashable

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "propose":
            if data["value"] not in self._proposed:
                self._proposed.append(data["value"])
            return None
        decided = decided_value(event)
        if decided is None or self._is_valid(decided[0]):
            return None
        proposed = ", ".join(map(repr, self._proposed)) or "nothing"
        message = f"{event.agent} decided {decided[0]!r}, which nobody had proposed (proposed: {proposed})"
        facts = {"decided": decided[0], "proposed": tuple(self._proposed)}
        return Violation(VALIDITY.name, message, event.at_ns, (event.agent,), facts)

    def _is_valid(self, value: Any) -> bool:
        if value in self._proposed:
            return True
        if self._allowed is not None:
            return self._allowed(value)
        return not self._proposed  # nobody observes proposals: there is nothing to judge by

    def finish(self, final: FinalState) -> None:
        return None


VALIDITY: Final = Property(
    "validity", Kind.HISTORY, "What is decided was proposed, or an allowed rule made it.", _Checker
)
