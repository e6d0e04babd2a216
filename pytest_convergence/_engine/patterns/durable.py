"""Durable state that survives a torn write.

1. A write that a crash interrupts may leave half a value, and what stood there before is gone. So the state
   is written to two places in turn: an interrupted write can only spoil the older of the two, which nobody
   relies on any more.
2. Each write carries a number and ends with a mark. A restart takes the highest number whose mark is there.
3. Every write is synced before anything else happens, so there is never more than one that a crash could
   spoil.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Effect, Persist, Sync

__all__ = ["Slots"]

_END: Final = "end"
_FIELDS: Final = 3


@final
class Slots:
    """The durable state of one machine, under the keys ``<key>.0`` and ``<key>.1``."""

    __slots__ = ("_key", "_number")

    def __init__(self, key: str) -> None:
        self._key = key
        self._number = 0

    def load(self, durable: Mapping[str, Any]) -> Any:
        """Return the newest state that was written whole, or ``None``."""
        newest: Any = None
        for slot in (0, 1):
            record = durable.get(f"{self._key}.{slot}")
            if isinstance(record, list | tuple) and len(record) == _FIELDS and record[2] == _END:
                number, state = record[0], record[1]
                if number > self._number:
                    self._number, newest = number, state
        return newest

    def save(self, state: Mapping[str, Any]) -> list[Effect]:
        """Write ``state`` and make it durable."""
        self._number += 1
        return [Persist(f"{self._key}.{self._number % 2}", [self._number, dict(state), _END]), Sync()]
