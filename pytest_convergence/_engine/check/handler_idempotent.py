"""Handlers are idempotent: an event that is delivered twice is handled once by each subscriber.

Source: the idempotent receiver of Hohpe and Woolf, *Enterprise Integration Patterns* (2003).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["HANDLER_IDEMPOTENT"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._handled: set[tuple[str, str]] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact != "handled":
            return None
        key = (event.agent, str(data.get("event")))
        if data.get("remembered") or key not in self._handled:
            self._handled.add(key)
            return None
        message = f"{event.agent} handled event {key[1]!r} a second time"
        return Violation(HANDLER_IDEMPOTENT.name, message, event.at_ns, (event.agent,), dict(data))

    def finish(self, final: FinalState) -> None:
        return None


HANDLER_IDEMPOTENT: Final = Property(
    "handler_idempotent",
    Kind.HISTORY,
    "No agent handles an event twice, however often it is delivered.",
    _Checker,
)
