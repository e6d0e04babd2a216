"""Deadlines shrink downwards: nobody is given longer than whoever gives it has, and nobody works for longer than that.

Source: deadline propagation as in gRPC (*gRPC and Deadlines*, 2018), where time left is handed on because clocks differ.
What an agent could not do anything about (a pause, a stall) does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import (
    GRACE_NS,
    HELD,
    Delegations,
    Work,
    attempt_of,
    task_of,
)
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["DEADLINE_RESPECTED"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"}) | HELD

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        work = self._work(data) if fact == "end" else None
        if work is not None and work.is_active and (late := _late(work, event.at_ns)):
            return late
        self._delegations.feed(event)
        if fact == "delegate":
            return self._judge_grant(event, data)
        return self._judge_begin(event, data) if fact == "begin" else None

    def _work(self, data: Mapping[str, Any]) -> Work | None:
        return self._delegations.works.get((task_of(data), attempt_of(data)))

    def _judge_grant(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        above = self._delegations.parent_work(self._delegations.tasks[task_of(data)])
        if above is None or above.deadline_ns is None or data.get("seconds") is None:
            return None
        until_ns = event.at_ns + round(data["seconds"] * NS_PER_SECOND)
        if until_ns <= above.deadline_ns + GRACE_NS:
            return None
        message = (
            f"{event.agent} gave {data.get('to')} until {format_ns(until_ns)} for {task_of(data)!r}, but has itself only "
            f"until {format_ns(above.deadline_ns)}"
        )
        return Violation(DEADLINE_RESPECTED.name, message, event.at_ns, (event.agent,), dict(data))

    def _judge_begin(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        task = self._delegations.tasks.get(task_of(data))
        if task is None or task.granted_ns is None or task.attempt != attempt_of(data):
            return None
        seconds = data.get("seconds")
        if seconds is not None and round(seconds * NS_PER_SECOND) <= task.granted_ns + GRACE_NS:
            return None
        takes = "no deadline" if seconds is None else f"{seconds:g} s"
        message = (
            f"{event.agent} takes {takes} for {task_of(data)!r}, but was given {format_ns(task.granted_ns)}"
        )
        return Violation(DEADLINE_RESPECTED.name, message, event.at_ns, (event.agent,), dict(data))

    def finish(self, final: FinalState) -> Violation | None:
        for work in self._delegations.active():
            if work.agent in final.core and (late := _late(work, final.at_ns)):
                return late
        return None


def _late(work: Work, at_ns: int) -> Violation | None:
    if work.deadline_ns is None or at_ns <= work.deadline_ns + GRACE_NS:
        return None
    message = f"{work} went on past its deadline, which was at {format_ns(work.deadline_ns)}"
    facts = {"task": work.task, "attempt": work.attempt}
    return Violation(DEADLINE_RESPECTED.name, message, at_ns, (work.agent,), facts)


DEADLINE_RESPECTED: Final = Property(
    "deadline_respected",
    Kind.HISTORY,
    "Nobody is given more time than whoever gives it has, and nobody works for longer.",
    _Checker,
)
