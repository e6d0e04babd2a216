"""What a replica stores: plain data, copied deeply on the way in and on the way out, with one canonical encoding.

1. Plain data is None, bool, int, float, str, bytes, lists, tuples, sets, dicts, enum members, dataclass instances and
   the immutable values of the standard library (dates, decimals, fractions, UUIDs, pure paths). Anything else has no
   value that could be compared between two agents, and is refused.
2. The encoding is injective: two values have the same encoding if and only if they are the same data. Unlike ``==`` it
   tells ``1`` from ``True`` and ``1.0``, and a list from a tuple, so that no difference between replicas stays hidden.
   The order of dict keys and of set members does not count.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import hashlib
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["checksum_of", "checksum_of_parts", "encode", "freeze", "same_value"]

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_IMMUTABLE_MODULES: Final = frozenset({"datetime", "decimal", "fractions", "ipaddress", "uuid", "zoneinfo"})
_MAX_DEPTH: Final = 100
_ADVICE: Final = (
    "Store text, numbers, lists, dicts, or a dataclass of these, so that agents can compare what they hold."
)


def freeze(value: Any, where: str = "value") -> Any:
    """Return a deep copy of plain data that no one else holds. ``where`` names the place for the error message.

    Mappings become dicts; a bytearray becomes bytes.

    Raises:
        ConvergenceUsageError: a part of the value is not plain data, or the value contains itself.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    return _freeze(value, where, 0)


def _freeze(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if kind in _ATOMS or isinstance(value, enum.Enum) or _is_immutable_kind(kind):
        return value
    if depth > _MAX_DEPTH:
        raise ConvergenceUsageError(f"{where} is nested more than {_MAX_DEPTH} deep: does it contain itself?")
    if isinstance(value, Mapping):
        keys = f"a key of {where}"
        return {
            _freeze(key, keys, depth + 1): _freeze(item, f"{where}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | Set):
        items = [_freeze(item, where, depth + 1) for item in value]
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return kind(*items)
        for plain in (list, tuple, frozenset):
            if isinstance(value, plain):
                return plain(items)
        return set(items)
    if isinstance(value, bytearray):
        return bytes(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        encode(value)  # refuses a field that is not plain data
        return copy.deepcopy(value)
    raise ConvergenceUsageError(f"{where} cannot be stored: {kind.__qualname__} is not plain data. {_ADVICE}")


def _is_immutable_kind(kind: type) -> bool:
    return kind.__module__ in _IMMUTABLE_MODULES or kind.__name__ in (
        "PurePosixPath",
        "PureWindowsPath",
        "PosixPath",
    )


def encode(value: Any) -> bytes:
    """Return the canonical encoding of plain data.

    Raises:
        ConvergenceUsageError: a part of the value is not plain data.
    """
    return _encode(value, 0)


def _encode(value: Any, depth: int) -> bytes:
    kind = type(value)
    atom = _ATOM_ENCODINGS.get(kind)
    if atom is not None:
        return atom(value)
    if isinstance(value, enum.Enum):
        return _text(b"e", f"{kind.__qualname__}.{value.name}")
    if _is_immutable_kind(kind):
        return _text(b"x", f"{kind.__qualname__} {value}")
    if depth > _MAX_DEPTH:
        raise ConvergenceUsageError(f"a value is nested more than {_MAX_DEPTH} deep: does it contain itself?")
    if isinstance(value, Mapping):
        items = sorted((_encode(key, depth + 1), _encode(item, depth + 1)) for key, item in value.items())
        return b"d%d{%b" % (len(items), b"".join(key + item for key, item in items))
    if isinstance(value, list | tuple):
        tag = b"l" if isinstance(value, list) else b"T"
        return b"%b%d{%b" % (tag, len(value), b"".join([_encode(item, depth + 1) for item in value]))
    if isinstance(value, Set):
        return b"S%d{%b" % (len(value), b"".join(sorted(_encode(item, depth + 1) for item in value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [_encode(getattr(value, field.name), depth + 1) for field in dataclasses.fields(value)]
        return _text(b"D", kind.__qualname__) + b"".join(fields)
    raise ConvergenceUsageError(f"{kind.__qualname__} is not plain data: {_ADVICE}")


def _text(tag: bytes, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"%b%d:%b" % (tag, len(data), data)


_ATOM_ENCODINGS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    type(None): lambda value: b"n",
    bool: lambda value: b"t" if value else b"f",
    int: lambda value: b"i%d;" % value,
    float: lambda value: b"r%b;" % repr(value).encode(),
    complex: lambda value: b"c%b;" % repr(value).encode(),
    str: lambda value: _text(b"s", value),
    bytes: lambda value: b"b%d:%b" % (len(value), value),
}


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are the same data: ``1``, ``True`` and ``1.0`` are three different values."""
    return type(one) is type(other) and _encode(one, 0) == _encode(other, 0)


def checksum_of_parts(parts: Iterable[tuple[bytes, bytes]]) -> str:
    """Return :func:`checksum_of` of a dict, given the encodings of its keys and values."""
    items = sorted(parts)
    encoded = b"d%d{%b" % (len(items), b"".join(key + item for key, item in items))
    return hashlib.sha256(encoded).hexdigest()


def checksum_of(value: Any) -> str:
    """Return the hex SHA-256 of the canonical encoding. The order of keys does not count."""
    return hashlib.sha256(_encode(value, 0)).hexdigest()
