"""The live updates of a replica: those that no other update has replaced, kept by path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from pytest_convergence._engine.state.paths import Path
from pytest_convergence._engine.state.updates import Dot, Update

__all__ = ["LiveUpdates"]


@final
class _Node:
    __slots__ = ("below", "here")

    def __init__(self) -> None:
        self.here: dict[Dot, Update] = {}
        self.below: dict[str, _Node] = {}

    def walk(self) -> Iterator[Update]:
        yield from self.here.values()
        for node in self.below.values():
            yield from node.walk()


@final
class LiveUpdates:
    """A tree of paths with the live updates at each of them. Finding what overlaps a path costs that path, not all."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, update: Update) -> None:
        """Add an update at its path."""
        node = self._root
        for segment in update.segments:
            below = node.below.get(segment)
            if below is None:
                below = node.below[segment] = _Node()
            node = below
        node.here[update.dot] = update

    def discard(self, update: Update) -> None:
        """Take an update out, and with it the nodes that it leaves empty."""
        trail = [self._root]
        for segment in update.segments:
            node = trail[-1].below.get(segment)
            if node is None:
                return
            trail.append(node)
        trail[-1].here.pop(update.dot, None)
        for parent, segment in zip(reversed(trail[:-1]), reversed(update.segments), strict=True):
            node = parent.below[segment]
            if node.here or node.below:
                break
            del parent.below[segment]

    def at(self, path: Path) -> tuple[Update, ...]:
        """The updates at exactly ``path``."""
        node = self._find(path)
        return tuple(node.here.values()) if node is not None else ()

    def at_or_below(self, path: Path) -> Iterator[Update]:
        """The updates at ``path`` and at every path that it is a prefix of."""
        node = self._find(path)
        return node.walk() if node is not None else iter(())

    def overlapping(self, path: Path) -> Iterator[Update]:
        """The updates whose path is a prefix of ``path``, or has it as a prefix."""
        node = self._root
        for segment in path:
            yield from node.here.values()
            below = node.below.get(segment)
            if below is None:
                return
            node = below
        yield from node.walk()

    def replaced_by(self, update: Update) -> tuple[Update, ...]:
        """The updates that are of no more use once ``update`` is here."""
        if update.operation == "append":
            return ()
        if update.operation == "increment":
            return tuple(other for other in self.at(update.segments) if update.replaces(other))
        return tuple(other for other in self.at_or_below(update.segments) if update.replaces(other))

    def __iter__(self) -> Iterator[Update]:
        return self._root.walk()

    def __len__(self) -> int:
        return sum(1 for _ in self._root.walk())

    def _find(self, path: Path) -> _Node | None:
        node: _Node | None = self._root
        for segment in path:
            node = node.below.get(segment) if node is not None else None
        return node
