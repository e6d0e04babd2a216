"""Which abstract states a run passed through, for a search that goes on from where something new was met.

1. What agents say of themselves (facts, decisions, crashes) makes an abstract state: for each agent the latest thing that
   it has said. Numbers count by whether they are the greatest that anybody has said (a term, an index) or lie behind, and
   agents are interchangeable; so "one agent leads, one votes in an older term" is one state, whoever they are and whatever
   the term. States that told more would nearly all be new, and none of them rare.
2. A state's number is the sum of its agents' numbers, so it is kept up to date by the agent that has just said something.
3. The first instant at which a run was in a state is where a search may branch off.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final, Self, final

from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["StateWatch"]

WATCHED: Final = ("observe", "decide", "crash", "restart", "pause")
_MASK: Final = (1 << 61) - 1


@final
class StateWatch:
    """Follows one session.

    Attributes:
        first_ns: the states that the run was in, each with the first instant.
    """

    __slots__ = ("_greatest", "_numbers", "_total", "first_ns")

    def __init__(self) -> None:
        self.first_ns: dict[int, int] = {}
        self._numbers: dict[str, int] = {}
        self._greatest: dict[tuple[str, str], int] = {}
        self._total = 0

    @classmethod
    def that_saw(cls, first_ns: Mapping[int, int]) -> Self:
        """Return what another process has followed a session with, as far as the search needs it."""
        watch = cls()
        watch.first_ns.update(first_ns)
        return watch

    def begin(self, watchers: dict[str, list[Any]]) -> None:
        """Let a fabric show what happens."""
        for kind in WATCHED:
            watchers.setdefault(kind, []).append(self.see)

    def see(self, event: TraceEvent) -> None:
        """Take note of an event."""
        said: tuple[Any, ...] = (event.kind,)
        if event.kind == "observe" and isinstance(event.detail, Mapping):
            fact = str(event.detail.get("fact"))
            said = (
                fact,
                *(self._abstract(fact, name, event.detail[name]) for name in event.detail if name != "fact"),
            )
        number = zlib.crc32(repr(said).encode()) * 0x9E3779B97F4A7C15 & _MASK
        before = self._numbers.get(event.agent, 0)
        if number == before:
            return
        self._total = (self._total + number - before) & _MASK
        self._numbers[event.agent] = number
        if self._total not in self.first_ns:
            self.first_ns[self._total] = event.at_ns

    def _abstract(self, fact: str, name: str, value: Any) -> Any:
        """A number is the greatest so far, or behind; yes, no and nothing are themselves; else only the type counts."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            key = (fact, name)
            greatest = self._greatest[key] = max(self._greatest.get(key, value), value)
            return "behind" if value < greatest else "greatest"
        return type(value).__name__
