"""No feedback loop: events do not cause each other without end.

Source: the hop budget is the time to live of the Internet Protocol (RFC 791), counted in events that cause each other.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_FEEDBACK_LOOP"]

_BUDGET: Final = 16
"""How long a chain may be where nobody says."""
_SHOWN: Final = 6


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._chains: dict[str, tuple[str, str | None, int]] = {}  # event -> topic, cause, hops

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact not in ("publish", "loop"):
            return None
        id, topic = str(data.get("event")), str(data.get("topic"))
        budget = data.get("budget", _BUDGET)
        if fact == "loop":  # whoever observes it has refused to publish
            return self._violation(event, [*self._topics(id), topic], budget)
        cause = data.get("cause")
        hops = 1 if cause is None else self._chains.get(cause, ("", None, 0))[2] + 1
        self._chains[id] = (topic, cause, hops)
        return self._violation(event, self._topics(id), budget) if hops > budget else None

    def _topics(self, id: str | None) -> list[str]:
        """The topics of the chain that ends with an event, first to last."""
        topics: list[str] = []
        while id is not None and id in self._chains:
            topic, id, _ = self._chains[id]
            topics.append(topic)
        return topics[::-1]

    def _violation(self, event: TraceEvent, topics: list[str], budget: Any) -> Violation:
        last = " → ".join(topics[-_SHOWN:])
        message = (
            f"handlers trigger each other: {len(topics)} events in a chain, more than {budget}: … {last}"
        )
        return Violation(NO_FEEDBACK_LOOP.name, message, event.at_ns, (event.agent,), {"topics": topics})

    def finish(self, final: FinalState) -> None:
        return None


NO_FEEDBACK_LOOP: Final = Property(
    "no_feedback_loop",
    Kind.ALWAYS,
    "No chain of events that cause each other is longer than its budget.",
    _Checker,
)
