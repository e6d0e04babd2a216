"""A durable journal: entries that are written once, in order, and read back when a life begins.

1. Each entry has a key of its own and ends with a mark, so a write that a crash interrupts spoils no older entry.
2. Each entry is synced before anything else happens. So there is at most one that is not whole, and it is the newest:
   nobody was told of it, and the next entry takes its place.
3. A *checkpoint* takes the place of all entries before it. It begins a new *generation* of entries, in one of two areas in
   turn: what is there is of the generation before the last, which nobody reads any more. Each entry tells its generation,
   so what is left of an older one is not taken for the present one's. A checkpoint that a crash interrupts is not whole,
   and the generation before counts on. So the storage holds the entries of three generations at most.

Source: the write-ahead log of Gray and Reuter, *Transaction Processing* (1993), chapters 9 and 11 (checkpoints).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard, final

from pytest_convergence._engine.base.effects import Effect, Persist, Sync

__all__ = ["Journal"]

_END: Final = "end"
_AREAS: Final = ("even", "odd")


@final
class Journal:
    """The journal of one machine.

    The first generation has the keys ``<key>.0``, ``<key>.1`` and so on, later ones ``<key>.odd.0`` or ``<key>.even.0``.
    """

    __slots__ = ("_generation", "_key", "_length")

    def __init__(self, key: str) -> None:
        self._key = key
        self._length = 0
        self._generation = 0

    def __len__(self) -> int:
        return self._length

    def load(self, durable: Mapping[str, Any]) -> list[list[Any]]:
        """Return every entry since the last checkpoint (itself included) that was written whole, oldest first."""
        self._generation = 0
        for area in _AREAS:
            record = durable.get(f"{self._key}.{area}.0")
            if _is_whole(record) and isinstance(record[0], int):
                self._generation = max(self._generation, record[0])
        entries: list[list[Any]] = []
        while True:
            record = durable.get(self._place(len(entries)))
            if not _is_whole(record):
                break
            if self._generation and record[0] != self._generation:
                break  # left over from an older generation
            entries.append(list(record[1 if self._generation else 0 : -1]))
        self._length = len(entries)
        return entries

    def append(self, *entry: Any) -> list[Effect]:
        """Write an entry and make it durable."""
        generation = (self._generation,) if self._generation else ()
        written = Persist(self._place(self._length), [*generation, *entry, _END])
        self._length += 1
        return [written, Sync()]

    def checkpoint(self, *entry: Any) -> list[Effect]:
        """Write an entry that stands for all before it, and make it durable."""
        self._generation += 1
        self._length = 0
        return self.append(*entry)

    def _place(self, number: int) -> str:
        area = f"{_AREAS[self._generation % 2]}." if self._generation else ""
        return f"{self._key}.{area}{number}"


def _is_whole(record: Any) -> TypeGuard[list[Any]]:
    return isinstance(record, list | tuple) and bool(record) and record[-1] == _END
