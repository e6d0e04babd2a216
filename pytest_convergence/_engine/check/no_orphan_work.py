"""No orphan work: in the end nobody works on what nobody waits for any more.

Source: orphans of remote calls, Nelson, *Remote Procedure Call* (1981); here: an attempt that was superseded, a task whose
result was accepted already, or a part of a task that is over.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegations, Work
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_ORPHAN_WORK"]


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
            task = self._delegations.tasks.get(work.task)
            if task is None or work.agent not in final.core or task.by not in final.core:
                continue
            why = self._orphaned(work)
            if why is not None:
                message = f"{work} goes on, although {why}"
                facts = {"task": work.task, "attempt": work.attempt}
                return Violation(NO_ORPHAN_WORK.name, message, final.at_ns, (work.agent, task.by), facts)
        return None

    def _orphaned(self, work: Work) -> str | None:
        task = self._delegations.tasks[work.task]
        if task.attempt > work.attempt:
            return f"attempt {task.attempt} has taken its place"
        if task.accepted == work.attempt:
            return f"{task.by} has accepted its result"
        above = self._delegations.parent_work(task)
        if above is not None and not above.is_active and above.how != "crashed":
            return f"{task.parent!r}, of which it is a part, is {above.how}"
        return None


NO_ORPHAN_WORK: Final = Property(
    "no_orphan_work",
    Kind.EVENTUALLY,
    "In the end nobody works on a task that nobody waits for.",
    _Checker,
)
