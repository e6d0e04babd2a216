"""Virtual time is an integer number of nanoseconds; seconds are a view of it for people and for asyncio."""

from __future__ import annotations

import math
from typing import Final

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["NS_PER_SECOND", "format_ns", "to_ns", "to_seconds"]

NS_PER_SECOND: Final = 1_000_000_000


def to_ns(seconds: float, what: str = "time") -> int:
    """Convert ``seconds`` to nanoseconds.

    Raises:
        ConvergenceUsageError: ``seconds`` is negative, infinite or not a number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ConvergenceUsageError(f"{what} must be a number of seconds, not {seconds!r}.")
    if not math.isfinite(seconds) or seconds < 0:
        raise ConvergenceUsageError(f"{what} must be a finite number of seconds >= 0, not {seconds!r}.")
    return round(seconds * NS_PER_SECOND)


def to_seconds(ns: int) -> float:
    """Convert nanoseconds to seconds."""
    return ns / NS_PER_SECOND


def format_ns(ns: int) -> str:
    """Write a duration for people: ``120 ms``, ``3.5 s``, ``250 us``; to six digits, never coarser than a millisecond."""
    if ns % 1_000 and ns < 1_000:
        return f"{ns} ns"
    if ns < 1_000_000:
        return f"{ns / 1_000:g} us"
    if ns < NS_PER_SECOND:
        return f"{round(ns / 1_000_000, 3):g} ms"
    if ns < 1_000 * NS_PER_SECOND:
        return f"{round(ns / NS_PER_SECOND, 6):g} s"
    return f"{ns / NS_PER_SECOND:.3f}".rstrip("0").rstrip(".") + " s"
