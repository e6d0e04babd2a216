"""What a pattern is: a reference protocol, the properties that it promises, and how its result is read.

A pattern object is a frozen configuration. It makes one machine for each agent's life and never keeps state of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.base.time import to_ns
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["FRUITLESS_TERMS", "Pattern", "check_function", "positive_ns"]

FRUITLESS_TERMS: Final = 500
"""So many terms in a row without a result are a livelock, where the pattern's own rounds have no bound."""


@runtime_checkable
class Pattern(Protocol):
    """A pattern of coordination, configured. To write one, inherit from this class and give it a ``name`` and a ``machine``.

    ``inputs`` are the keyword arguments of ``Session.run``; a *view* is what a machine's ``view()`` returns. What is not
    overridden demands nothing: no properties, any inputs, and a result as soon as all views are equal and not ``None``.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name by which the marker asks for it."""
        ...

    @property
    def properties(self) -> tuple[object, ...]:
        """What every run is checked for: names of properties, or :class:`Property` objects."""
        return ()

    @property
    def most_fruitless_terms(self) -> int | None:
        """After how many terms (or rounds) in a row without a result a run is a livelock; ``None`` for no such bound."""
        return None

    def validate(self, agents: Sequence[str]) -> None:
        """Check the configuration for these agents.

        Raises:
            ConvergenceUsageError: an option is out of range.
        """
        return

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return how many agents must be alive and connected for the protocol to make progress: a majority."""
        return len(agents) // 2 + 1

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check what ``run`` was given.

        Raises:
            ConvergenceUsageError: an input is missing, unknown or names an agent that does not exist.
        """
        return

    def dispensable(self, agents: Sequence[str]) -> int:
        """How many agents may be gone for good while the others must still come to a result; 0 if nobody may."""
        return 0

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the state machine of one life of ``agent``."""
        ...

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return what the live agents agree on, or ``None`` where they do not agree (yet)."""
        values = list(views.values())
        return values[0] if values and all(value == values[0] for value in values) else None

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether an allowed input or resolver could have produced ``value``."""
        return value is not None

    def leader(self, view: Any) -> str | None:
        """Return the leader that ``view`` names; ``None`` if there is none, or the pattern has no leaders."""
        return None

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return the user's functions that the machine of ``agent`` may ask for by a ``Call``, by name."""
        return {}

    def explain(self, views: Mapping[str, Any]) -> str:
        """Say in a few words why ``views`` are no result, or no valid one; ``""`` if there is nothing to say."""
        return ""

    def observed(self, agent: str, facts: Sequence[tuple[str, Mapping[str, Any]]]) -> Any:
        """Return the view of an agent that runs code of the user's instead of the reference protocol.

        Args:
            facts: what it has observed in its present life, oldest first.
        """
        decided = [data.get("value") for fact, data in facts if fact == "decide"]
        return decided[-1] if decided else None


def positive_ns(seconds: Any, what: str) -> int:
    """Return ``seconds`` in nanoseconds.

    Raises:
        ConvergenceUsageError: it is not a finite number greater than zero.
    """
    ns = to_ns(seconds, what)
    if ns == 0:
        raise ConvergenceUsageError(f"{what} must be greater than zero, not {seconds!r}.")
    return ns


def check_function(what: str, function: object, example: str) -> None:
    """Check that an input of a pattern can be called.

    Raises:
        ConvergenceUsageError: it cannot.
    """
    if not callable(function):
        raise ConvergenceUsageError(f"{what} must be a function such as {example}, not {function!r}.")
