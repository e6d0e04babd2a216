"""No ping-pong: a work changes hands no more often than its hop budget allows.

A recovery from a failed owner does not count. Where nobody states a budget (``max_hops`` of the fact ``offered``), it is 16.

Postel, "Internet protocol", RFC 791, section 3.2: a time to live bounds what routing loops can do.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import ENDINGS, GAINS, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_PING_PONG"]

_BUDGET: Final = 16


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._path: dict[Any, list[str]] = {}
        self._hops: dict[Any, int] = {}
        self._budget: dict[Any, int] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        said = told(event)
        if said is None:
            return None
        if said.fact in ENDINGS:
            self._path.pop(said.task, None)
            self._hops.pop(said.task, None)
        if said.fact == "offered" and said.data.get("max_hops") is not None:
            self._budget[said.task] = said.data["max_hops"]
        if said.fact not in GAINS:
            return None
        path = self._path.setdefault(said.task, [])
        if path and path[-1] == said.agent:
            return None
        recovered = said.data.get("reason") == "failure-recovery"
        hops = self._hops[said.task] = self._hops.get(said.task, -1) + (not recovered or not path)
        path.append(said.agent)
        budget = self._budget.get(said.task, _BUDGET)
        if hops <= budget:
            return None
        last = " → ".join(path[-6:])
        message = (
            f"the work {said.task!r} has changed hands {hops} times, and its hop budget is {budget}: … {last}"
        )
        facts = {"task": said.task, "hops": hops, "budget": budget}
        return Violation(NO_PING_PONG.name, message, said.at_ns, tuple(dict.fromkeys(path)), facts)

    def finish(self, final: FinalState) -> None:
        return None


NO_PING_PONG: Final = Property(
    "no_ping_pong",
    Kind.TRANSITION,
    "A work changes hands no more often than its hop budget allows.",
    _Checker,
)
