"""Hedge idempotent: a part that several agents were asked for has the effect of one.

Source: J. Dean, L. A. Barroso, *The Tail at Scale* (CACM 56/2, 2013): of a request and its hedge the first answer is
used, and the other dropped.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rounds import Rounds

__all__ = ["HEDGE_IDEMPOTENT"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._rounds = Rounds()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "round":
            self._rounds.begin(event.agent, data)
            return None
        if fact != "part_counted":
            return None
        found, now, before = self._rounds.count(event.agent, data)
        if before is None or before.by == now.by:
            return None
        part = data.get("part")
        message = (
            f"{event.agent} counted the part {part!r} of round {found.number} by {before.by} and once more by {now.by}, "
            "who was asked for the same"
        )
        facts = {"round": found.number, "part": part, "first": before.by, "second": now.by}
        return Violation(HEDGE_IDEMPOTENT.name, message, event.at_ns, (event.agent, before.by, now.by), facts)

    def finish(self, final: FinalState) -> None:
        return None


HEDGE_IDEMPOTENT: Final = Property(
    "hedge_idempotent", Kind.HISTORY, "Of several agents asked for one part, one answer counts.", _Checker
)
