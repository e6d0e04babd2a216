"""Declared order: an agent handles events in the order that was promised, fifo or causal.

Sources: Birman and Joseph, *Reliable communication in the presence of failures* (1987), for both orders; happens-before is
that of Lamport, *Time, clocks, and the ordering of events in a distributed system* (1978), over publishing and handling.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["DECLARED_ORDER"]


class _Published(NamedTuple):
    """An event: whose, which one of theirs, and how many of each agent's events its publisher knew of, this included."""

    id: str
    publisher: str
    number: int
    causal: bool
    known: dict[str, int]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._events: dict[str, _Published] = {}
        self._known: dict[str, dict[str, int]] = {}
        self._due: dict[
            tuple[str, str], list[_Published]
        ] = {}  # (subscriber, publisher): not handled yet, oldest first

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "publish" and data.get("event") not in self._events:
            self._publish(event.agent, str(data.get("event")), data)
        elif fact == "handled" and data.get("event") in self._events:
            return self._handled(event, self._events[data["event"]])
        return None

    def _publish(self, agent: str, id: str, data: Any) -> None:
        known = self._known.setdefault(agent, {})
        known[agent] = known.get(agent, 0) + 1
        published = _Published(id, agent, known[agent], data.get("order") == "causal", dict(known))
        self._events[id] = published
        for subscriber in data.get("to", ()):
            self._due.setdefault((subscriber, agent), []).append(published)

    def _handled(self, event: TraceEvent, published: _Published) -> Violation | None:
        agent = event.agent
        due = self._due.get((agent, published.publisher), [])
        if published in due:
            due.remove(published)
        missed = self._missed(agent, published)
        known = self._known.setdefault(agent, {})
        for publisher, number in published.known.items():
            known[publisher] = max(number, known.get(publisher, 0))
        if missed is None:
            return None
        before = "which was published before it" if not published.causal else "which happened before it"
        message = (
            f"{agent} handled event {published.id!r} of {published.publisher}, but not yet {missed.id!r} of "
            f"{missed.publisher}, {before}"
        )
        facts = {"handled": published.id, "missed": missed.id}
        return Violation(DECLARED_ORDER.name, message, event.at_ns, (agent, published.publisher), facts)

    def _missed(self, agent: str, published: _Published) -> _Published | None:
        reach = published.known if published.causal else {published.publisher: published.number}
        for publisher, number in reach.items():
            due = self._due.get((agent, publisher))
            if due and due[0].number <= number:
                return due[0]
        return None

    def finish(self, final: FinalState) -> None:
        return None


DECLARED_ORDER: Final = Property(
    "declared_order",
    Kind.HISTORY,
    "Events are handled in the declared order, fifo or causal.",
    _Checker,
)
