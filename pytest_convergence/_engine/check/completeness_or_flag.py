"""Completeness or flag: a result has all parts of its round, or names those that it lacks.

A partial answer is a good answer as long as it says so (E. Brewer, *Lessons from Giant-Scale Services*, IEEE Internet
Computing 5/4, 2001: harvest, the fraction of the complete answer that an answer reflects, is to be known).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rounds import Rounds

__all__ = ["COMPLETENESS_OR_FLAG"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._rounds = Rounds()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "round":
            self._rounds.begin(event.agent, data)
        elif fact == "part_counted":
            self._rounds.count(event.agent, data)
        elif fact == "merged":
            found = self._rounds.of(event.agent, data)
            flagged = list(data.get("missing", ()))
            lacks = [part for part in found.parts if part not in found.counted and part not in flagged]
            if lacks:
                names = ", ".join(map(repr, lacks))
                message = f"{event.agent} merged round {found.number} without {names}, and does not say so"
                facts = {"round": found.number, "lacks": tuple(lacks), "flagged": tuple(flagged)}
                return Violation(COMPLETENESS_OR_FLAG.name, message, event.at_ns, (event.agent,), facts)
        return None

    def finish(self, final: FinalState) -> None:
        return None


COMPLETENESS_OR_FLAG: Final = Property(
    "completeness_or_flag",
    Kind.HISTORY,
    "A result has all parts of its round, or names those that it lacks.",
    _Checker,
)
