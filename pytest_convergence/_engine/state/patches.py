"""Patches of JSON documents: JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396).

1. A *merge patch* is shaped like the document: dicts are merged key by key, ``None`` deletes a key, anything else replaces
   what stood there. So a merge patch cannot set ``None``, and replaces lists whole.
2. A *JSON patch* is a list of operations, carried out in order, all or none. Each names a place by a JSON pointer (RFC
   6901): keys and indices after slashes, ``~1`` for a slash and ``~0`` for a tilde within a key, ``-`` for the place after
   the last item of a list.
3. Neither changes the document that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["PATCHES", "apply_json_patch", "apply_merge_patch", "json_equal"]

_INDEX: Final = re.compile(r"0|[1-9][0-9]*")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_OPERATIONS: Final = ("add", "remove", "replace", "move", "copy", "test")
_NEEDS_FROM: Final = ("move", "copy")
_NEEDS_VALUE: Final = ("add", "replace", "test")


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """Return ``document`` as the merge patch changes it (RFC 7396, section 2)."""
    return _merged(snapshot(document), snapshot(patch))


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def apply_json_patch(document: Any, patch: Any) -> Any:
    """Return ``document`` as the operations of the patch change it (RFC 6902, section 4).

    Raises:
        ConvergenceUsageError: the patch is malformed, names a place that does not exist, or a test in it fails. The
            message says which operation it is.
    """
    if not isinstance(patch, list | tuple):
        raise ConvergenceUsageError(f"a JSON patch is a list of operations, not {patch!r}.")
    changed = snapshot(document)
    for number, operation in enumerate(patch, 1):
        try:
            changed = _carry_out(changed, operation)
        except _Refused as refusal:
            raise ConvergenceUsageError(
                f"operation {number} of the patch, {operation!r}, cannot be carried out: {refusal}."
            ) from None
    return changed


class _Refused(Exception):
    """An operation cannot be carried out; says why."""


def _carry_out(document: Any, operation: Any) -> Any:
    if not isinstance(operation, Mapping):
        raise _Refused("an operation is a mapping with 'op' and 'path'")
    name = operation.get("op")
    if name not in _OPERATIONS:
        raise _Refused(str(unknown_name("operation", name, _OPERATIONS)).rstrip("."))
    path = _pointer(operation, "path")
    if name in _NEEDS_VALUE and "value" not in operation:
        raise _Refused(f"{name} needs a value")
    if name in _NEEDS_FROM:
        source = _pointer(operation, "from")
        value = snapshot(_get(document, source))
        if name == "move":
            if path[: len(source)] == source and path != source:
                raise _Refused("a value cannot be moved into a part of itself")
            document = _remove(document, source)
        return _add(document, path, value)
    if name == "remove":
        return _remove(document, path)
    value = snapshot(operation["value"])
    if name == "add":
        return _add(document, path, value)
    if name == "replace":
        return _replace(document, path, value)
    found = _get(document, path)
    if not json_equal(found, value):
        raise _Refused(f"the test fails, for the value there is {found!r}")
    return document


def _pointer(operation: Mapping[str, Any], field: str) -> list[str]:
    text = operation.get(field)
    if not isinstance(text, str):
        raise _Refused(f"{field!r} must be a JSON pointer such as '/plan/title'")
    if text and not text.startswith("/"):
        raise _Refused(f"the pointer {text!r} does not begin with a slash")
    if _BAD_ESCAPE.search(text):
        raise _Refused(f"the pointer {text!r} has a tilde that is neither '~0' nor '~1'")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(document: Any, path: list[str]) -> Any:
    for segment in path:
        if isinstance(document, dict) and segment in document:
            document = document[segment]
        elif isinstance(document, list):
            document = document[_index(segment, len(document) - 1)]
        else:
            raise _Refused(f"there is nothing at {segment!r}")
    return document


def _index(segment: str, greatest: int) -> int:
    if not _INDEX.fullmatch(segment):
        raise _Refused(f"{segment!r} is no index of a list")
    index = int(segment)
    if index > greatest:
        raise _Refused(f"the index {index} is out of bounds")
    return index


def _change(document: Any, path: list[str], value: Any, change: Callable[[Any, str], None]) -> Any:
    """Let ``change`` work on what holds the last segment; with no segment, ``value`` is the whole document."""
    if not path:
        return value
    change(_get(document, path[:-1]), path[-1])
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    def add(holder: Any, segment: str) -> None:
        if isinstance(holder, dict):
            holder[segment] = value
        elif isinstance(holder, list):
            index = len(holder) if segment == "-" else _index(segment, len(holder))
            holder.insert(index, value)
        else:
            raise _Refused(f"{holder!r} has no parts")

    return _change(document, path, value, add)


def _replace(document: Any, path: list[str], value: Any) -> Any:
    def replace(holder: Any, segment: str) -> None:
        _get(holder, [segment])
        holder[segment if isinstance(holder, dict) else int(segment)] = value

    return _change(document, path, value, replace)


def _remove(document: Any, path: list[str]) -> Any:
    def remove(holder: Any, segment: str) -> None:
        _get(holder, [segment])
        del holder[segment if isinstance(holder, dict) else int(segment)]

    return _change(document, path, None, remove)


def json_equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal (RFC 6902, section 4.6): numbers by their value, objects whatever their order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return bool(one == other)


PATCHES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "merge-patch": apply_merge_patch,
    "json-patch": apply_json_patch,
}
"""How to apply a patch to a document, by the name of its kind."""
