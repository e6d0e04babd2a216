"""Capabilities match: who owns a work can do what it takes.

Smith, "The contract net protocol", IEEE Transactions on Computers, 1980: eligibility specifications of a task.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.ownership import told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["CAPABILITY_MATCH"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._offers: dict[str, set[Any]] = {}
        self._needed: dict[tuple[Any, Any], Any] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "offers":
            self._offers[event.agent] = set(data.get("capabilities") or ())
            return None
        said = told(event)
        if said is None:
            return None
        if said.fact == "offered":
            self._needed[said.task, said.token] = data.get("capabilities") or ()
        if said.fact != "own" or data.get("origin"):
            return None
        needed = data.get("capabilities") or self._needed.get((said.task, said.token)) or ()
        missing = sorted(set(needed) - self._offers.get(said.agent, set()), key=str)
        if not missing:
            return None
        what = ", ".join(map(str, missing))
        message = f"{said.agent} owns the work {said.task!r}, and does not offer what it takes: {what}"
        facts = {"task": said.task, "missing": missing}
        return Violation(CAPABILITY_MATCH.name, message, said.at_ns, (said.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


CAPABILITY_MATCH: Final = Property(
    "capability_match", Kind.ALWAYS, "Who owns a work offers every capability that it takes.", _Checker
)
