"""Straggler bound: a round that has a deadline ends by it, whoever is slow, crashed or cut off.

The deadline counts from the fact ``round``, which is observed again after a restart. Time for which the agent was paused
does not count, and a quarter more is allowed, for clocks and steps that are slow.

Source: J. Dean, L. A. Barroso, *The Tail at Scale* (CACM 56/2, 2013), on answers that are good enough in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.held_up import HOLDING, HeldUp, allowed_ns
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["STRAGGLER_BOUND"]


class _Open(NamedTuple):
    """A round that has not ended: when it began, how long its agent had been paused by then, how long it may take."""

    since_ns: int
    paused_ns: int
    allowed_ns: int


class _Checker:
    kinds: Final = frozenset({"observe", *HOLDING})

    def __init__(self, scope: Scope) -> None:
        self._held = HeldUp()
        self._open: dict[tuple[str, Any], _Open] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind in HOLDING:
            self._held.feed(event)
            return None
        fact, data = fact_of(event)
        if fact == "round" and data.get("deadline") is not None:
            paused_ns = self._held.until(event.agent, event.at_ns)
            began = _Open(event.at_ns, paused_ns, allowed_ns(data["deadline"]))
            self._open[event.agent, data.get("round")] = began
        elif fact in ("round_closed", "merged"):
            return self._ended(event, data)
        return None

    def _ended(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        number = data.get("round")
        began = self._open.pop((event.agent, number), None)
        if began is None:
            return None
        return self._judge(event.agent, number, began, event.at_ns, "took")

    def _judge(self, agent: str, number: Any, began: _Open, now_ns: int, verb: str) -> Violation | None:
        took_ns = now_ns - began.since_ns - (self._held.until(agent, now_ns) - began.paused_ns)
        if took_ns <= began.allowed_ns:
            return None
        message = (
            f"round {number} of {agent} {verb} {format_ns(took_ns)}; with its deadline and a quarter it may take "
            f"{format_ns(began.allowed_ns)}"
        )
        facts = {"round": number, "took_ns": took_ns, "allowed_ns": began.allowed_ns}
        return Violation(STRAGGLER_BOUND.name, message, now_ns, (agent,), facts)

    def finish(self, final: FinalState) -> Violation | None:
        for (agent, number), began in self._open.items():
            if final.settled and agent in final.core:
                return self._judge(agent, number, began, final.at_ns, "has not ended after")
        return None


STRAGGLER_BOUND: Final = Property(
    "straggler_bound",
    Kind.EVENTUALLY,
    "A round with a deadline ends by it, whoever is slow, crashed or cut off.",
    _Checker,
)
