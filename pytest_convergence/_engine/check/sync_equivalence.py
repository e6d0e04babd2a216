"""Sync equivalence: whatever way replicas synchronise, they end where sending everybody everything would have ended.

That is the liveness half of strong eventual consistency, *eventual delivery* (M. Shapiro et al., Conflict-free Replicated
Data Types, 2011, definition 2.2): an update that one live connected replica has received, all of them receive in the end.
That equal updates mean equal states is the other half, :mod:`.sec`.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["SYNC_EQUIVALENCE"]


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"replica"})

    def __init__(self, scope: Scope) -> None:
        self._seen: dict[str, Any] = {}

    def feed(self, event: TraceEvent) -> None:
        fact, data = fact_of(event)
        if fact == "replica":
            self._seen[event.agent] = data.get("seen")

    def finish(self, final: FinalState) -> Violation | None:
        ended = [agent for agent in final.core if agent in self._seen]
        if not final.settled or not ended:
            return None
        first = ended[0]
        for other in ended[1:]:
            mine, theirs = self._seen[first], self._seen[other]
            if canonical(mine) != canonical(theirs):
                message = f"{first} and {other} did not receive the same updates in the end: {mine!r} and {theirs!r}"
                facts = {first: mine, other: theirs}
                return Violation(SYNC_EQUIVALENCE.name, message, final.at_ns, (first, other), facts)
        return None


SYNC_EQUIVALENCE: Final = Property(
    "sync_equivalence",
    Kind.EVENTUALLY,
    "In the end, live connected replicas have received the same updates.",
    _Checker,
)
