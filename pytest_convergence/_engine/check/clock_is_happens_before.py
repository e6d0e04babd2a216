"""Clock is happens-before: of two events one happened before the other if and only if its vector clock is less.

C. Fidge, *Timestamps in Message-Passing Systems That Preserve the Partial Ordering* (1988); F. Mattern, *Virtual Time and
Global States of Distributed Systems* (1989), theorem 10. Agents that carry vector clocks say them (``clock``), once for each
event that they count. What really happened before what is read from the trace: a clock must be greater than that of every
event before, whichever message led there, and must not be where no message at all leads.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.happened import MESSAGES, OWN_CHANNELS, Happened
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import told

__all__ = ["CLOCK_IS_HAPPENS_BEFORE"]


class _Told(NamedTuple):
    agent: str
    number: int
    clock: VectorClock

    def __str__(self) -> str:
        return f"{self.agent}'s {dict(self.clock.items())}"


class _Checker:
    kinds: Final = MESSAGES
    facts: Final = frozenset({"clock", "disregard"})

    def __init__(self, scope: Scope) -> None:
        self._carried = Happened(OWN_CHANNELS)  # what a clock must know of: messages that could carry it
        self._any = Happened()  # what a clock can know of: by messages of every kind
        self._told: dict[str, list[_Told]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind != "observe":
            self._carried.take(event)
            if event.kind != "crash":
                self._any.take(event)
            return None
        fact, data = fact_of(event)
        if fact == "disregard":
            self._carried.disregard(event.agent)
        clock = told(data["clock"]) if fact == "clock" and "clock" in data else None
        if not isinstance(clock, VectorClock):
            return None
        own = self._told.setdefault(event.agent, [])
        if own and own[-1].clock == clock:
            return None  # the same event, told again
        now = _Told(event.agent, len(own) + 1, clock)
        must, may = self._carried.count(event.agent), self._any.count(event.agent)
        found = self._judge(now, must, may)
        own.append(now)
        if found is None:
            return None
        message, other = found
        facts = {"one": dict(other.clock.items()), "other": dict(clock.items())}
        agents = tuple(dict.fromkeys((other.agent, now.agent)))
        return Violation(CLOCK_IS_HAPPENS_BEFORE.name, message, event.at_ns, agents, facts)

    def _judge(self, now: _Told, must: VectorClock, may: VectorClock) -> tuple[str, _Told] | None:
        """Compare with the last event of each agent that happened before, the first that did not, and the latest."""
        for agent, events in self._told.items():
            before = must[agent] - (agent == now.agent)
            if before and not events[before - 1].clock < now.clock:
                other = events[before - 1]
                return f"{other} happened before {now}, and their clocks do not say so", other
            if agent == now.agent or not self._any.is_sure:
                continue
            for other in events[may[agent] : may[agent] + 1]:
                if other.clock < now.clock:
                    return f"{other} did not happen before {now}, and their clocks say so", other
            if events and now.clock < events[-1].clock:
                return f"{now} did not happen before {events[-1]}, and their clocks say so", events[-1]
        return None

    def finish(self, final: FinalState) -> None:
        return None


CLOCK_IS_HAPPENS_BEFORE: Final = Property(
    "clock_is_happens_before",
    Kind.HISTORY,
    "Of two events one happened before the other if and only if its vector clock is less.",
    _Checker,
)
"""Judged on ``clock`` facts and on messages."""
