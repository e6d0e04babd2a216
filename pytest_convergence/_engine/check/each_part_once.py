"""Each part once: a part of a round counts once, however often its answer arrives, and nothing else counts.

Messages are delivered at least once; what makes an effect happen once is that the receiver recognises a repetition
(J. Gray, A. Reuter, *Transaction Processing*, 1993, on idempotent and testable actions).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rounds import Rounds

__all__ = ["EACH_PART_ONCE"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._rounds = Rounds()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "round":
            self._rounds.begin(event.agent, data)
            return None
        if fact != "part_counted":
            return None
        found, now, before = self._rounds.count(event.agent, data)
        part = data.get("part")
        facts = {"round": found.number, "part": part, "by": now.by}
        if before is not None and before.by == now.by:
            message = f"{event.agent} counted the part {part!r} of round {found.number} twice, both times by {now.by}"
            return Violation(EACH_PART_ONCE.name, message, event.at_ns, (event.agent, now.by), facts)
        if found.parts and part not in found.parts:
            message = f"{event.agent} counted {part!r} in round {found.number}, which has no such part ({found.parts!r})"
            return Violation(EACH_PART_ONCE.name, message, event.at_ns, (event.agent, now.by), facts)
        return None

    def finish(self, final: FinalState) -> None:
        return None


EACH_PART_ONCE: Final = Property(
    "each_part_once", Kind.HISTORY, "Each part of a round counts once, and nothing else counts.", _Checker
)
