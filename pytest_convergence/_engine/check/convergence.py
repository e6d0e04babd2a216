"""Convergence: at the end, the live connected agents expose equal views.

Source: W. Vogels, *Eventually Consistent* (CACM 52/1, 2009): when no new updates come, all replicas return the same in the
end.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["CONVERGENCE"]


class _Checker:
    kinds: Final[frozenset[str]] = frozenset()

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def feed(self, event: TraceEvent) -> None:
        return None

    def finish(self, final: FinalState) -> Violation | None:
        agents = [agent for agent in final.core if agent in final.views]
        for agent in agents[1:]:
            first = agents[0]
            if final.views[agent] != final.views[first]:
                mine, other = final.views[first], final.views[agent]
                message = f"{first} and {agent} ended with different views: {mine!r} and {other!r}"
                facts = {first: mine, agent: other}
                return Violation(CONVERGENCE.name, message, final.at_ns, (first, agent), facts)
        return None


CONVERGENCE: Final = Property(
    "convergence", Kind.EVENTUALLY, "In the end, live connected agents expose equal views.", _Checker
)
