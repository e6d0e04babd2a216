"""Delegation is acyclic: nobody is given a part of a task that comes from them.

Source: delegation as a wait-for relation; a cycle in it is a deadlock (Coffman, Elphick and Shoshani, *System Deadlocks*,
1971).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegations, task_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["ACYCLIC_DELEGATION"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()

    def feed(self, event: TraceEvent) -> Violation | None:
        self._delegations.feed(event)
        fact, data = fact_of(event)
        if fact != "delegate":
            return None
        givers = [task.by for task in self._delegations.above(task_of(data))]
        if data.get("to") not in givers:
            return None
        chain = " → ".join([*reversed(givers), str(data["to"])])
        message = f"{event.agent} delegated {task_of(data)!r} to {data['to']}, from whom it comes: {chain}"
        return Violation(ACYCLIC_DELEGATION.name, message, event.at_ns, (event.agent,), dict(data))

    def finish(self, final: FinalState) -> None:
        return None


ACYCLIC_DELEGATION: Final = Property(
    "acyclic_delegation",
    Kind.ALWAYS,
    "Nobody is delegated a part of a task that they delegated themselves.",
    _Checker,
)
