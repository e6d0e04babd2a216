"""Decision stable: a decision outlives its agent's crashes.

Source: M. Aguilera, W. Chen, S. Toueg, *Failure Detection and Consensus in the Crash-Recovery Model* (2000): agreement binds
all decisions of an agent, those before a crash and those after it.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.decisions import Decided
from pytest_convergence._engine.check.facts import decided_value
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["DECISION_STABLE"]


class _Checker:
    """Compares what an agent decides with what it decided in earlier lives."""

    kinds: Final = frozenset({"observe", "decide", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._now: dict[str, Decided] = {}
        self._before: dict[str, Decided] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        agent = event.agent
        if event.kind == "crash":
            if agent in self._now:
                self._before[agent] = self._now.pop(agent)
            return None
        decided = decided_value(event)
        if decided is None:
            return None
        now = self._now[agent] = Decided(agent, decided[0], event.at_ns)
        before = self._before.get(agent)
        if before is None or before.value == now.value:
            return None
        message = f"{before}, crashed, and decided {now.value!r} when it was back"
        facts = {"before": before.value, "after": now.value}
        return Violation(DECISION_STABLE.name, message, event.at_ns, (agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


DECISION_STABLE: Final = Property(
    "decision_stable", Kind.TRANSITION, "An agent that restarts decides nothing else than before.", _Checker
)
