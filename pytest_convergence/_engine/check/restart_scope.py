"""Restart scope: a supervisor restarts what its strategy says, no more and no less.

Source: the restart strategies of Erlang/OTP's supervisors; Armstrong, *Making reliable distributed systems in the presence
of software errors* (2003), section 5.2. A task's new attempt is its restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegations, attempt_of, task_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["RESTART_SCOPE"]


class _Restart:
    """A restart of which not everything has begun again yet."""

    def __init__(self, event: TraceEvent, data: Mapping[str, Any], attempt: int) -> None:
        self.agent = event.agent
        self.task = task_of(data)
        self.attempt = attempt
        self.number = data.get("number")
        self.strategy = str(data.get("strategy", "one_for_one"))
        self.failed = list(data.get("failed", ()))
        self.owed = _scope(self.strategy, self.failed, list(data.get("parts", ())))

    def __str__(self) -> str:
        failed = ", ".join(map(repr, self.failed))
        return f"by {self.strategy}, after {failed} failed"


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()
        self._restarts: dict[str, _Restart] = {}  # by the supervisor's task: the last one
        self._known: dict[str, int] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        self._delegations.feed(event)
        if fact == "restart":
            return self._restarted(event, data)
        if fact == "delegate":
            return self._delegated(event, data)
        if fact == "end" and data.get("how") != "done":
            self._restarts.pop(task_of(data), None)  # it gave up instead
        return None

    def _restarted(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        task = task_of(data)
        now = _Restart(event, data, self._delegations.newest.get(task, 1))
        before = self._restarts.get(task)
        if before is not None and before.attempt == now.attempt and before.number == now.number is not None:
            return None  # remembered after a crash
        self._restarts[task] = now
        return self._missing(before, event.at_ns) if before is not None else None

    def _delegated(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        name, attempt = task_of(data), attempt_of(data)
        before = self._known.get(name)
        if before is not None and attempt <= before:
            return None  # said again
        self._known[name] = attempt
        restart = self._restarts.get(self._delegations.tasks[name].parent)
        if before is None or restart is None:
            return None  # the first attempt, or one of a supervisor that says nothing of restarts
        if name in restart.owed:
            restart.owed.remove(name)
            return None
        message = f"{event.agent} restarted {name!r}, which is out of scope {restart}"
        return Violation(RESTART_SCOPE.name, message, event.at_ns, (event.agent,), dict(data))

    def _missing(self, restart: _Restart, at_ns: int) -> Violation | None:
        work = self._delegations.works.get((restart.task, restart.attempt))
        if not restart.owed or work is None or work.how not in ("", "done"):
            return None
        owed = ", ".join(map(repr, restart.owed))
        message = f"{restart.agent} did not restart {owed}, which is in scope {restart}"
        return Violation(
            RESTART_SCOPE.name, message, at_ns, (restart.agent,), {"missing": list(restart.owed)}
        )

    def finish(self, final: FinalState) -> Violation | None:
        for restart in self._restarts.values():
            missing = self._missing(restart, final.at_ns) if restart.agent in final.core else None
            if missing is not None:
                return missing
        return None


def _scope(strategy: str, failed: Sequence[str], parts: Sequence[str]) -> list[str]:
    if strategy == "one_for_all":
        return list(parts)
    if strategy == "rest_for_one":
        first = min((parts.index(task) for task in failed if task in parts), default=len(parts))
        return list(parts[first:])
    return list(failed)


RESTART_SCOPE: Final = Property(
    "restart_scope",
    Kind.HISTORY,
    "A supervisor restarts the tasks that its strategy names, and no others.",
    _Checker,
)
