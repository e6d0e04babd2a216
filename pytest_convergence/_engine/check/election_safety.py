"""Election safety: at most one leader in a term, over all that ever led (Ongaro and Ousterhout 2014, figure 3)."""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["ELECTION_SAFETY"]


class _Checker:
    """Remembers who led each term; a snapshot of the present leaders would be too weak."""

    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._led: dict[Any, tuple[str, int]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact != "leader" or data.get("term") is None:
            return None
        term = data["term"]
        first, since_ns = self._led.setdefault(term, (event.agent, event.at_ns))
        if first == event.agent:
            return None
        message = f"{first} (since {format_ns(since_ns)}) and {event.agent} both became leader of term {term}"
        return Violation(ELECTION_SAFETY.name, message, event.at_ns, (first, event.agent), {"term": term})

    def finish(self, final: FinalState) -> None:
        return None


ELECTION_SAFETY: Final = Property("election_safety", Kind.HISTORY, "No term ever has two leaders.", _Checker)
