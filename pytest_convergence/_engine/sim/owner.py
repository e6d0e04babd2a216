"""Whose code runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Life

__all__ = ["OWNER"]

OWNER: Final[ContextVar[Life | None]] = ContextVar("pytest_convergence_owner", default=None)
"""The life of an agent. Tasks inherit it, so everything that an agent starts is the agent's."""
