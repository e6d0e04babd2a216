"""Term monotonic: within one life, an agent's term never decreases (Ongaro and Ousterhout 2014, section 5.1).

What holds across a restart is a matter of promises: :mod:`.promises_survive_restart`.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["TERM_MONOTONIC"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._terms: dict[str, Any] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            self._terms.pop(event.agent, None)
            return None
        fact, data = fact_of(event)
        if fact != "term":
            return None
        term = data["term"]
        before = self._terms.get(event.agent, term)
        self._terms[event.agent] = term
        if term >= before:
            return None
        message = f"the term of {event.agent} went back from {before} to {term}"
        facts = {"before": before, "after": term}
        return Violation(TERM_MONOTONIC.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


TERM_MONOTONIC: Final = Property(
    "term_monotonic", Kind.TRANSITION, "The term of a living agent never decreases.", _Checker
)
