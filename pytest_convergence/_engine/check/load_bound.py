"""Load is bounded: no agent takes more works at a time than it said that it has room for.

Smith, "The contract net protocol", IEEE Transactions on Computers, 1980: a contractor answers by the room that it has.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.ownership import GAINS, LOSSES, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["LOAD_BOUND"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._capacity: dict[str, Any] = {}
        self._works: dict[str, dict[Any, None]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            self._works.pop(event.agent, None)  # what it still has it will say
            return None
        fact, data = fact_of(event)
        if fact == "offers":
            self._capacity[event.agent] = data.get("capacity")
            return None
        said = told(event)
        if said is None or data.get("origin"):
            return None
        works = self._works.setdefault(said.agent, {})
        if said.fact in LOSSES:
            works.pop(said.task, None)
        capacity = self._capacity.get(said.agent)
        if said.fact not in GAINS or said.task in works:
            return None
        if said.fact == "taken" and data.get("reason") == "failure-recovery":
            return (
                None  # it saves the work of a failed owner, room or not; if it acts on it, that is room taken
            )
        works[said.task] = None
        if capacity is None or len(works) <= capacity:
            return None
        message = f"{said.agent} has {len(works)} works at a time, but room for {capacity}"
        facts = {"works": list(works), "capacity": capacity}
        return Violation(LOAD_BOUND.name, message, said.at_ns, (said.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


LOAD_BOUND: Final = Property(
    "load_bound", Kind.ALWAYS, "No agent takes more works at a time than it has room for.", _Checker
)
