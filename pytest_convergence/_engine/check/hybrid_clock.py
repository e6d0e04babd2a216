"""Hybrid clock: what happened before has the smaller timestamp, and no timestamp runs ahead of physical time.

S. Kulkarni et al., *Logical Physical Clocks* (2014), theorem 1 (if e happened before f then (l, c) of e is less than that
of f) and theorem 3 (l is never further from physical time than the clocks of the agents are from each other). Agents that
carry hybrid clocks say them (``hybrid``), once for each event that they count.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.happened import MESSAGES, OWN_CHANNELS, Happened
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["HYBRID_CLOCK"]


class _Stamp(NamedTuple):
    l: Any  # noqa: E741 - the paper's name
    c: int


class _Checker:
    kinds: Final = MESSAGES
    facts: Final = frozenset({"hybrid", "disregard"})

    def __init__(self, scope: Scope) -> None:
        self._happened = Happened(OWN_CHANNELS)
        self._told: dict[str, list[_Stamp]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind != "observe":
            self._happened.take(event)
            return None
        fact, data = fact_of(event)
        if fact == "disregard":
            self._happened.disregard(event.agent)
        if fact != "hybrid" or "l" not in data:
            return None
        agent, now = event.agent, _Stamp(data["l"], data.get("c", 0))
        own = self._told.setdefault(agent, [])
        if own and own[-1] == now:
            return None  # the same event, told again
        known = self._happened.count(agent)
        for other, stamps in self._told.items():
            before = known[other] - (other == agent)
            if before and not stamps[before - 1] < now:
                stamp = stamps[before - 1]
                what = f"{other} at {tuple(stamp)} happened before {agent} at {tuple(now)}, and its stamp is not less"
                return Violation(HYBRID_CLOCK.name, what, event.at_ns, tuple(dict.fromkeys((other, agent))))
        own.append(now)
        most, physical = data.get("max_skew"), data.get("physical")
        if most is None or physical is None or now.l - physical <= most:
            return None
        ahead = f"{now.l - physical} ahead of its clock, {physical}; at most {most} are allowed"
        what = f"the stamp {tuple(now)} of {agent} is {ahead}"
        return Violation(
            HYBRID_CLOCK.name, what, event.at_ns, (agent,), {"physical": physical, "max_skew": most}
        )

    def finish(self, final: FinalState) -> None:
        return None


HYBRID_CLOCK: Final = Property(
    "hybrid_clock",
    Kind.HISTORY,
    "What happened before has the smaller hybrid timestamp, and none runs further ahead than clocks may differ.",
    _Checker,
)
"""Judged on ``hybrid`` facts and on messages."""
