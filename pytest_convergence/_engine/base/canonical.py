"""One text for equal values, on any machine: what digests and checksums are made of."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

__all__ = ["canonical", "canonical_items"]

_MODULES_OF_VALUES: Final = frozenset(
    {"_decimal", "builtins", "datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"}
)
"""Where types live whose text says everything about their values."""

_BUILTIN_VALUES: Final = (complex, range, slice)


def canonical(value: Any) -> str:
    """Write ``value`` so that equal values give equal text, whatever the order of keys or of a set.

    Values that have no canonical form (objects with an address for a name) are written by their type alone, because an
    address would differ from run to run.
    """
    if type(value) is int:  # what agents return most often; an encoder of JSON is made for each value
        return int.__repr__(value)
    try:
        return _spell(value)
    except (TypeError, ValueError):  # keys that JSON cannot sort or spell
        return json.dumps(_tagged(value), separators=(",", ":"), ensure_ascii=True)


def canonical_items(values: Sequence[Any]) -> str:
    """Write each of ``values``, with a comma after it: the text of two sequences in a row is that of the whole."""
    if not values:
        return ""
    try:
        return _spell(values)[1:-1] + ","
    except (TypeError, ValueError):
        return "".join(f"{canonical(value)}," for value in values)


_spell: Final = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=True,
    default=lambda value: _plain(value),  # noqa: PLW0108 - defined below
).encode


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, enum.Enum):
        return {"enum": f"{type(value).__qualname__}.{value.name}"}
    if isinstance(value, Set):
        return {"set": sorted(canonical(item) for item in value)}
    if isinstance(value, Mapping):
        return {"map": sorted([canonical(key), canonical(item)] for key, item in value.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [[field.name, getattr(value, field.name)] for field in dataclasses.fields(value)]
        return {"dataclass": type(value).__qualname__, "fields": fields}
    if isinstance(value, BaseException):
        return {"exception": type(value).__qualname__, "args": list(value.args)}
    if hasattr(type(value), "__canonical__"):
        return value.__canonical__()
    if _says_everything(value):
        return {type(value).__name__: str(value)}
    return {"object": getattr(value, "__qualname__", type(value).__qualname__)}


def _says_everything(value: Any) -> bool:
    """Whether the text of ``value`` is its value: dates, identifiers, exact numbers, paths."""
    module = type(value).__module__.partition(".")[0]
    return isinstance(value, _BUILTIN_VALUES) if module == "builtins" else module in _MODULES_OF_VALUES


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {"map": sorted([canonical(key), canonical(item)] for key, item in value.items())}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return _tagged(_plain(value))
