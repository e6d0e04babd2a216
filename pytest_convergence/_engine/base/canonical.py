"""One text for equal values, on any machine: what digests and checksums are made of."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping, Set
from typing import Any

__all__ = ["canonical"]


def canonical(value: Any) -> str:
    """Write ``value`` so that equal values give equal text, whatever the order of keys or of a set.

    Values that have no canonical form (objects with an address for a name) are written by their type alone, because an
    address would differ from run to run.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    except (TypeError, ValueError):  # keys that JSON cannot sort or spell
        return json.dumps(_tagged(value), separators=(",", ":"), ensure_ascii=True)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
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
    return {"object": getattr(value, "__qualname__", type(value).__qualname__)}


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {"map": sorted([canonical(key), canonical(item)] for key, item in value.items())}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return _tagged(_plain(value))
