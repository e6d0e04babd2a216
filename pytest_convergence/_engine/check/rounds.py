"""What is known of the rounds of a parallel merge, from the facts ``round``, ``part_counted`` and ``merged``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

__all__ = ["Counted", "Round", "Rounds"]


class Counted(NamedTuple):
    """One answer that counts: who gave it, and what it was (in a tuple, empty where the fact does not say)."""

    by: str
    value: tuple[Any, ...]


@final
class Round:
    """One round of one agent that collects.

    Attributes:
        number: its number.
        parts: the parts that it is to collect, in the declared order; empty if the agent did not say.
        counted: the answers that count, by part, in the order in which they came.
    """

    __slots__ = ("counted", "number", "parts")

    def __init__(self, number: Any) -> None:
        self.number = number
        self.parts: list[Any] = []
        self.counted: dict[Any, Counted] = {}


@final
class Rounds:
    """All rounds, by the agent that collects and their number."""

    __slots__ = ("_rounds",)

    def __init__(self) -> None:
        self._rounds: dict[tuple[str, Any], Round] = {}

    def of(self, agent: str, data: Mapping[str, Any]) -> Round:
        """Return the round that a fact of ``agent`` speaks of."""
        key = (agent, data.get("round"))
        found = self._rounds.get(key)
        if found is None:
            found = self._rounds[key] = Round(key[1])
        return found

    def begin(self, agent: str, data: Mapping[str, Any]) -> Round:
        """Take a fact ``round``: the agent begins, or begins again after a crash with what it says that it kept."""
        found = self.of(agent, data)
        found.parts = list(data.get("parts", ()))
        kept = list(data.get("counted", ()))
        found.counted = {part: found.counted.get(part, Counted(str(part), ())) for part in kept}
        return found

    def count(self, agent: str, data: Mapping[str, Any]) -> tuple[Round, Counted, Counted | None]:
        """Take a fact ``part_counted``; return the round, the answer, and the one that counted already, if any did."""
        found = self.of(agent, data)
        part = data.get("part")
        value = (data["value"],) if "value" in data else ()
        now = Counted(str(data.get("by", part)), value)
        before = found.counted.get(part)
        if before is None:
            found.counted[part] = now
        return found, now, before
