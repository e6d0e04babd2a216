"""How concurrent writes that do not agree become one value.

A resolver is a name and a function of the conflict. It must be a pure function: every replica resolves for itself, and
replicas agree because they ask the same question. *last-write* needs no function: it is the order in which updates are
applied anyway (time, then author), and a write that has seen another always comes after it, whatever the clocks say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from pytest_convergence._engine.state.conflicts import Conflict, Resolution
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["KNOWN_STRATEGIES", "Resolver", "Strategy", "as_resolver", "available_strategies"]

Decide: TypeAlias = Callable[[Conflict], Resolution | None]
"""Settles a conflict, or returns ``None`` to leave it unresolved (the last write is then read meanwhile)."""

Strategy: TypeAlias = "str | Resolver | Callable[[Conflict], Any]"
"""What ``resolve=`` takes: a name, a resolver, or a function from the conflict to the value."""

KNOWN_STRATEGIES: Final = (
    "priority",
    "first-come",
    "last-write",
    "merge",
    "arbitration",
    "rollback",
    "voting",
)
"""Every strategy that has a name. :func:`available_strategies` tells which of them can be used."""


@final
@dataclass(frozen=True, slots=True)
class Resolver:
    """A named way to settle conflicts. ``decide`` is ``None`` for last-write alone."""

    name: str
    decide: Decide | None = None


def _first_come(conflict: Conflict) -> Resolution:
    """The earliest write stands; equal times are decided by the author's name."""
    winner = conflict.writes[0].dot.agent
    return Resolution("first-come", conflict.values[winner], winner)


_AVAILABLE: Final = {
    "last-write": Resolver("last-write"),
    "first-come": Resolver("first-come", _first_come),
}


def available_strategies() -> tuple[str, ...]:
    """The names of the strategies that can be used."""
    return tuple(_AVAILABLE)


def as_resolver(strategy: Strategy) -> Resolver:
    """Return the resolver that ``strategy`` means.

    Raises:
        ConvergenceUsageError: no strategy has that name, it is not available, or the argument is neither a name nor a
            function.
    """
    if isinstance(strategy, Resolver):
        return strategy
    if isinstance(strategy, str):
        found = _AVAILABLE.get(strategy)
        if found is not None:
            return found
        usable = ", ".join(repr(name) for name in _AVAILABLE)
        if strategy in KNOWN_STRATEGIES:
            raise ConvergenceUsageError(
                f"resolve={strategy!r} is not available yet. Available: {usable}, or a function: "
                "resolve=lambda conflict: value."
            )
        raise unknown_name("resolve strategy", strategy, _AVAILABLE, fix="A function is accepted too.")
    if callable(strategy):
        return _by_function(strategy)
    raise ConvergenceUsageError(
        f"resolve={strategy!r} is neither the name of a strategy nor a function. Write resolve='last-write', or "
        "resolve=lambda conflict: value."
    )


def _by_function(function: Callable[[Conflict], Any]) -> Resolver:
    name = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        name = "function"

    def decide(conflict: Conflict) -> Resolution | None:
        answer = function(conflict)
        return answer if isinstance(answer, Resolution) else Resolution(name, answer)

    return Resolver(name, decide)
