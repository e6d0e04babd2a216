"""A transfer happens once: what an agent took, and gave away or finished, it does not take again by the same token.

A network may deliver the message that transfers a work twice, or late; the second arrival must change nothing.

Saltzer, Reed, Clark, "End-to-end arguments in system design", 1984, section on duplicate suppression.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import GAINS, LOSSES, token_text, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["TRANSFER_EXACTLY_ONCE"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._lost: dict[tuple[str, Any, Any], str] = {}
        self._taken: set[tuple[str, Any, Any]] = set()

    def feed(self, event: TraceEvent) -> Violation | None:
        said = told(event)
        if said is None or said.token is None:
            return None
        held = (said.agent, said.task, said.token)
        if said.fact in LOSSES:
            self._lost[held] = said.fact
        elif said.fact in GAINS:
            how = self._lost.get(held) or ("taken" if said.fact == "taken" and held in self._taken else None)
            if said.fact == "taken":
                self._taken.add(held)
            if how is not None:
                before = {
                    "release": "had given it away",
                    "finished": "had finished it",
                    "withdraw": "had withdrawn it",
                }
                message = (
                    f"{said.agent} took the work {said.task!r} by token {token_text(said.token)} once more: by that token "
                    f"it {before.get(how, 'had taken it')} before"
                )
                facts = {"task": said.task, "token": said.token}
                return Violation(TRANSFER_EXACTLY_ONCE.name, message, said.at_ns, (said.agent,), facts)
        return None

    def finish(self, final: FinalState) -> None:
        return None


TRANSFER_EXACTLY_ONCE: Final = Property(
    "transfer_exactly_once",
    Kind.TRANSITION,
    "An agent takes a work by one token once, however often the transfer arrives.",
    _Checker,
)
