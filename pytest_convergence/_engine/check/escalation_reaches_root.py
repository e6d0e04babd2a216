"""Escalation reaches the root: no failure is lost on the way up.

Source: Erlang/OTP's supervision trees: a supervisor that cannot help fails in turn. So whoever delegated a task that failed
starts it again, cancels it, or fails itself; only the root has nobody to tell.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegations, Work
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["ESCALATION_REACHES_ROOT"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()

    def feed(self, event: TraceEvent) -> None:
        self._delegations.feed(event)

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for work in self._delegations.works.values():
            task = self._delegations.tasks.get(work.task)
            if work.how != "failed" or task is None:
                continue
            if work.agent in final.core and task.by in final.core and (fate := self._lost(work)):
                message = f"{work} failed, but {task.by} {fate}"
                facts = {"task": work.task, "attempt": work.attempt}
                return Violation(
                    ESCALATION_REACHES_ROOT.name, message, final.at_ns, (work.agent, task.by), facts
                )
        return None

    def _lost(self, work: Work) -> str | None:
        task = self._delegations.tasks[work.task]
        if task.attempt > work.attempt or task.cancelled >= work.attempt or task.accepted == work.attempt:
            return None
        above = self._delegations.parent_work(task)
        if above is None:
            return None
        if above.is_active:
            return "neither restarted it nor failed"
        return f"finished {task.parent!r} all the same" if above.how == "done" else None


ESCALATION_REACHES_ROOT: Final = Property(
    "escalation_reaches_root",
    Kind.EVENTUALLY,
    "Whoever delegated a task that failed restarts it, cancels it, or fails in turn.",
    _Checker,
)
