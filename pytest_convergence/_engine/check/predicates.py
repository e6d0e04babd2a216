"""Properties that a user states as a function of the session: always, never, eventually, sometimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

from pytest_convergence._engine.base.trace import KINDS, TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Predicate", "PredicateChecker", "predicate"]

Predicate: TypeAlias = Callable[[Any], object]
"""A function of the session; what it returns counts as true or false. It must not change anything."""

_KINDS: Final = (Kind.ALWAYS, Kind.NEVER, Kind.EVENTUALLY, Kind.SOMETIMES)
_EVERY_EVENT: Final = frozenset(KINDS)
_NO_EVENT: Final[frozenset[str]] = frozenset()


@final
class PredicateChecker:
    """Judges one predicate over one run.

    Attributes:
        reached: whether the predicate of a *sometimes* property has held.
    """

    __slots__ = ("_kind", "_name", "_predicate", "_subject", "reached")

    def __init__(self, name: str, kind: Kind, test: Predicate, scope: Scope) -> None:
        self._name = name
        self._kind = kind
        self._predicate = test
        self._subject = scope.subject
        self.reached = False

    @property
    def kinds(self) -> frozenset[str]:
        """Every event for *always* and *never*, and for *sometimes* until it was reached; none for *eventually*."""
        return _NO_EVENT if self._kind is Kind.EVENTUALLY or self.reached else _EVERY_EVENT

    def feed(self, event: TraceEvent) -> Violation | None:
        """Judge after an event."""
        return (
            None if self._kind is Kind.EVENTUALLY or self.reached else self._judge(event.at_ns, event.agent)
        )

    def finish(self, final: FinalState) -> Violation | None:
        """Judge at the end."""
        return None if self.reached else self._judge(final.at_ns, None)

    def _judge(self, at_ns: int, agent: str | None) -> Violation | None:
        holds = bool(self._predicate(self._subject))
        if self._kind is Kind.SOMETIMES:
            self.reached = holds
            return None
        if holds is not (self._kind is Kind.NEVER):
            return None
        if self._kind is Kind.EVENTUALLY:
            message = f"eventually {self._name!r} had not come true when the world had settled"
        else:
            where = (
                "at the end" if agent is None else f"after an event of {agent}" if agent else "after a step"
            )
            message = f"{self._kind} {self._name!r} was broken {where}"
        return Violation(self._name, message, at_ns, (agent,) if agent else ())


def predicate(name: str, kind: Kind | str, test: Predicate) -> Property:
    """Return the property that ``test`` holds always, never, eventually (at the end) or sometimes (in some run).

    Raises:
        ConvergenceUsageError: ``test`` is not a function, or ``kind`` is not one of these four.
    """
    if not callable(test):
        raise ConvergenceUsageError(f"the property {name!r} needs a function of the session, not {test!r}.")
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ConvergenceUsageError(f"the property {name!r} cannot be of the kind {kind!r}; kinds: {known}.")
    which = Kind(kind)
    return Property(name, which, f"{which} {name}", lambda scope: PredicateChecker(name, which, test, scope))
