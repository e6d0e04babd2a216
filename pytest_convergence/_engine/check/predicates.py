"""Properties that a user states as a function of the session: always, never, eventually, sometimes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from textwrap import indent
from typing import Any, Final, TypeAlias, final

from pytest_convergence._engine.base.trace import KINDS, TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence.errors import ConvergenceUsageError

__all__ = [
    "Always",
    "Eventually",
    "Never",
    "Predicate",
    "PredicateChecker",
    "Sometimes",
    "check_predicate",
    "described",
    "judged",
    "predicate",
]

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
        holds, answer, said = judged(self._predicate, self._subject)
        if self._kind is Kind.SOMETIMES:
            self.reached = holds
            return None
        if holds is not (self._kind is Kind.NEVER):
            return None
        message = f"{_MUST[self._kind]}, but {self._when(agent)} it {_SHOWED[self._kind]}"
        if type(answer) is not bool:
            message += f": the predicate returned {answer!r}"
        details = "\n".join(filter(None, (said, described(self._subject))))
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


def judged(test: Predicate, subject: Any) -> tuple[bool, object, str]:
    """Ask a predicate: whether it holds, what it returned, and what it says if it asserts."""
    try:
        answer = test(subject)
    except AssertionError as error:  # a predicate may assert: then the message says what did not hold
        return False, False, str(error)
    return bool(answer), answer, ""


def described(subject: Any) -> str:
    """What the subject says about itself; sessions say what their agents hold."""
    describe: Callable[[], str] | None = getattr(subject, "describe_agents", None)
    return "" if describe is None else describe()


def check_predicate(name: str, test: object) -> None:
    """Check that ``test`` can be asked for the property ``name``.

    Raises:
        ConvergenceUsageError: it is not a plain function.
    """
    if inspect.iscoroutinefunction(test):
        raise ConvergenceUsageError(
            f"the predicate of the property {name!r} is a coroutine function; it is judged at one moment, so it must be a "
            "plain function of the session."
        )
    if not callable(test):
        raise ConvergenceUsageError(f"the property {name!r} needs a function of the session, not {test!r}.")


def predicate(name: str, kind: Kind | str, test: Predicate, patterns: Iterable[str] = ()) -> Property:
    """Return the property that ``test`` holds always, never, eventually (at the end) or sometimes (in some run).

    Raises:
        ConvergenceUsageError: ``test`` is not a function, or ``kind`` is not one of these four.
    """
    check_predicate(name, test)
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ConvergenceUsageError(f"the property {name!r} cannot be of the kind {kind!r}; kinds: {known}.")
    which = Kind(kind)
    return Property(
        name,
        which,
        f"{which} {name}",
        lambda scope: PredicateChecker(name, which, test, scope),
        patterns=tuple(patterns),
    )


# They read as the names of what they make: properties=[Always("one writer", …)]. ``patterns`` are those to which the
# property applies unasked, once the hook pytest_convergence_properties has returned it.


def Always(name: str, test: Callable[[Any], object], *, patterns: Iterable[str] = ()) -> Property:  # noqa: N802
    """The property that ``test(session)`` is true after every event.

    Raises:
        ConvergenceUsageError: ``test`` is not a plain function.
    """
    return predicate(name, Kind.ALWAYS, test, patterns)


def Never(name: str, test: Callable[[Any], object], *, patterns: Iterable[str] = ()) -> Property:  # noqa: N802
    """The property that ``test(session)`` is true after no event.

    Raises:
        ConvergenceUsageError: ``test`` is not a plain function.
    """
    return predicate(name, Kind.NEVER, test, patterns)


def Eventually(name: str, test: Callable[[Any], object], *, patterns: Iterable[str] = ()) -> Property:  # noqa: N802
    """The property that ``test(session)`` is true at the end, when faults have stopped and views are stable.

    Raises:
        ConvergenceUsageError: ``test`` is not a plain function.
    """
    return predicate(name, Kind.EVENTUALLY, test, patterns)


def Sometimes(name: str, test: Callable[[Any], object], *, patterns: Iterable[str] = ()) -> Property:  # noqa: N802
    """The property that ``test(session)`` is true after some event of some run of the test.

    If no run reaches it, the summary says so, and the test fails under ``convergence_strict``.

    Raises:
        ConvergenceUsageError: ``test`` is not a plain function.
    """
    return predicate(name, Kind.SOMETIMES, test, patterns)
