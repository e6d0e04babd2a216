"""A durable journal: entries that are written once, in order, and read back when a life begins.

1. Each entry has a key of its own and ends with a mark, so a write that a crash interrupts spoils no older entry.
2. Each entry is synced before anything else happens. So there is at most one that is not whole, and it is the newest:
   nobody was told of it, and the next entry takes its place.

Source: the write-ahead log of Gray and Reuter, *Transaction Processing* (1993), chapter 9, without checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Effect, Persist, Sync

__all__ = ["Journal"]

_END: Final = "end"


@final
class Journal:
    """The journal of one machine, under the keys ``<key>.0``, ``<key>.1`` and so on."""

    __slots__ = ("_key", "_length")

    def __init__(self, key: str) -> None:
        self._key = key
        self._length = 0

    def load(self, durable: Mapping[str, Any]) -> list[list[Any]]:
        """Return every entry that was written whole, oldest first."""
        entries: list[list[Any]] = []
        while True:
            record = durable.get(f"{self._key}.{len(entries)}")
            if not isinstance(record, list | tuple) or not record or record[-1] != _END:
                break
            entries.append(list(record[:-1]))
        self._length = len(entries)
        return entries

    def append(self, *entry: Any) -> list[Effect]:
        """Write an entry and make it durable."""
        written = Persist(f"{self._key}.{self._length}", [*entry, _END])
        self._length += 1
        return [written, Sync()]
