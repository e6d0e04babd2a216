"""Failover within a bound: a work whose owner has failed for good gets another one.

Demanded at the end, of a live quorum, if somebody in it offers what the work takes and has room, and the bound has passed
since the owner crashed: ``failover`` seconds of the fact ``own``, 60 where it does not say.

Chandra and Toueg, "Unreliable failure detectors for reliable distributed systems", JACM 1996: strong completeness, every
crashed process is suspected in the end.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.ownership import GAINS, LOSSES, Told, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["FAILOVER_WITHIN"]

_BOUND_SECONDS: Final = 60.0


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._owned: dict[Any, Told] = {}
        self._crashed_ns: dict[str, int] = {}
        self._offers: dict[str, tuple[set[Any], Any]] = {}

    def feed(self, event: TraceEvent) -> None:
        if event.kind == "crash":
            self._crashed_ns[event.agent] = event.at_ns
            return
        fact, data = fact_of(event)
        if fact == "offers":
            self._offers[event.agent] = (set(data.get("capabilities") or ()), data.get("capacity"))
            return
        said = told(event)
        if said is None:
            return
        if said.fact in GAINS and not data.get("origin"):
            before = self._owned.get(said.task)
            if said.fact == "own" or before is None or before.agent != said.agent:
                self._owned[said.task] = said
        elif said.fact in LOSSES and self._owner_of(said.task) == said.agent:
            del self._owned[said.task]

    def _owner_of(self, task: Any) -> str | None:
        said = self._owned.get(task)
        return None if said is None else said.agent

    def finish(self, final: FinalState) -> Violation | None:
        if not final.demands_progress(self._scope):
            return None
        for task, said in self._owned.items():
            failed_ns = self._crashed_ns.get(said.agent)
            if said.agent in final.views or failed_ns is None or said.fact != "own":
                continue
            seconds = (final.at_ns - failed_ns) / NS_PER_SECOND
            bound = said.data.get("failover", _BOUND_SECONDS)
            able = self._able(said, final)
            if seconds > bound and able is not None:
                message = (
                    f"{said.agent}, which owned the work {task!r}, has been down for {seconds:.1f} s, and nobody has taken "
                    f"over within {bound:g} s, although {able} could"
                )
                return Violation(
                    FAILOVER_WITHIN.name, message, final.at_ns, (said.agent, able), {"task": task}
                )
        return None

    def _able(self, said: Told, final: FinalState) -> str | None:
        needed = set(said.data.get("capabilities") or ())
        for agent in final.core:
            capabilities, capacity = self._offers.get(agent, (None, None))
            load = sum(each.agent == agent for each in self._owned.values())
            if capabilities is not None and needed <= capabilities and (capacity is None or load < capacity):
                return agent
        return None


FAILOVER_WITHIN: Final = Property(
    "failover_within",
    Kind.EVENTUALLY,
    "A work whose owner has failed for good gets another owner within the bound.",
    _Checker,
)
