"""The names that the tests of one run may use: patterns and properties, the built-in ones and those that plugins add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.check.registry import BUILT_IN, PropertyRegistry
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.patterns.registry import PatternRegistry
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence.errors import unknown_name

__all__ = ["Known"]

_WITHOUT_PATTERN: Final = "none"


@final
class Known:
    """What names stand for.

    Raises:
        ConvergenceUsageError: one of the things is no pattern or no property, its name is taken, or it names a property or
            a pattern that does not exist.
    """

    __slots__ = ("_of_patterns", "_patterns", "_properties", "_unasked")

    def __init__(self, patterns: Iterable[Pattern] = (), properties: Iterable[Property] = ()) -> None:
        own = tuple(patterns)
        self._patterns = PatternRegistry(own)
        self._properties = PropertyRegistry(properties)
        self._of_patterns = {each.name: self._properties.find_all(each.properties) for each in own}
        self._unasked: dict[str, tuple[Property, ...]] = {}  # by the name of the pattern, once asked for
        for name in self._properties.names:
            for pattern in self._properties.find(name).patterns:
                if pattern not in (_WITHOUT_PATTERN, "*"):
                    self._check(name, pattern)

    def _check(self, prop: str, pattern: str) -> None:
        names = self._patterns.names
        if pattern not in names:
            raise unknown_name(
                "pattern", pattern, [*names, _WITHOUT_PATTERN, "*"], fix=f"The property {prop!r} names it."
            )

    def resolved(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``options`` with patterns and properties in place of their names.

        Raises:
            ConvergenceUsageError: there is none of that name.
        """
        if "pattern" not in options and "properties" not in options:
            return options
        named = dict(options)
        if isinstance(named.get("pattern"), str):
            named["pattern"] = self._patterns.find(named["pattern"])
        properties = named.get("properties")
        if isinstance(properties, Iterable) and not isinstance(properties, str):
            named["properties"] = self._properties.find_all(properties)
        return named

    def completed(self, options: SessionOptions) -> SessionOptions:
        """Return the options of a session with the properties of the user's that apply to it unasked."""
        pattern = options.pattern_object()
        name = _WITHOUT_PATTERN if pattern is None else pattern.name
        more = self._unasked.get(name)
        if more is None:
            own = (each for each in self._of_patterns.get(name, ()) if each.name not in BUILT_IN)
            more = self._unasked[name] = (*own, *self._properties.applying_to(name))
        if not more:
            return options
        asked = options.get("properties")
        names = {each if isinstance(each, str) else each.name for each in asked}
        return SessionOptions(
            properties=(*asked, *{each.name: each for each in more if each.name not in names}.values())
        ).over(options)
