"""Agents as strategies take them: a number, or names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["agent_names"]


def agent_names(agents: int | Iterable[str] | Mapping[str, Any], *, least: int = 1) -> tuple[str, ...]:
    """Return the names that a session would give to ``agents``.

    Raises:
        ConvergenceUsageError: they are not agents, or fewer than ``least``.
    """
    if isinstance(agents, Iterable) and not isinstance(agents, str | Mapping):
        agents = list(agents)
    names = tuple(SessionOptions.parse({"agents": agents}).agent_behaviours())
    if len(names) < least:
        raise ConvergenceUsageError(f"agents={agents!r}: this strategy needs at least {least} agents.")
    return names
