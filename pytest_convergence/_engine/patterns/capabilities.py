"""Who can do what, and how much room there is: from it the taker of a work is chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, final

__all__ = ["CapabilityRegistry", "Standing"]


class Standing(NamedTuple):
    """What an agent says of itself.

    Attributes:
        agent: its name.
        capabilities: what it can do.
        load: how many works it has.
        capacity: how many it takes, ``None`` for any number.
        priority: which of two equally loaded agents is asked first: the one with more.
        declared: whether it said that it takes work at all; one that did not is given work by name only.
    """

    agent: str
    capabilities: tuple[str, ...] = ()
    load: int = 0
    capacity: int | None = None
    priority: int = 0
    declared: bool = False

    @property
    def has_room(self) -> bool:
        """Whether it takes one more."""
        return self.capacity is None or self.load < self.capacity

    def can(self, capabilities: Iterable[str]) -> bool:
        """Whether it has all of ``capabilities``."""
        return set(self.capabilities).issuperset(capabilities)

    def wire(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**self._asdict(), "capabilities": list(self.capabilities)}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Standing:
        """Return what :meth:`wire` wrote."""
        return cls(**{**data, "capabilities": tuple(data["capabilities"])})


@final
class CapabilityRegistry:
    """What some agents have said of themselves, and the order in which they are asked."""

    __slots__ = ("_standings",)

    def __init__(self, standings: Iterable[Standing] = ()) -> None:
        self._standings = {each.agent: each for each in standings}

    def note(self, standing: Standing) -> None:
        """Take note of what an agent says; the latest word counts."""
        self._standings[standing.agent] = standing

    def __contains__(self, agent: str) -> bool:
        return agent in self._standings

    def __len__(self) -> int:
        return len(self._standings)

    def capable(self, capabilities: Collection[str]) -> tuple[Standing, ...]:
        """Return who has the capabilities, room or not: the least loaded first, then by priority, then by name."""
        found = [each for each in self._standings.values() if each.declared and each.can(capabilities)]
        return tuple(sorted(found, key=lambda each: (each.load, -each.priority, each.agent)))

    def choose(self, capabilities: Collection[str], but: Collection[str] = ()) -> str | None:
        """Return whom to ask first, ``None`` if nobody is able and has room.

        Args:
            but: agents that are not to be asked.
        """
        for each in self.capable(capabilities):
            if each.has_room and each.agent not in but:
                return each.agent
        return None
