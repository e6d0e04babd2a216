"""Sets that iterate in the order in which things were put in, for the places where asyncio keeps sets of what has no number.

``asyncio.as_completed`` starts coroutines in the order of a set of them, ``asyncio.wait`` returns sets of plain futures, and
a loop finalises its asynchronous generators in the order of a weak set. All of these hash by address, so each run would have
another order. (Tasks hash by their number in the world, see :mod:`.tasks`.)
"""

from __future__ import annotations

import asyncio.tasks
import builtins
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

__all__ = ["FirstComeSet", "LiveGenerators", "order_sets_of_asyncio"]


class FirstComeSet(builtins.set[Any]):
    """A set that iterates in the order in which its elements came."""

    __slots__ = ("_order",)

    def __init__(self, elements: Iterable[Any] = ()) -> None:
        super().__init__()
        self._order: dict[Any, None] = {}
        self.update(elements)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def _restore(self) -> None:
        """After an operation on the set as a whole: elements that stayed keep their places."""
        kept = [element for element in self._order if element in self]
        self._order = dict.fromkeys(kept)

    def add(self, element: Any) -> None:
        """Add an element, as the last one if it is new."""
        super().add(element)
        self._order[element] = None

    def update(self, *others: Iterable[Any]) -> None:
        """Add all elements of the others, in their order."""
        for other in others:
            for element in other:
                self.add(element)

    def remove(self, element: Any) -> None:
        """Take out an element that is there."""
        super().remove(element)
        del self._order[element]

    def discard(self, element: Any) -> None:
        """Take out an element if it is there."""
        super().discard(element)
        self._order.pop(element, None)

    def pop(self) -> Any:
        """Take out the first element."""
        if not self._order:
            raise KeyError("pop from an empty set")
        element = next(iter(self._order))
        self.remove(element)
        return element

    def clear(self) -> None:
        """Take out everything."""
        super().clear()
        self._order.clear()

    def copy(self) -> FirstComeSet:
        """Return another set with the same elements and order."""
        return FirstComeSet(self)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Take out the elements of the others."""
        super().difference_update(*others)
        self._restore()

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Take out what is not in all the others."""
        super().intersection_update(*others)
        self._restore()

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Take out what is in both, add what is only in the other."""
        elements = list(other)
        both = [element for element in elements if element in self]
        self.update(elements)
        self.difference_update(both)

    def union(self, *others: Iterable[Any]) -> FirstComeSet:
        """Return the elements of all."""
        return _changed(self, FirstComeSet.update, *others)

    def difference(self, *others: Iterable[Any]) -> FirstComeSet:
        """Return what is in none of the others."""
        return _changed(self, FirstComeSet.difference_update, *others)

    def intersection(self, *others: Iterable[Any]) -> FirstComeSet:
        """Return what is in all of the others."""
        return _changed(self, FirstComeSet.intersection_update, *others)

    def symmetric_difference(self, other: Iterable[Any]) -> FirstComeSet:
        """Return what is in one of the two only."""
        return _changed(self, FirstComeSet.symmetric_difference_update, other)

    def __or__(self, other: Any) -> Any:
        return self.union(other) if isinstance(other, builtins.set | frozenset) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return self.difference(other) if isinstance(other, builtins.set | frozenset) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return self.intersection(other) if isinstance(other, builtins.set | frozenset) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return (
            self.symmetric_difference(other)
            if isinstance(other, builtins.set | frozenset)
            else NotImplemented
        )

    def __ior__(self, other: Any) -> Any:
        return _in_place(self, FirstComeSet.update, other)

    def __isub__(self, other: Any) -> Any:
        return _in_place(self, FirstComeSet.difference_update, other)

    def __iand__(self, other: Any) -> Any:
        return _in_place(self, FirstComeSet.intersection_update, other)

    def __ixor__(self, other: Any) -> Any:
        return _in_place(self, FirstComeSet.symmetric_difference_update, other)


def _changed(original: FirstComeSet, change: Callable[..., None], *others: Iterable[Any]) -> FirstComeSet:
    result = FirstComeSet(original)
    change(result, *others)
    return result


def _in_place(target: FirstComeSet, change: Callable[..., None], other: Any) -> Any:
    if not isinstance(other, builtins.set | frozenset):
        return NotImplemented
    change(target, other)
    return target


def _set(elements: Iterable[Any] = ()) -> builtins.set[Any]:
    """What ``set`` stands for inside :mod:`asyncio.tasks`: ordered on a simulated loop, the built-in set elsewhere."""
    on_simulated_loop = hasattr(asyncio._get_running_loop(), "world")
    return FirstComeSet(elements) if on_simulated_loop else builtins.set(elements)


def order_sets_of_asyncio() -> None:
    """Let ``asyncio.wait`` and ``asyncio.as_completed`` keep the order in which they were given their awaitables."""
    vars(asyncio.tasks)["set"] = _set


@final
class LiveGenerators:
    """The asynchronous generators of a loop that were begun and not finished, oldest first; holds none of them alive."""

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Any]] = {}

    def add(self, generator: Any) -> None:
        """Add a generator."""
        key = id(generator)
        references = self._references
        references[key] = weakref.ref(generator, lambda _: references.pop(key, None))

    def discard(self, generator: Any) -> None:
        """Take a generator out if it is there."""
        self._references.pop(id(generator), None)

    def clear(self) -> None:
        """Take out everything."""
        self._references.clear()

    def __iter__(self) -> Iterator[Any]:
        alive = [reference() for reference in self._references.values()]
        return iter([generator for generator in alive if generator is not None])

    def __len__(self) -> int:
        return len(self._references)
