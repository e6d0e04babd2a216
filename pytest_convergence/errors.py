"""Every public exception and warning.

Three families tell whose fault it is: :class:`ConvergenceUsageError` (the test asked for something that does not exist),
:class:`RunFailure` (the agents under test misbehaved), :class:`InternalError` (this package broke its own rules).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "AgentCrashedError",
    "AgentError",
    "BudgetExceeded",
    "ConvergenceError",
    "ConvergenceUsageError",
    "ConvergenceWarning",
    "DeadlockError",
    "InternalError",
    "LivelockError",
    "PropertyViolation",
    "RefusedCallError",
    "RunFailure",
    "SimulationEscapeError",
    "StaleScheduleWarning",
    "StaleTokenError",
    "unknown_name",
]


class ConvergenceError(Exception):
    """Base class of every exception that this package raises on purpose."""


class ConvergenceUsageError(ConvergenceError, ValueError):
    """The arguments are wrong: the test has to change, not the agents."""


class AgentCrashedError(ConvergenceError):
    """A crashed agent was asked to act. ``restart()`` it first, or ask ``is_alive``."""


class StaleTokenError(ConvergenceError):
    """A guarded resource was used with a fencing token that has been replaced: the work belongs to somebody else by now."""


class SimulationEscapeError(ConvergenceError):
    """Code inside a run reached for the real world: a thread, a socket, a subprocess, a signal."""


class RefusedCallError(SimulationEscapeError, PermissionError):
    """A call that leads out of a run, which the program may try (``may_try=``): it fails as in a sandbox that forbids it."""

    def __str__(self) -> str:
        return str(self.args[1]) if len(self.args) > 1 else super().__str__()


class InternalError(ConvergenceError):
    """This package broke its own rules. Please report it together with the schedule that the message names."""


class RunFailure(ConvergenceError):
    """A run ended badly because of the agents under test.

    Attributes:
        outcome: the :class:`~pytest_convergence.Outcome` of the run up to the failure, or ``None`` where the failure
            was found before a run existed.
    """

    def __init__(self, message: str, *, outcome: Any = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class AgentError(RunFailure):
    """A behaviour, or a function that an agent ran, raised.

    Attributes:
        agent: the name of the agent. The original exception is ``__cause__``.
    """

    def __init__(self, message: str, *, agent: str, outcome: Any = None) -> None:
        super().__init__(message, outcome=outcome)
        self.agent = agent


class PropertyViolation(RunFailure, AssertionError):
    """A property did not hold.

    Attributes:
        violations: every :class:`~pytest_convergence.Violation`, the first one first.
    """

    def __init__(self, message: str, *, violations: Iterable[Any] = (), outcome: Any = None) -> None:
        super().__init__(message, outcome=outcome)
        self.violations = tuple(violations)


class DeadlockError(RunFailure):
    """Nothing is runnable, no timer is set, nothing is in flight, and somebody still waits."""


class BudgetExceeded(RunFailure):
    """A run went over its bound of events, of virtual time, or of real time."""


class LivelockError(BudgetExceeded):
    """Agents ran in circles: virtual time did not move on, or hundreds of terms came and went without a result."""


class ConvergenceWarning(UserWarning):
    """Something that does not fail a test but that its author should know."""


class StaleScheduleWarning(ConvergenceWarning):
    """The schedule that a test pins names messages or steps that do not come about any more, so it tests nothing."""


def nearest(value: object, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that is most like ``value``, or ``None`` if none is close."""
    matches = difflib.get_close_matches(str(value), list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(what: str, value: object, allowed: Iterable[str], *, fix: str = "") -> ConvergenceUsageError:
    """Build the error for a name that does not exist: the value, the nearest match, the names that exist, the fix."""
    names = sorted(allowed)
    guess = nearest(value, names)
    hint = f": did you mean {guess!r}?" if guess else "."
    known = ", ".join(repr(name) for name in names) or "none"
    tail = f" {fix}" if fix else ""
    return ConvergenceUsageError(f"unknown {what} {value!r}{hint} Known: {known}.{tail}")
