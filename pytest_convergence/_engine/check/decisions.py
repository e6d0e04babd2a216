"""What the properties of consensus share: who decided what, and when."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_convergence._engine.base.time import format_ns

__all__ = ["Decided"]


class Decided(NamedTuple):
    """One agent's decision."""

    agent: str
    value: Any
    at_ns: int

    def __str__(self) -> str:
        return f"{self.agent} decided {self.value!r} at {format_ns(self.at_ns)}"
