"""Sequences that several agents edit at once: every item has a name and a place beside others that its author saw.

1. Items form a tree. Who inserts says whose child the new item is, and on which side: the right child of the item before
   it, or, if that one has right children already, the left child of the item after it; both of items that are shown, so
   that what is erased everywhere can be forgotten (:mod:`.compacting`). The sequence is the tree in order
   (left children, item, right children); children of one side stand in the order of their names.
2. So the order is a function of the *set* of items, whatever order they come in, and runs of text that two agents type at
   the same place do not mix, neither forwards nor backwards.
3. An item that is erased stays in the tree, for others may stand beside it; it is only not read.

Source: M. Weidner, M. Kleppmann, The Art of the Fugue: Minimizing Interleaving in Collaborative Text Editing, 2023,
section 4 (Tree-Fugue).

A list that was written whole is a sequence too: each of its items is the right child of the one before. Its tree is built
when somebody inserts or erases for the first time. The items in order stand in pieces of a few hundred, so that finding a
place costs about the square root of their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, final

__all__ = ["LEFT", "RIGHT", "ItemId", "Items", "Place"]

ItemId: TypeAlias = tuple[str, int, int]
"""The name of an item: author and number of the update that brought it, and its place in that update."""

LEFT: Final = 0
RIGHT: Final = 1

_PIECE: Final = 512


class Place(NamedTuple):
    """Where a new item goes: whose child it is (``None``: nobody's), and on which side."""

    parent: ItemId | None = None
    side: int = RIGHT


@final
class _Node:
    __slots__ = ("children", "erased", "id", "item", "piece")

    def __init__(self, id: ItemId | None, item: Any) -> None:
        self.id = id
        self.item = item
        self.erased = id is None
        self.children: tuple[list[_Node], list[_Node]] = ([], [])
        self.piece: _Piece

    def first(self) -> _Node:
        """The first node of this one's part of the tree."""
        node = self
        while node.children[LEFT]:
            node = node.children[LEFT][0]
        return node

    def last(self) -> _Node:
        """The last node of this one's part of the tree."""
        node = self
        while node.children[RIGHT]:
            node = node.children[RIGHT][-1]
        return node


@final
class _Piece:
    __slots__ = ("nodes", "shown")

    def __init__(self, nodes: list[_Node]) -> None:
        self.nodes = nodes
        self.shown = 0
        for node in nodes:
            node.piece = self
            self.shown += not node.erased


@final
class _Tree:
    """All nodes, by name and in order. The root stands first and is never shown."""

    __slots__ = ("_nodes", "_pieces")

    def __init__(self) -> None:
        root = _Node(None, None)
        self._nodes: dict[ItemId | None, _Node] = {None: root}
        self._pieces = [_Piece([root])]

    def add(self, id: ItemId, item: Any, place: Place) -> int:
        """Add an item; return how many that are shown stand before it. A parent that is gone is nobody."""
        parent = self._nodes.get(place.parent)
        side = place.side
        if parent is None:
            parent, side = self._nodes[None], RIGHT
        node = self._nodes[id] = _Node(id, item)
        siblings = parent.children[side]
        position = bisect_left([sibling.id or _NO_ID for sibling in siblings], id)
        if side == RIGHT:
            index = self._put(node, siblings[position - 1].last() if position else parent, 1)
        else:
            index = self._put(node, siblings[position].first() if position < len(siblings) else parent, 0)
        siblings.insert(position, node)
        return index

    def _put(self, node: _Node, beside: _Node, after: int) -> int:
        piece = beside.piece
        at = piece.nodes.index(beside) + after
        piece.nodes.insert(at, node)
        node.piece = piece
        piece.shown += 1
        index = self._shown_before(piece, at)
        if len(piece.nodes) > _PIECE:
            self._split(piece)
        return index

    def _split(self, piece: _Piece) -> None:
        number = self._pieces.index(piece)
        half = len(piece.nodes) // 2
        self._pieces[number : number + 1] = [_Piece(piece.nodes[:half]), _Piece(piece.nodes[half:])]

    def _shown_before(self, piece: _Piece, at: int) -> int:
        shown = 0
        for each in self._pieces:
            if each is piece:
                break
            shown += each.shown
        return shown + sum(not node.erased for node in piece.nodes[:at])

    def erase(self, id: ItemId) -> int | None:
        """Show an item no more; return where it stood, ``None`` if it is not shown anyway."""
        node = self._nodes.get(id)
        if node is None or node.erased:
            return None
        index = self._shown_before(node.piece, node.piece.nodes.index(node))
        node.erased = True
        node.piece.shown -= 1
        return index

    def _find(self, index: int) -> tuple[int, int]:
        """The piece, and the place in it, of the item that is shown at ``index``; the root for -1."""
        if index < 0:
            return 0, 0
        for number, piece in enumerate(self._pieces):
            if index < piece.shown:
                for at, node in enumerate(piece.nodes):
                    if not node.erased:
                        if not index:
                            return number, at
                        index -= 1
            index -= piece.shown
        raise IndexError(index)

    def place(self, index: int) -> Place:
        """Where an item must go to be shown at ``index``."""
        number, at = self._find(index - 1)
        before = self._pieces[number].nodes[at]
        if not before.children[RIGHT]:
            return Place(before.id, RIGHT)
        after = self._shown_after(number, at + 1)
        return Place(before.id, RIGHT) if after is None else Place(after.id, LEFT)

    def _shown_after(self, number: int, at: int) -> _Node | None:
        while number < len(self._pieces):
            piece = self._pieces[number]
            if piece.shown:
                for node in piece.nodes[at:]:
                    if not node.erased:
                        return node
            number, at = number + 1, 0
        return None

    def last(self) -> ItemId | None:
        """The last item that is shown."""
        for piece in reversed(self._pieces):
            if piece.shown:
                return next(node.id for node in reversed(piece.nodes) if not node.erased)
        return None

    def ids(self, index: int, count: int) -> tuple[ItemId, ...]:
        """The names of the items that are shown from ``index`` on."""
        found: list[ItemId] = []
        if count > 0:
            number, at = self._find(index)
            while len(found) < count and number < len(self._pieces):
                nodes = self._pieces[number].nodes[at:]
                found += [node.id for node in nodes if not node.erased and node.id is not None]
                number, at = number + 1, 0
        return tuple(found[:count])


_NO_ID: Final = ("", 0, 0)


@final
class Items(list[Any]):
    """The items of a sequence, in order, and what it takes to edit it. To readers it is a list."""

    __slots__ = ("_ids", "_tree")

    def __init__(self, items: Iterable[Any] = (), agent: str = "", counter: int = 0) -> None:
        super().__init__(items)
        self._ids: list[ItemId] = [(agent, counter, number) for number in range(len(self))]
        self._tree: _Tree | None = None

    def add_last(self, agent: str, counter: int, item: Any) -> None:
        """Append an item."""
        id = (agent, counter, 0)
        if self._tree is None:
            self._ids.append(id)
        else:
            self._tree.add(id, item, Place(self._tree.last(), RIGHT))
        self.append(item)

    def add(self, agent: str, counter: int, place: Place, items: Sequence[Any]) -> None:
        """Insert a run of items at a place that :meth:`place` gave somewhere."""
        tree = self._grown()
        for number, item in enumerate(items):
            id = (agent, counter, number)
            self.insert(tree.add(id, item, place), item)
            place = Place(id, RIGHT)

    def erase(self, ids: Iterable[ItemId]) -> None:
        """Take items out; what is out already stays out."""
        tree = self._grown()
        for id in ids:
            index = tree.erase(id)
            if index is not None:
                del self[index]

    def place(self, index: int) -> Place:
        """Where an item must go to stand at ``index``, from 0 to the number of items."""
        return self._grown().place(index)

    def ids(self, index: int, count: int) -> tuple[ItemId, ...]:
        """The names of ``count`` items from ``index`` on."""
        return self._grown().ids(index, count)

    def _grown(self) -> _Tree:
        if self._tree is None:
            self._tree = _Tree()
            before: ItemId | None = None
            for id, item in zip(self._ids, self, strict=True):
                self._tree.add(id, item, Place(before, RIGHT))
                before = id
            self._ids = []
        return self._tree
