"""Log without gap: a log has every event of an author once and in order, from the first to the last that it has.

The events of one author are numbered from 1. A gap loses an event for good, for whoever reads the log by its end asks for
later ones only; a second copy counts twice in the fold (M. Fowler, *Event Sourcing*, 2005: the state is what the complete
sequence of events comes to; the same of logs as *agreement, order*: F. Schneider, *Implementing Fault-Tolerant Services
Using the State Machine Approach*, 1990, section 2).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import told

__all__ = ["LOG_WITHOUT_GAP"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})
    facts: Final = frozenset({"logged"})

    def __init__(self, scope: Scope) -> None:
        self._ends: dict[str, dict[str, int]] = {}
        self._unsure: set[str] = set()  # have crashed, and not said where their log ends now

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            self._unsure.add(event.agent)
            return None
        fact, data = fact_of(event)
        if fact != "logged":
            return None
        if "upto" in data:
            self._unsure.discard(event.agent)
            upto = told(data["upto"])
            self._ends[event.agent] = dict(upto.items()) if isinstance(upto, VectorClock) else {}
        events = [(str(author), int(number)) for author, number in data.get("events", ())]
        if event.agent in self._unsure:  # begins with what comes first
            self._unsure.discard(event.agent)
            self._ends[event.agent] = {author: number - 1 for author, number in reversed(events)}
        for author, number in events:
            found = self._take(event, author, number)
            if found is not None:
                return found
        return None

    def _take(self, event: TraceEvent, author: str, number: int) -> Violation | None:
        ends = self._ends.setdefault(event.agent, {})
        last = ends.get(author, 0)
        if number == last + 1:
            ends[author] = number
            return None
        what = (
            f"has event {number} of {author} twice"
            if number <= last
            else f"lacks event {last + 1} of {author}"
        )
        message = f"the log of {event.agent} {what}: after {last} came {number}"
        facts = {"author": author, "last": last, "number": number}
        return Violation(LOG_WITHOUT_GAP.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


LOG_WITHOUT_GAP: Final = Property(
    "log_without_gap",
    Kind.ALWAYS,
    "A log has every event of an author once and in order.",
    _Checker,
)
"""Judged on ``logged`` facts."""
