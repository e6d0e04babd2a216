"""Properties that a user states as a function of the session: always, never, eventually, sometimes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from textwrap import indent
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
        said = ""
        try:
            answer = self._predicate(self._subject)
        except AssertionError as error:  # a predicate may assert: then the message says what did not hold
            answer, said = False, str(error)
        holds = bool(answer)
        if self._kind is Kind.SOMETIMES:
            self.reached = holds
            return None
        if holds is not (self._kind is Kind.NEVER):
            return None
        message = f"{_MUST[self._kind]}, but {self._when(agent)} it {_SHOWED[self._kind]}"
        if type(answer) is not bool:
            message += f": the predicate returned {answer!r}"
        details = "\n".join(filter(None, (said, _described(self._subject))))
        facts = {"returned": answer, "agents": details} if details else {"returned": answer}
        if details:
            message += "\n" + indent(details, "    ")
        return Violation(self._name, message, at_ns, (agent,) if agent else (), facts)

    def _when(self, agent: str | None) -> str:
        if agent is None:
            return "when the world had settled"
        return f"after an event of {agent}" if agent else "after a step"


_MUST: Final = {
    Kind.ALWAYS: "this must always hold",
    Kind.NEVER: "this must never hold",
    Kind.EVENTUALLY: "this must hold in the end",
}
_SHOWED: Final = {Kind.ALWAYS: "did not", Kind.NEVER: "did", Kind.EVENTUALLY: "did not"}


def _described(subject: Any) -> str:
    """What the subject says about itself; sessions say what their agents hold."""
    describe: Callable[[], str] | None = getattr(subject, "describe_agents", None)
    return "" if describe is None else describe()


def predicate(name: str, kind: Kind | str, test: Predicate) -> Property:
    """Return the property that ``test`` holds always, never, eventually (at the end) or sometimes (in some run).

    Raises:
        ConvergenceUsageError: ``test`` is not a function, or ``kind`` is not one of these four.
    """
    if inspect.iscoroutinefunction(test):
        raise ConvergenceUsageError(
            f"the predicate of the property {name!r} is a coroutine function; it is judged at one moment, so it must be a "
            "plain function of the session."
        )
    if not callable(test):
        raise ConvergenceUsageError(f"the property {name!r} needs a function of the session, not {test!r}.")
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ConvergenceUsageError(f"the property {name!r} cannot be of the kind {kind!r}; kinds: {known}.")
    which = Kind(kind)
    return Property(name, which, f"{which} {name}", lambda scope: PredicateChecker(name, which, test, scope))
