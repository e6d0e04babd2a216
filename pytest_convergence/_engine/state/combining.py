"""Combines the parts of a whole: by a function of the user's, by join, or by three-way merge.

Whoever combines gets the parts in one declared order, whatever the order in which they came in.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.state.plain_join import join_values
from pytest_convergence._engine.state.three_way import MergeConflict, merge_sides

__all__ = ["MERGES", "Combine", "as_function", "combine_named", "combine_plainly", "required_arguments"]

MERGES: Final = ("crdt", "three-way")
"""Ways to combine that have names."""

Combine: TypeAlias = "str | Callable[..., Any]"

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_PAIR: Final = 2


def combine_named(name: str, parts: Mapping[str, Any], base: Any) -> tuple[Any, tuple[MergeConflict, ...]]:
    """Combine ``parts`` by one of :data:`MERGES`; ``base`` is what they were made of, for the three-way merge."""
    return join_values(parts) if name == "crdt" else merge_sides(base, parts)


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """The names of the positional arguments that ``function`` cannot do without; none if it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return []
    return [each.name for each in parameters if each.kind in _POSITIONAL and each.default is each.empty]


def is_pairwise(function: Callable[..., Any]) -> bool:
    """Whether ``function`` combines two parts, and not all of them at once."""
    names = required_arguments(function)
    return len(names) == _PAIR and names[0] != "agent"


def as_function(merge: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of all parts: ``merge`` itself, or the fold of one that takes two."""
    if not is_pairwise(merge):
        return merge

    async def fold(parts: Mapping[str, Any]) -> Any:
        values = list(parts.values())
        combined = values[0]
        for value in values[1:]:
            made = merge(combined, value)
            combined = await made if isinstance(made, Awaitable) else made
        return combined

    return fold


def combine_plainly(merge: Combine, parts: Mapping[str, Any], base: Any = None) -> tuple[Any] | None:
    """Combine without an agent and without waiting; ``None`` if that cannot be done, else ``(value,)``."""
    if isinstance(merge, str):
        return (combine_named(merge, parts, base)[0],)
    given = snapshot(dict(parts))
    if inspect.iscoroutinefunction(merge):
        return None
    if is_pairwise(merge):
        values = list(given.values())
        combined = values[0]
        for value in values[1:]:
            combined = merge(combined, value)
    elif len(required_arguments(merge)) > 1:
        return None
    else:
        combined = merge(given)
    if isinstance(combined, Awaitable):
        close = getattr(combined, "close", None)
        if close is not None:
            close()
        return None
    return (combined,)
