"""What agents have said of their logs, as the properties of replication see it: read from facts, for the dead too.

A log is what its agent holds *durably*: a crash leaves it as it is, unless the next life says otherwise (``log``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, final

__all__ = ["Commits", "Item", "LogModel", "Placed"]

LOG_FACTS: Final = frozenset({"append", "truncate", "log"})


class Item(NamedTuple):
    """One entry of a log: the term in which it was made, and its command."""

    term: Any
    value: Any

    def __str__(self) -> str:
        what = "no command" if self.value is None else repr(self.value)
        return f"{what} of term {self.term}"


class Placed(NamedTuple):
    """An entry and where it stands, counted from 1."""

    index: int  # type: ignore[assignment]  # tuple.index gives way to the field
    item: Item


@final
class LogModel:
    """The logs of all agents.

    Attributes:
        logs: agent to its entries; ``None`` stands for what it never spoke of.
    """

    __slots__ = ("logs",)

    def __init__(self) -> None:
        self.logs: dict[str, list[Item | None]] = {}

    def at(self, agent: str, index: int) -> Item | None:
        """Return the entry that an agent holds at ``index``, ``None`` if there is none."""
        log = self.logs.get(agent, ())
        return log[index - 1] if 0 < index <= len(log) else None

    def holders(self, placed: Placed) -> tuple[str, ...]:
        """Return the agents that hold just this entry, in the order in which they first spoke."""
        return tuple(agent for agent in self.logs if self.at(agent, placed.index) == placed.item)

    def take(self, agent: str, fact: str, data: Mapping[str, Any]) -> tuple[list[Placed], list[Placed]]:
        """Take a fact; return the entries that the agent gained by it, and those that it lost."""
        if fact not in LOG_FACTS:
            return [], []
        log = self.logs.setdefault(agent, [])
        if fact == "log":
            return self._replace(log, 1, [Item(*entry) for entry in data["entries"]])
        index: int = data["index"]
        if fact == "truncate":
            return self._replace(log, index, [])
        item = Item(data["term"], data.get("value"))
        if index <= len(log) and log[index - 1] == item:
            return [], []  # it says again what it has
        log += [None] * (index - 1 - len(log))
        return self._replace(log, index, [item])

    def _replace(
        self, log: list[Item | None], first: int, items: Sequence[Item]
    ) -> tuple[list[Placed], list[Placed]]:
        old = log[first - 1 :]
        log[first - 1 :] = items
        gained = [
            Placed(first + place, item)
            for place, item in enumerate(items)
            if place >= len(old) or old[place] != item
        ]
        lost = [
            Placed(first + place, item)
            for place, item in enumerate(old)
            if item is not None and (place >= len(items) or items[place] != item)
        ]
        return gained, lost


@final
class Commits:
    """Which entries are committed, and since which term, as the agents say.

    Attributes:
        model: the logs that the entries are looked up in.
        entries: index to the entry that was first said to be committed there.
        terms: index to the lowest term of an agent that said so; without an entry where nobody spoke of terms.
    """

    __slots__ = ("_known", "_terms_now", "entries", "model", "terms")

    def __init__(self) -> None:
        self.model = LogModel()
        self.entries: dict[int, Item] = {}
        self.terms: dict[int, Any] = {}
        self._known: dict[str, int] = {}  # agent to what it said in this life
        self._terms_now: dict[str, Any] = {}

    def crashed(self, agent: str) -> None:
        """What an agent knew to be committed is volatile."""
        self._known.pop(agent, None)

    def is_behind(self, agent: str, index: int) -> bool:
        """Whether an agent has not come to the term in which the entry at ``index`` was committed."""
        now, then = self._terms_now.get(agent), self.terms.get(index)
        return now is not None and then is not None and bool(now < then)

    def take(self, agent: str, fact: str, data: Mapping[str, Any]) -> list[Placed]:
        """Take a ``commit`` or ``term`` fact; return the entries that nobody had said to be committed before.

        What the agent itself does not hold is left out.
        """
        if fact in ("term", "leader") and data.get("term") is not None:
            self._terms_now[agent] = data["term"]
        if fact != "commit":
            return []
        index, term = data["index"], data.get("term", self._terms_now.get(agent))
        fresh = []
        for place in range(self._known.get(agent, 0) + 1, index + 1):
            item = self.model.at(agent, place)
            if item is None:
                continue
            if place not in self.entries:
                self.entries[place] = item
                fresh.append(Placed(place, item))
            if term is not None and self.entries[place] == item:
                self.terms[place] = min(term, self.terms.get(place, term))
        self._known[agent] = max(index, self._known.get(agent, 0))
        return fresh
