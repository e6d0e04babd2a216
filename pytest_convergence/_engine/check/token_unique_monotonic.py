"""Tokens are unique and grow: no two owners have the same fencing token, and a later owner has a greater one.

Burrows, "The Chubby lock service", OSDI 2006, section 2.4; Kleppmann, "How to do distributed locking", 2016.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import GAINS, Told, token_text, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["TOKEN_UNIQUE_MONOTONIC"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._owner: dict[tuple[Any, Any], str] = {}
        self._greatest: dict[Any, Told] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        said = told(event)
        if said is None or said.fact not in GAINS or said.token is None:
            return None
        owner = self._owner.setdefault((said.task, said.token), said.agent)
        if owner != said.agent:
            return _violation(
                said, owner, f"and so does {said.agent}: a token has one owner", by=f"{owner} has"
            )
        # What is merely taken may have been overtaken on its way; it may not be acted on.
        if said.fact != "own":
            return None
        greatest = self._greatest.get(said.task)
        if greatest is None or greatest.token <= said.token:
            self._greatest[said.task] = said
            return None
        after = f"after {greatest.agent} has owned the work by token {token_text(greatest.token)}"
        return _violation(said, greatest.agent, after, by=f"{said.agent} owns by")

    def finish(self, final: FinalState) -> None:
        return None


def _violation(said: Told, other: str, what: str, *, by: str) -> Violation:
    message = f"{by} token {token_text(said.token)} of the work {said.task!r}, {what}"
    facts = {"task": said.task, "token": said.token}
    return Violation(TOKEN_UNIQUE_MONOTONIC.name, message, said.at_ns, (other, said.agent), facts)


TOKEN_UNIQUE_MONOTONIC: Final = Property(
    "token_unique_monotonic",
    Kind.HISTORY,
    "No two owners of a work have the same token, and a later owner has a greater one.",
    _Checker,
)
