"""Sets that several agents write at once: an item stays while somebody added it who is not known to have seen it discarded.

1. Each addition of an item has a name of its own (its *dot*). A discard takes out the additions that its author had seen,
   and no others: of a concurrent addition and discard the addition wins.
2. So what is in the set is a function of the set of updates, whatever order they come in.

Source: M. Shapiro et al., A Comprehensive Study of Convergent and Commutative Replicated Data Types, 2011, section 3.3.5
(observed-remove set); without tombstones: A. Bieniusa et al., An Optimized Conflict-free Replicated Set, 2012.

As in any set of Python's, items that are equal (``1`` and ``True``) are one item; it is read as the same one of them
everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.values import encode

__all__ = ["ItemSet"]

_ALWAYS: Final = ("", 0)
"""The dot of an item that was there before anybody noted who added it: everybody has seen it."""


@final
class ItemSet(set[Any]):
    """The items, and for each the additions that keep it in. To readers it is a set."""

    __slots__ = ("_dots", "_equals")

    def __init__(self, items: Iterable[Any] = (), dot: tuple[str, int] = _ALWAYS) -> None:
        super().__init__()
        self._dots: dict[bytes, set[tuple[str, int]]] = {}
        self._equals: dict[Any, dict[bytes, Any]] = {}
        for item in items:
            self.put(item, dot)

    def put(self, item: Any, dot: tuple[str, int]) -> None:
        """An item was added under the name ``dot``."""
        key = encode(item)
        self._dots.setdefault(key, set()).add(dot)
        self._equals.setdefault(item, {})[key] = item
        self._show(item)

    def take(self, item: Any, seen: VectorClock) -> None:
        """An item was discarded by somebody who had seen ``seen``."""
        key = encode(item)
        left = {dot for dot in self._dots.get(key, ()) if not seen.covers(*dot)}
        if left:
            self._dots[key] = left
        elif key in self._dots:
            del self._dots[key], self._equals[item][key]
            self._show(item)

    def _show(self, item: Any) -> None:
        equals = self._equals[item]
        self.discard(item)
        if equals:
            self.add(equals[min(equals)])
        else:
            del self._equals[item]
