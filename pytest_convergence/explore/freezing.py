"""What a machine holds, as a value that can be compared and hashed: equal states of two machines give equal values.

Dictionaries and sets count as equal whatever the order in which they were filled; lists, tuples and queues keep theirs.
What a machine shares with others and nobody changes (functions, types) stands for itself.
"""

from __future__ import annotations

import enum
import types
from collections import deque
from collections.abc import Hashable, Mapping, Set
from random import Random
from typing import Any, Final

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["freeze"]

_PLAIN: Final = frozenset({str, int, bytes, type(None)})
_IDENTITIES: Final = (
    type,
    enum.Enum,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
    types.CodeType,
)
_UNSET: Final = object()


def freeze(value: Any, *, where: str = "the state") -> Hashable:
    """Return a hashable value that is equal for equal states.

    Raises:
        ConvergenceUsageError: a part of it has no state that could be seen (an iterator, a lock, an open file).
    """
    return _freeze(value, {}, where)


def _freeze(value: Any, above: dict[int, int], where: str) -> Hashable:
    kind = type(value)
    if kind in _PLAIN:
        return value  # type: ignore[no-any-return]
    if kind is bool or kind is float or kind is complex:
        return (kind, repr(value))  # True == 1, but a machine may tell them apart
    if isinstance(value, _IDENTITIES):
        return value
    if id(value) in above:
        return ("above", above[id(value)])  # a cycle: by how far up it leads
    above[id(value)] = len(above)
    try:
        return _freeze_compound(value, kind, above, where)
    finally:
        del above[id(value)]


def _freeze_compound(value: Any, kind: type, above: dict[int, int], where: str) -> Hashable:
    if isinstance(value, Mapping):
        return (
            kind,
            frozenset(
                (_freeze(key, above, where), _freeze(item, above, f"{where}[{key!r}]"))
                for key, item in value.items()
            ),
        )
    if isinstance(value, Set):
        return (kind, frozenset(_freeze(item, above, where) for item in value))
    if isinstance(value, list | tuple | deque):
        return (kind, *(_freeze(item, above, f"{where}[{place}]") for place, item in enumerate(value)))
    if isinstance(value, types.MethodType):
        return (kind, value.__func__, _freeze(value.__self__, above, where))
    if isinstance(value, Random):
        return (kind, value.getstate())
    if isinstance(value, BaseException):
        return (kind, _freeze(value.args, above, where))
    return (kind, _freeze_object(value, kind, above, where))


def _freeze_object(value: Any, kind: type, above: dict[int, int], where: str) -> Hashable:
    """An object of a class: what its attributes hold."""
    slots = {
        name
        for each in kind.__mro__
        for name in _names(vars(each).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    }
    if hasattr(value, "__dict__") or slots:
        held: dict[str, Any] = dict(getattr(value, "__dict__", {}))
        for name in slots:
            mangled = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name
            item = getattr(value, mangled, _UNSET)
            if item is not _UNSET:
                held[name] = item
        return frozenset((name, _freeze(item, above, f"{where}.{name}")) for name, item in held.items())
    hashes: Any = kind.__hash__
    if hashes is not None and hashes is not object.__hash__:
        return value  # type: ignore[no-any-return]  # a value of its own: a date, an exact number
    raise ConvergenceUsageError(
        f"{where} holds {value!r}, whose state cannot be seen, so states cannot be told apart. Keep plain values in a "
        "machine: numbers, text, lists, dictionaries, sets, dataclasses."
    )


def _names(slots: str | tuple[str, ...]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
