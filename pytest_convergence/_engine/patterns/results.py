"""Results that are told to everybody: what all agents hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_convergence._engine.base.canonical import canonical

__all__ = ["common_view"]


def common_view(views: Mapping[str, Any]) -> Any:
    """Return what all of ``views`` hold, or ``None``.

    They are compared by their canonical text: a result may be of a type of the user's, and what a message carries is a
    copy, which need not be equal to the original.
    """
    values = list(views.values())
    if not values or any(value is None for value in values):
        return None
    first = canonical(values[0])
    return values[0] if all(canonical(value) == first for value in values[1:]) else None
