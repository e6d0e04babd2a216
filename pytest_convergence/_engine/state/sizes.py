"""How much replicas send each other: the size of a message in a plain binary encoding, in bytes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.updates import DELETED, Dot, Update
from pytest_convergence._engine.state.values import encode
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Sizes"]

_TAG: Final = 2
"""What tells one kind of value from another, and how many there are of it."""

_ENTRY: Final = 16
"""An agent's name and a count, in a clock."""

_IF_ANY: Final = ("sources", "rolled")
"""Parts of an update that hardly any has, and that are not sent where there are none."""


@final
class Sizes:
    """Measures messages. Updates are sent again and again, so that their size is remembered by name."""

    __slots__ = ("_fields", "_updates")

    def __init__(self) -> None:
        self._updates: dict[Dot, int] = {}
        self._fields: dict[type, tuple[str, ...]] = {}

    def of(self, value: Any) -> int:
        """Return the number of bytes; what has no canonical encoding counts by its text."""
        kind = type(value)
        if kind is Update:
            size = self._updates.get(value.dot)
            if size is None:
                size = self._updates[value.dot] = self._of_fields(kind, value)
            return size
        if kind is VectorClock:
            return _TAG + _ENTRY * len(value)
        if kind is str:
            return _TAG + len(value)
        if isinstance(value, tuple | list):
            size = _TAG
            for item in value:
                size += self.of(item)
            return size
        if isinstance(value, dict):
            return _TAG + sum(self.of(key) + self.of(item) for key, item in value.items())
        if is_dataclass(value) and not isinstance(value, type):
            return self._of_fields(kind, value)
        return _of_atom(value)

    def _of_fields(self, kind: type, value: Any) -> int:
        names = self._fields.get(kind)
        if names is None:
            names = self._fields[kind] = tuple(each.name for each in fields(value))
        size = _TAG
        for name in names:
            part = getattr(value, name)
            size += self.of(part) if part or name not in _IF_ANY else 0
        return size


def _of_atom(value: Any) -> int:
    if value is None or value is DELETED:
        return 1
    if type(value) is int:
        return 1 + value.bit_length() // 8
    try:
        return len(encode(value))
    except ConvergenceUsageError:  # a message of a strategy of the user's own
        return len(repr(value))
