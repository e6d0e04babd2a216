"""The life of a session as a table: nothing but these transitions is legal."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from pytest_convergence.errors import InternalError

__all__ = ["TRANSITIONS", "SessionState", "advance"]


class SessionState(enum.Enum):
    """Where a session stands."""

    INITIALIZING = "initializing"
    COORDINATING = "coordinating"
    EXECUTING = "executing"
    SYNCHRONIZING = "synchronizing"
    CONVERGING = "converging"
    CONVERGED = "converged"
    DIVERGED = "diverged"
    FAILED = "failed"

    _followers: tuple[SessionState, ...]

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[Mapping[SessionState, frozenset[SessionState]]] = {
    SessionState.INITIALIZING: frozenset({SessionState.COORDINATING, SessionState.FAILED}),
    SessionState.COORDINATING: frozenset({SessionState.EXECUTING, SessionState.FAILED}),
    SessionState.EXECUTING: frozenset({SessionState.SYNCHRONIZING, SessionState.FAILED}),
    SessionState.SYNCHRONIZING: frozenset({SessionState.CONVERGING, SessionState.FAILED}),
    SessionState.CONVERGING: frozenset({SessionState.CONVERGED, SessionState.DIVERGED, SessionState.FAILED}),
    SessionState.CONVERGED: frozenset(),
    SessionState.DIVERGED: frozenset(),
    SessionState.FAILED: frozenset(),
}
"""State -> the states that may follow. Initializing makes the agents, coordinating starts the pattern, executing runs the
scenario and the behaviours, synchronizing stops the faults and settles, converging judges."""

for _state, _successors in TRANSITIONS.items():
    # Looked through by identity: an enum's hash is a function in Python.
    _state._followers = tuple(_successors)


def advance(state: SessionState, to: SessionState) -> SessionState:
    """Return ``to`` if it may follow ``state``.

    Raises:
        InternalError: it may not.
    """
    if to not in state._followers:
        raise InternalError(f"a session cannot go from {state.value} to {to.value}; please report this")
    return to
