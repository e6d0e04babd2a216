"""Restart intensity: a supervisor that needs more than its number of restarts within its period stops and escalates.

Source: MaxR and MaxT of Erlang/OTP's supervisors. A supervisor that was itself restarted counts anew.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.delegations import Delegations, task_of
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["RESTART_INTENSITY"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._delegations = Delegations()
        self._restarts: dict[tuple[str, int], dict[Any, int]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        self._delegations.feed(event)
        fact, data = fact_of(event)
        if fact != "restart" or data.get("at_most") is None or data.get("within") is None:
            return None
        task = task_of(data)
        times = self._restarts.setdefault((task, self._delegations.newest.get(task, 1)), {})
        times.setdefault(data.get("number", len(times)), event.at_ns)  # said again after a crash: known
        within_ns = round(data["within"] * NS_PER_SECOND)
        recent = sum(event.at_ns - at_ns < within_ns for at_ns in times.values())
        if recent <= data["at_most"]:
            return None
        message = (
            f"{event.agent} restarted parts of {task!r} {recent} times within {data['within']:g} s; after "
            f"{data['at_most']} it must give up and escalate"
        )
        return Violation(RESTART_INTENSITY.name, message, event.at_ns, (event.agent,), dict(data))

    def finish(self, final: FinalState) -> None:
        return None


RESTART_INTENSITY: Final = Property(
    "restart_intensity",
    Kind.HISTORY,
    "No supervisor restarts more often within its period than it may.",
    _Checker,
)
