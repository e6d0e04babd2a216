"""Triggers fire once: an event causes what its handler publishes once, and in the end reaches every subscriber.

Source: exactly-once processing as in Kafka Streams (Wang et al., *Consistency and completeness*, SIGMOD 2021): the input is
marked as consumed, and the output published, in one atomic step.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["TRIGGER_ONCE"]

_YOUNG_NS: Final = 1_000_000_000
"""An event published so shortly before a run was cut off may still be on its way."""


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._published: dict[str, tuple[str, int, tuple[str, ...]]] = {}
        self._caused: dict[tuple[Any, ...], str] = {}
        self._handled: set[tuple[str, str]] = set()
        self._busy: dict[str, str] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        agent, id = event.agent, str(data.get("event"))
        if fact == "publish":
            return self._publish(event, id, data)
        if fact == "handle":
            self._busy[agent] = id
        elif fact == "handled":
            self._handled.add((agent, id))
            self._busy.pop(agent, None)
        elif event.kind == "crash":
            self._busy.pop(agent, None)
        return None

    def _publish(self, event: TraceEvent, id: str, data: Any) -> Violation | None:
        agent = event.agent
        self._published.setdefault(id, (agent, event.at_ns, tuple(data.get("to", ()))))
        cause = data.get("cause")
        if cause is None:
            return None
        first = self._caused.setdefault((agent, cause, data.get("topic"), data.get("place")), id)
        if first == id:
            return None
        topic = data.get("topic")
        message = f"event {cause!r} made {agent} publish {id!r} to {topic!r} after it had published {first!r} for it"
        return Violation(TRIGGER_ONCE.name, message, event.at_ns, (agent,), dict(data))

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        is_over = all(
            isinstance(view, dict) and view.get("pattern") is not None for view in final.views.values()
        )
        for id, (publisher, at_ns, to) in self._published.items():
            if publisher not in final.core or (not is_over and final.at_ns - at_ns < _YOUNG_NS):
                continue
            for agent in to:
                if agent in final.core and agent not in self._busy and (agent, id) not in self._handled:
                    message = f"{agent} never handled event {id!r} that {publisher} published"
                    return Violation(
                        TRIGGER_ONCE.name, message, final.at_ns, (publisher, agent), {"event": id}
                    )
        return None


TRIGGER_ONCE: Final = Property(
    "trigger_once",
    Kind.EVENTUALLY,
    "An event reaches every subscriber in the end, and causes each publication once.",
    _Checker,
)
