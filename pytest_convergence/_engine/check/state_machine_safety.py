"""State machine safety: no two agents apply different commands at the same index.

Source: Ongaro and Ousterhout (2014), figure 3. A restarted agent may apply its log again.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["STATE_MACHINE_SAFETY"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._applied: dict[Any, tuple[str, Any]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact != "apply":
            return None
        index, value = data["index"], data.get("value")
        first, applied = self._applied.setdefault(index, (event.agent, value))
        if applied == value:
            return None
        message = f"at index {index} {first} has applied {applied!r}, and {event.agent} applied {value!r}"
        facts = {"index": index, "values": (applied, value)}
        return Violation(STATE_MACHINE_SAFETY.name, message, event.at_ns, (first, event.agent), facts)

    def finish(self, final: FinalState) -> None:
        return None


STATE_MACHINE_SAFETY: Final = Property(
    "state_machine_safety", Kind.ALWAYS, "No two agents apply different commands at one index.", _Checker
)
