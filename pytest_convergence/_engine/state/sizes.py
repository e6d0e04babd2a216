"""How much replicas send each other: the size of a message in its canonical encoding, in bytes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.updates import DELETED, Dot, Update
from pytest_convergence._engine.state.values import encode

__all__ = ["Sizes"]

_TAG: Final = 2
"""What tells one kind of value from another, and how many there are of it."""


@final
class Sizes:
    """Measures messages. Updates are sent again and again, so that their size is remembered by name."""

    __slots__ = ("_updates",)

    def __init__(self) -> None:
        self._updates: dict[Dot, int] = {}

    def of(self, value: Any) -> int:
        """Return the number of bytes; what has no canonical encoding counts by its text."""
        kind = type(value)
        if kind is Update:
            size = self._updates.get(value.dot)
            if size is None:
                size = self._updates[value.dot] = self._fields(value)
            return size
        if kind is VectorClock:
            return _TAG + sum(len(name) + 8 for name in value)
        if value is None or value is DELETED:
            return 1
        if isinstance(value, tuple | list):
            return _TAG + sum(map(self.of, value))
        if isinstance(value, dict):
            return _TAG + sum(self.of(key) + self.of(item) for key, item in value.items())
        if is_dataclass(value) and not isinstance(value, type):
            return self._fields(value)
        try:
            return len(encode(value))
        except Exception:  # a message of a strategy of the user's own
            return len(repr(value))

    def _fields(self, value: Any) -> int:
        return _TAG + sum(self.of(getattr(value, each.name)) for each in fields(value))
