"""Cancellation propagates: who is told to stop stops, and so does everybody who works for them.

Source: structured concurrency, Smith, *Notes on structured concurrency* (2018); Sústrik, *Structured concurrency* (2016).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegated, Delegations, Work
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["CANCEL_PROPAGATES"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()

    def feed(self, event: TraceEvent) -> None:
        self._delegations.feed(event)

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for work in self._delegations.active():
            cancelled = self._cancelled_above(work)
            if cancelled is None or work.agent not in final.core or cancelled.by not in final.core:
                continue
            message = f"{work} goes on, although {cancelled.by} has cancelled {cancelled.task!r}"
            facts = {"task": work.task, "cancelled": cancelled.task}
            return Violation(CANCEL_PROPAGATES.name, message, final.at_ns, (work.agent, cancelled.by), facts)
        return None

    def _cancelled_above(self, work: Work) -> Delegated | None:
        """Return the task that was cancelled, if this is work on it or on a part of it."""
        attempt = work.attempt
        for task in self._delegations.above(work.task):
            if task.cancelled >= attempt:
                return task
            attempt = task.parent_attempt
        return None


CANCEL_PROPAGATES: Final = Property(
    "cancel_propagates",
    Kind.EVENTUALLY,
    "Who is told to stop stops in the end, and so do all who work for them.",
    _Checker,
)
