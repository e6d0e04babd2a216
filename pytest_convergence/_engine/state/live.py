"""The live updates of a replica: those that no other update has replaced, kept by path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from pytest_convergence._engine.state.paths import Path
from pytest_convergence._engine.state.updates import ADDING, Update
from pytest_convergence._engine.state.values import encode

__all__ = ["LiveUpdates"]

_ABOUT_ITEMS: Final = ("add", "discard")


@final
class _Node:
    """What is live at one path: by author in the order of numbers, and the writes about items of a set by item."""

    __slots__ = ("below", "here", "items")

    def __init__(self) -> None:
        self.here: dict[str, dict[int, Update]] = {}
        self.items: dict[bytes, list[Update]] = {}
        self.below: dict[str, _Node] = {}

    def updates(self) -> Iterator[Update]:
        for written in self.here.values():
            yield from written.values()

    def unseen(self, update: Update) -> Iterator[Update]:
        """Those that ``update`` has not seen: of each author the newest."""
        context = update.context
        for author, written in self.here.items():
            seen = context[author]
            for counter in reversed(written):
                if counter <= seen:
                    break
                yield written[counter]

    def walk(self) -> Iterator[_Node]:
        yield self
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
        author, counter = update.dot
        written = node.here.setdefault(author, {})
        if written and counter < next(reversed(written)):
            node.here[author] = dict(sorted([*written.items(), (counter, update)]))
        else:
            written[counter] = update
        if update.operation in _ABOUT_ITEMS:
            node.items.setdefault(encode(update.stored), []).append(update)

    def discard(self, update: Update) -> None:
        """Take an update out, and with it the nodes that it leaves empty."""
        trail = [self._root]
        for segment in update.segments:
            node = trail[-1].below.get(segment)
            if node is None:
                return
            trail.append(node)
        node = trail[-1]
        written = node.here.get(update.dot.agent)
        if written is None or written.pop(update.dot.counter, None) is None:
            return
        if not written:
            del node.here[update.dot.agent]
        if update.operation in _ABOUT_ITEMS:
            key = encode(update.stored)
            node.items[key].remove(update)
            if not node.items[key]:
                del node.items[key]
        for parent, segment in zip(reversed(trail[:-1]), reversed(update.segments), strict=True):
            node = parent.below[segment]
            if node.here or node.below:
                break
            del parent.below[segment]

    def at(self, path: Path) -> tuple[Update, ...]:
        """The updates at exactly ``path``."""
        node = self._find(path)
        return tuple(node.updates()) if node is not None else ()

    def at_or_below(self, path: Path) -> Iterator[Update]:
        """The updates at ``path`` and at every path that it is a prefix of."""
        node = self._find(path)
        for each in node.walk() if node is not None else ():
            yield from each.updates()

    def overlapping(self, path: Path) -> Iterator[Update]:
        """The updates whose path is a prefix of ``path``, or has it as a prefix."""
        for node in self._overlapping(path):
            yield from node.updates()

    def unseen(self, update: Update) -> Iterator[Update]:
        """The updates that overlap ``update`` and that its author had not seen."""
        for node in self._overlapping(update.segments):
            yield from node.unseen(update)

    def _overlapping(self, path: Path) -> Iterator[_Node]:
        node = self._root
        for segment in path:
            yield node
            below = node.below.get(segment)
            if below is None:
                return
            node = below
        yield from node.walk()

    def replaced_by(self, update: Update) -> tuple[Update, ...]:
        """The updates that are of no more use once ``update`` is here."""
        if update.operation in ADDING:
            return ()
        if update.operation in _ABOUT_ITEMS:
            node = self._find(update.segments)
            about = () if node is None else node.items.get(encode(update.stored), ())
            return tuple(other for other in about if update.has_seen(other))
        if update.operation == "increment":
            return tuple(other for other in self.at(update.segments) if update.replaces(other))
        return tuple(other for other in self.at_or_below(update.segments) if update.replaces(other))

    def __iter__(self) -> Iterator[Update]:
        for node in self._root.walk():
            yield from node.updates()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, path: Path) -> _Node | None:
        node: _Node | None = self._root
        for segment in path:
            node = node.below.get(segment) if node is not None else None
        return node
