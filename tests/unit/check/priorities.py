"""Replicated registers as a user would write them that settle conflicts by priority or by rolling back, right and wrong.

Agents write in rounds and listen in between, so some writes meet. ``priority`` ages: who loses comes forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import ClassVar

from tests.unit.check.registers import Register, Write


class InOrder(Register):
    """Takes a write when all that its author had seen is here."""

    def __init__(self) -> None:
        self.early: list[Write] = []

    def take(self, write: Write) -> None:
        self.early.append(write)
        while ready := [each for each in self.early if all(id in self.known for id in each["seen"])]:
            self.early.remove(ready[0])
            super().take(ready[0])


class ByPriority(InOrder):
    """The highest priority stands, then the later write; whoever loses writes with one more the next time."""

    strategy: ClassVar[str] = "priority"
    turns: ClassVar[int] = 8
    base: ClassVar[dict[str, int]] = {"a": 0, "b": 2, "c": 2}

    def __init__(self) -> None:
        super().__init__()
        self.fared: dict[str, bool] = {}  # own writes that met others, in order: whether they won

    def stamp(self, write: Write) -> None:
        lost = takewhile(lambda won: not won, reversed(self.fared.values()))
        write["priority"] = self.base[self.agent.name] + sum(1 for _ in lost)

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return max(rivals, key=lambda write: (write["priority"], write["at"], write["by"], write["id"]))

    def report(self, rivals: Sequence[Write]) -> None:
        super().report(rivals)
        assert self.held is not None
        for write in rivals:
            if write["by"] == self.agent.name:
                self.fared[write["id"]] = self.held["by"] == self.agent.name


class LatestInsteadOfHighest(ByPriority):
    """Sends priorities along, and forgets to look at them."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return max(rivals, key=lambda write: (write["at"], write["by"], write["id"]))


class LowestIsFirst(ByPriority):
    """Takes 1 for more urgent than 2, unlike those who set the priorities."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return min(rivals, key=lambda write: (write["priority"], write["at"], write["by"], write["id"]))


class NeverComesForward(ByPriority):
    """Priorities are fixed: the least urgent loses as long as the others write."""

    def stamp(self, write: Write) -> None:
        write["priority"] = self.base[self.agent.name]


class ByRollback(InOrder):
    """A conflict takes all rivals back, to what their writers had all seen."""

    strategy: ClassVar[str] = "rollback"

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return rivals[0] if len(rivals) == 1 else self.ancestor(rivals)

    def ancestor(self, rivals: Sequence[Write]) -> Write:
        """The newest write that all had seen, and that was not taken back itself; a write of nothing if there is none."""
        nothing: Write = {"id": "", "by": "", "value": None, "at": 0, "seen": [], "path": "title"}
        shared = set.intersection(*(set(write["seen"]) for write in rivals))
        found = [self.known[id] for id in sorted(shared)]
        newest = [one for one in found if not any(one["id"] in other["seen"] for other in found)]
        return newest[0] if len(newest) == 1 else nothing

    def report(self, rivals: Sequence[Write]) -> None:
        assert self.held is not None
        ids = [write["id"] for write in rivals]
        value = self.held["value"]
        self.agent.observe("conflict", path="title", writes=ids, value=value, strategy=self.strategy)


class KeepsOneOfThem(ByRollback):
    """Takes back all but the last."""

    def report(self, rivals: Sequence[Write]) -> None:
        assert self.held is not None
        self.held = max(rivals, key=lambda write: (write["at"], write["by"], write["id"]))
        ids = [write["id"] for write in rivals]
        self.agent.observe(
            "conflict", path="title", writes=ids, winner=self.held["id"], strategy=self.strategy
        )


class BackToWhatItHeld(ByRollback):
    """Goes back to what was there before the later of them came, here: one of the rivals, or what others never saw."""

    def choose(self, rivals: Sequence[Write], arrived: Write) -> Write:
        return rivals[0] if len(rivals) == 1 else self.held or rivals[0]
