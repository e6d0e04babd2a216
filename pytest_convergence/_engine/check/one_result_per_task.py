"""One result per task: what counts is the result of the newest attempt, and it counts once.

Source: idempotent delegation; the attempt number is the fencing token of Kleppmann, *How to do distributed locking*
(2016), applied to results: what comes of a superseded attempt is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegations, attempt_of, task_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["ONE_RESULT_PER_TASK"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        wrong = self._wrong(task_of(data), data) if fact == "accept" else None
        self._delegations.feed(event)
        if wrong is None:
            return None
        message = f"{event.agent} accepted a result for {task_of(data)!r} {wrong}"
        return Violation(ONE_RESULT_PER_TASK.name, message, event.at_ns, (event.agent,), dict(data))

    def _wrong(self, name: str, data: Mapping[str, Any]) -> str | None:
        task = self._delegations.tasks.get(name)
        attempt = attempt_of(data)
        if task is None:
            return "which nobody had delegated"
        if attempt != task.attempt:
            return f"from attempt {attempt}, but the newest attempt is {task.attempt}"
        if task.cancelled >= attempt:
            return f"from attempt {attempt}, which it had cancelled"
        if task.accepted == attempt:
            return f"from attempt {attempt} for the second time"
        return None

    def finish(self, final: FinalState) -> None:
        return None


ONE_RESULT_PER_TASK: Final = Property(
    "one_result_per_task",
    Kind.HISTORY,
    "A task's result is accepted once, from its newest attempt.",
    _Checker,
)
