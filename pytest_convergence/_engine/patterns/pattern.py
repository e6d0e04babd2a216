"""What a pattern is: a reference protocol, the properties that it promises, and how its result is read.

A pattern object is a frozen configuration. It makes one machine for each agent's life and never keeps state of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.base.time import to_ns
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Pattern", "positive_ns"]


@runtime_checkable
class Pattern(Protocol):
    """A pattern of coordination, configured.

    ``inputs`` are the keyword arguments of ``Session.run``; a *view* is what a machine's ``view()`` returns.
    """

    @property
    def name(self) -> str:
        """The name by which the marker asks for it."""
        ...

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the properties that every run is checked for."""
        ...

    def validate(self, agents: Sequence[str]) -> None:
        """Check the configuration for these agents.

        Raises:
            ConvergenceUsageError: an option is out of range.
        """
        ...

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return how many agents must be alive and connected for the protocol to make progress."""
        ...

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check what ``run`` was given.

        Raises:
            ConvergenceUsageError: an input is missing, unknown or names an agent that does not exist.
        """
        ...

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the state machine of one life of ``agent``."""
        ...

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return what the live agents agree on, or ``None`` where they do not agree (yet)."""
        ...

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether an allowed input or resolver could have produced ``value``."""
        ...

    def leader(self, view: Any) -> str | None:
        """Return the leader that ``view`` names; ``None`` if there is none, or the pattern has no leaders."""
        ...


def positive_ns(seconds: Any, what: str) -> int:
    """Return ``seconds`` in nanoseconds.

    Raises:
        ConvergenceUsageError: it is not a finite number greater than zero.
    """
    ns = to_ns(seconds, what)
    if ns == 0:
        raise ConvergenceUsageError(f"{what} must be greater than zero, not {seconds!r}.")
    return ns
