"""Lets tools tell violated properties apart that know a failure by its exception's type and line.

Hypothesis shrinks a failure, and keeps it in its database, by the type of the exception, the line that raised it, and the
same of its context. Every violated property is raised by one line of ours, so while it shrinks the violation of one property
it would slip to that of another. So a violation has a context whose *type* is named after its property; nobody is shown it.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["name_origin"]


class _ByName(type):
    """Types that are equal if they have the same name."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, _ByName) and cls.__name__ == other.__name__

    def __hash__(cls) -> int:
        return hash(cls.__name__)


_BASES: Final[tuple[type, ...]] = (Exception,)


def name_origin(error: BaseException, name: str) -> None:
    """Let ``error`` differ, for those who look at its context, from errors with another ``name``."""
    kind: Any = _ByName(f"violated {name}", _BASES, {})
    error.__context__ = kind()
    error.__suppress_context__ = True
