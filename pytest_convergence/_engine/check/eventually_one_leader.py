"""Eventually one leader: once faults have stopped, exactly one agent of a live quorum leads.

Source: the failure detector Ω of T. Chandra, V. Hadzilacos, S. Toueg, *The Weakest Failure Detector for Solving Consensus*
(1996): from some time on all correct processes trust the same correct one.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["EVENTUALLY_ONE_LEADER"]


class _Checker:
    """Follows who believes to lead: until it steps down, follows, sees a higher term, or crashes."""

    kinds: Final = frozenset({"observe", "crash"})
    patient: Final = True  # an election may take longer than anything that agents sleep or wait

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._leads: dict[str, Any] = {}  # leader to its term, None where there are no terms

    def feed(self, event: TraceEvent) -> None:
        fact, data = fact_of(event)
        if fact == "leader":
            self._leads[event.agent] = data.get("term")
        elif (
            event.kind == "crash"
            or fact in ("step_down", "follow")
            or self._outdated(event.agent, fact, data)
        ):
            self._leads.pop(event.agent, None)

    def _outdated(self, agent: str, fact: str, data: Any) -> bool:
        led = self._leads.get(agent)
        return fact == "term" and led is not None and bool(data["term"] > led)

    def finish(self, final: FinalState) -> Violation | None:
        if not final.demands_progress(self._scope):
            return None
        leaders = tuple(agent for agent in self._scope.agents if agent in self._leads and agent in final.core)
        if len(leaders) == 1:
            return None
        if leaders:
            described = " and ".join(self._describe(agent) for agent in leaders)
            message = f"{described} all believe that they lead"
        else:
            message = f"nobody leads, although {', '.join(final.core)} are alive and connected"
        facts = {"leaders": leaders, "core": final.core}
        return Violation(EVENTUALLY_ONE_LEADER.name, message, final.at_ns, leaders, facts)

    def _describe(self, agent: str) -> str:
        term = self._leads[agent]
        return agent if term is None else f"{agent} (term {term})"


EVENTUALLY_ONE_LEADER: Final = Property(
    "eventually_one_leader",
    Kind.EVENTUALLY,
    "Once faults have stopped, one agent of a live quorum leads.",
    _Checker,
)
