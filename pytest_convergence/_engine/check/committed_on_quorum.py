"""Committed on a quorum: an entry is committed only when a quorum of the *configured* agents hold it durably.

Source: Ongaro and Ousterhout (2014), section 5.3. A quorum of those that can be reached is not one.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.logs import Commits
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["COMMITTED_ON_QUORUM"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._commits = Commits()

    def feed(self, event: TraceEvent) -> Violation | None:
        agent = event.agent
        if event.kind == "crash":
            self._commits.crashed(agent)
            return None
        fact, data = fact_of(event)
        model = self._commits.model
        model.take(agent, fact, data)
        fresh = self._commits.take(agent, fact, data)
        for placed in fresh:
            holders = [name for name in model.holders(placed) if name in self._scope.agents]
            if len(holders) < self._scope.needed:
                message = (
                    f"{agent} says that entry {placed.index} ({placed.item}) is committed, but only {', '.join(holders)} "
                    f"hold it: {len(holders)} of {len(self._scope.agents)} agents, and {self._scope.needed} are needed"
                )
                facts = {"index": placed.index, "holders": tuple(holders), "needed": self._scope.needed}
                return Violation(COMMITTED_ON_QUORUM.name, message, event.at_ns, (agent,), facts)
        if fact == "commit" and agent in model.logs and data["index"] > len(model.logs[agent]):
            message = f"{agent} says that entry {data['index']} is committed, which it does not hold itself"
            return Violation(
                COMMITTED_ON_QUORUM.name, message, event.at_ns, (agent,), {"index": data["index"]}
            )
        return None

    def finish(self, final: FinalState) -> None:
        return None


COMMITTED_ON_QUORUM: Final = Property(
    "committed_on_quorum",
    Kind.ALWAYS,
    "What is committed is held by a quorum of the configured agents.",
    _Checker,
)
