"""Fold is state: what the log comes to when it is folded is the state, whether from its first event or from a snapshot.

The defining equation of event sourcing (M. Fowler, *Event Sourcing*, 2005: the application state can be rebuilt from the
log, or from a snapshot and the events after it), and of checkpoints with a log (E. Elnozahy et al., *A Survey of
Rollback-Recovery Protocols in Message-Passing Systems*, 2002, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import Seen, equal, told

__all__ = ["FOLD_IS_STATE"]


class _Held(NamedTuple):
    seen: Seen
    state: Any


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"replica", "folded"})

    def __init__(self, scope: Scope) -> None:
        self._replicas: dict[str, _Held] = {}
        self._folds: dict[str, _Held] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "replica":
            held = self._replicas[event.agent] = _held(data)
            return self._compare(event, held, self._folds, folded=False)
        if fact == "folded":
            held = self._folds[event.agent] = _held(data)
            return self._compare(event, held, self._replicas, folded=True)
        return None

    def _compare(
        self, event: TraceEvent, now: _Held, others: Mapping[str, _Held], *, folded: bool
    ) -> Violation | None:
        for agent, other in others.items():
            if not equal(now.seen, other.seen) or canonical(now.state) == canonical(other.state):
                continue
            (logger, fold), (holder, held) = (event.agent, now), (agent, other)
            if not folded:
                (logger, fold), (holder, held) = (holder, held), (logger, fold)
            message = f"the log of {logger} comes to {fold.state!r}, and {holder} holds {held.state!r} after the same events"
            agents = tuple(dict.fromkeys((logger, holder)))
            facts = {"fold": fold.state, "state": held.state}
            return Violation(FOLD_IS_STATE.name, message, event.at_ns, agents, facts)
        return None

    def finish(self, final: FinalState) -> None:
        return None


def _held(data: Mapping[str, Any]) -> _Held:
    return _Held(told(data.get("seen")), data.get("state"))


FOLD_IS_STATE: Final = Property(
    "fold_is_state",
    Kind.ALWAYS,
    "A log, or a snapshot and the events after it, folds to the state of whoever has received the same events.",
    _Checker,
)
"""Judged on ``folded`` and ``replica`` facts, the latest of each agent."""
