"""Single owner: a work has at most one owner that may act.

An agent may act from the moment at which it says that it owns the work until it releases it, finishes it, suspends itself
(its lease has run out), or cannot act any more: it crashed, or is held up. What an agent *believes* is not judged; what
one does that was held up and goes on is caught at the resource (``no_stale_effect``).

Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache consistency", SOSP 1989.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import HELD_UP, LOSSES, Told, token_text, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["SINGLE_OWNER"]


class _Checker:
    kinds: Final = frozenset({"observe"}) | HELD_UP

    def __init__(self, scope: Scope) -> None:
        self._owners: dict[Any, dict[str, Told]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind != "observe":
            for owners in self._owners.values():
                owners.pop(event.agent, None)
            return None
        said = told(event)
        if said is None:
            return None
        owners = self._owners.setdefault(said.task, {})
        if said.fact == "own":
            other = next((each for each in owners.values() if each.agent != said.agent), None)
            owners[said.agent] = said
            return None if other is None else _violation(other, said)
        if said.fact in LOSSES or said.fact == "suspend":
            owners.pop(said.agent, None)
        return None

    def finish(self, final: FinalState) -> None:
        return None


def _violation(first: Told, second: Told) -> Violation:
    message = (
        f"{second.agent} owns the work {second.task!r} by token {token_text(second.token)}, while {first.agent} "
        f"owns it by token {token_text(first.token)} and has not released it"
    )
    facts = {"task": second.task, first.agent: first.token, second.agent: second.token}
    return Violation(SINGLE_OWNER.name, message, second.at_ns, (first.agent, second.agent), facts)


SINGLE_OWNER: Final = Property(
    "single_owner", Kind.ALWAYS, "A work has at most one owner that may act.", _Checker
)
