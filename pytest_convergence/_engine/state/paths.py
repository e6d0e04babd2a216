"""Dotted paths into a nested document.

1. A path is a non-empty sequence of segments. Written as text, segments are divided by dots: ``plan.title``. A segment
   that itself contains a dot (a file name, say) can only be reached by a sequence: ``("files", "main.py")``.
2. Two paths *overlap* if one is a prefix of the other (or equal): writing one can change what is read at the other.
   Only overlapping writes can conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Path", "format_path", "is_branch", "overlap", "parse_path"]

Path: TypeAlias = tuple[str, ...]
"""The segments of a path."""


def parse_path(path: str | Sequence[str]) -> Path:
    """Return the segments of a dotted path, or of a sequence of segments.

    Raises:
        ConvergenceUsageError: the path is empty, has an empty segment, or is not made of strings.
    """
    if isinstance(path, str):
        segments = tuple(path.split("."))
        if "" in segments:
            raise ConvergenceUsageError(
                f"{path!r} is not a path: it has an empty segment. Divide names by single dots, like 'plan.title'."
            )
        return segments
    if isinstance(path, list | tuple):
        if not path or not all(isinstance(segment, str) for segment in path):
            raise ConvergenceUsageError(
                f"{path!r} is not a path: give one or more strings, like ('plan', 'title')."
            )
        return tuple(path)
    raise ConvergenceUsageError(f"{path!r} is not a path: write dotted text, like 'plan.title'.")


def format_path(path: Path) -> str:
    """Write segments as dotted text, for people."""
    return ".".join(path)


def overlap(one: Path, other: Path) -> bool:
    """Whether one path is a prefix of the other, or they are equal."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def is_branch(value: Any) -> bool:
    """Whether a value can have paths below it: a dict whose keys are all strings."""
    return isinstance(value, dict) and all(type(key) is str for key in value)
