"""Strong eventual consistency: replicas that have received the same updates are equal, at once.

M. Shapiro, N. Preguiça, C. Baquero, M. Zawirski, Conflict-free Replicated Data Types, 2011, definition 2.2. "At once" is
what makes it stronger than agreement in the end: a rule such as "what arrived last stays" may well agree in the end.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["SEC"]


class _Held(NamedTuple):
    agent: str
    text: str
    state: Any


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"replica"})

    def __init__(self, scope: Scope) -> None:
        self._first: dict[str, _Held] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact != "replica":
            return None
        state = data.get("state")
        now = _Held(event.agent, canonical(state), state)
        first = self._first.setdefault(canonical(data.get("seen")), now)
        if first.text == now.text:
            return None
        agents = tuple(dict.fromkeys((first.agent, now.agent)))
        message = f"{' and '.join(agents)} held different states of the same updates: {first.state!r} and {now.state!r}"
        facts = {"seen": data.get("seen"), first.agent: first.state, now.agent: now.state}
        return Violation(SEC.name, message, event.at_ns, agents, facts)

    def finish(self, final: FinalState) -> None:
        return None


SEC: Final = Property(
    "sec", Kind.ALWAYS, "Replicas that have received the same updates are equal, at once.", _Checker
)
