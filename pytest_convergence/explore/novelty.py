"""Which abstract states a run passed through, for a search that goes on from where something new was met.

1. What agents say of themselves (facts, decisions, crashes) makes an abstract state: for each agent its latest facts.
   Numbers count by how far they lie behind the greatest that anybody has said (a term, an index), and agents are
   interchangeable; so "one agent leads, one is a term behind" is one state, whoever they are and whatever the term.
2. A state's number is the sum of its agents' numbers, so it is kept up to date by the agent that has just said something.
3. The first instant at which a run was in a state is where a search may branch off.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final, final

from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["StateWatch"]

WATCHED: Final = ("observe", "decide", "crash", "restart", "pause")
_FAR_BEHIND: Final = 3
_MASK: Final = (1 << 61) - 1


@final
class StateWatch:
    """Follows one session.

    Attributes:
        first_ns: the states that the run was in, each with the first instant.
    """

    __slots__ = ("_facts", "_greatest", "_numbers", "_total", "first_ns")

    def __init__(self) -> None:
        self.first_ns: dict[int, int] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._numbers: dict[str, int] = {}
        self._greatest: dict[tuple[str, str], int] = {}
        self._total = 0

    def begin(self, watchers: dict[str, list[Any]]) -> None:
        """Let a fabric show what happens."""
        for kind in WATCHED:
            watchers.setdefault(kind, []).append(self.see)

    def see(self, event: TraceEvent) -> None:
        """Take note of an event."""
        facts = self._facts.setdefault(event.agent, {})
        if event.kind == "observe" and isinstance(event.detail, Mapping):
            fact = str(event.detail.get("fact"))
            said = tuple(
                (name, self._abstract(fact, name, value))
                for name, value in event.detail.items()
                if name != "fact"
            )
            if facts.get(fact) == said:
                return
            facts[fact] = said
        elif event.kind == "crash":
            facts.clear()
            facts["crash"] = True
        else:
            facts.pop("crash", None)
            facts[event.kind] = True
        number = zlib.crc32(repr(sorted(facts.items())).encode()) * 0x9E3779B97F4A7C15 & _MASK
        self._total = (self._total + number - self._numbers.get(event.agent, 0)) & _MASK
        self._numbers[event.agent] = number
        if self._total not in self.first_ns:
            self.first_ns[self._total] = event.at_ns

    def _abstract(self, fact: str, name: str, value: Any) -> Any:
        """A number is as far behind as it is; yes, no and nothing are themselves; of all else only the type counts."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            key = (fact, name)
            greatest = self._greatest[key] = max(self._greatest.get(key, value), value)
            return min(greatest - value, _FAR_BEHIND)
        return type(value).__name__
