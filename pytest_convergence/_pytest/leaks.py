"""Names state that outlives a run: globals of the user's modules, attributes of their classes, values of their fixtures.

Two runs under one schedule that differ have found something that the schedule does not decide. Most often that is state
which the first run has left behind. So what lies in the user's modules is described before and after a run, and what has
changed is named. Describing it runs no code of the user's: what is not a number, a text, a container or an object with
attributes is known by its type alone.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import MemberDescriptorType, ModuleType, SimpleNamespace
from typing import Any, Final, final

import pytest

from pytest_convergence._pytest.renewal import SET_UP

__all__ = ["Leaks"]

_MOST_PARTS: Final = 2_000
"""Of how many parts a value is described; what lies beyond them is not seen."""
_MOST_NAMED: Final = 5
_LONGEST: Final = 60
_PLAIN: Final = (int, float, complex, bool, str, bytes, bytearray, type(None), itertools.count, range)
_FOREIGN: Final = re.compile(r"[/\\](?:site-packages|dist-packages|\.venv|\.tox|\.nox)[/\\]")


@final
class Leaks:
    """What a test's modules and fixtures held when this was made."""

    __slots__ = ("_before", "_item")

    def __init__(self, item: pytest.Function) -> None:
        self._item = item
        self._before = dict(_state(item))

    def found(self) -> str:
        """Say what has changed since, in a sentence; empty if nothing has."""
        changed = [
            f"{name} was {_short(self._before.get(name, 'not there'))}, and is {_short(now)}"
            for name, now in _state(self._item)
            if self._before.get(name) != now
        ]
        more = len(changed) - _MOST_NAMED
        rest = [f"… and {more} more"] if more > 0 else []
        return (
            "\n  ".join(["What the first run has left behind:", *changed[:_MOST_NAMED], *rest])
            if changed
            else ""
        )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _state(item: pytest.Function) -> Iterator[tuple[str, str]]:
    """Describe everything that may outlive a run of ``item``."""
    modules = list(_modules_of(item))
    own = frozenset(module.__name__ for module in modules)
    renewed = {definition.argname for definition, _ in item.stash.get(SET_UP, [])}
    for name, value in item.funcargs.items():
        if name not in renewed:
            yield f"fixture {name!r}", _Description(own).of(value)
    for module in modules:
        for name, value in list(vars(module).items()):
            if not name.startswith("__"):
                yield from _of_global(module, name, value, own)


def _modules_of(item: pytest.Function) -> Iterator[ModuleType]:
    """The modules that belong to the user: those below the rootdir that are not installed."""
    root = item.config.rootpath
    own: ModuleType | None = getattr(item, "module", None)
    if own is not None:
        yield own
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if module is own or not isinstance(file, str) or _FOREIGN.search(file):
            continue
        if root in Path(file).parents:
            yield module


def _of_global(module: ModuleType, name: str, value: Any, own: frozenset[str]) -> Iterator[tuple[str, str]]:
    where = f"{module.__name__}.{name}"
    if issubclass(type(value), type):
        if value.__module__ == module.__name__:
            for attribute, held in list(vars(value).items()):
                if not attribute.startswith("__") and not callable(held):
                    yield f"{where}.{attribute}", _Description(own).of(held)
    elif type(value) is functools._lru_cache_wrapper:
        yield f"the cache of {where}()", f"{value.cache_info().currsize} values"
    else:
        yield where, _Description(own).of(value)


@final
class _Description:
    """Describes one value, as far as its parts reach.

    ``own`` are the names of the user's modules: of objects of their classes the attributes count.
    """

    __slots__ = ("_left", "_open", "_own")

    def __init__(self, own: frozenset[str]) -> None:
        self._own = own
        self._left = _MOST_PARTS
        self._open: set[int] = set()

    def of(self, value: object) -> str:
        self._left -= 1
        if type(value) in _PLAIN:
            return repr(value)
        if self._left < 0 or id(value) in self._open:
            return "…"
        self._open.add(id(value))
        try:
            return self._of_parts(value)
        finally:
            self._open.discard(id(value))

    def _of_parts(self, value: Any) -> str:
        # Asked of the type, and by the methods of the built-in classes: a class of the user's may do anything in its own.
        kind = type(value)
        if issubclass(kind, dict):
            inside = ", ".join(f"{self.of(key)}: {self.of(each)}" for key, each in dict.items(value))
            return f"{{{inside}}}"
        for base, brackets in _SEQUENCES:
            if issubclass(kind, base):
                return brackets.format(", ".join(map(self.of, base.__iter__(value))))
        for base in _SETS:
            if issubclass(kind, base):
                parts = sorted(map(self.of, base.__iter__(value)))
                return f"{{{', '.join(parts)}}}" if parts else "set()"
        if issubclass(kind, Random):
            return f"Random in state {zlib.crc32(repr(Random.getstate(value)).encode()):08x}"
        if issubclass(kind, type) or not (kind.__module__ in self._own or kind is SimpleNamespace):
            return kind.__name__
        inside = ", ".join(f"{key}={self.of(each)}" for key, each in _attributes(value).items())
        return f"{kind.__name__}({inside})"


_SETS: Final[tuple[Any, ...]] = (set, frozenset)
_SEQUENCES: Final[tuple[tuple[Any, str], ...]] = ((list, "[{}]"), (tuple, "({})"), (deque, "deque({})"))


def _attributes(value: object) -> dict[str, Any]:
    try:
        held: dict[str, Any] = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        held = {}
    for each in type(value).__mro__:
        for name, member in list(vars(each).items()):
            if isinstance(member, MemberDescriptorType):  # a slot
                with contextlib.suppress(AttributeError):
                    held[name] = member.__get__(value)
    return held
