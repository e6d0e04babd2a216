"""Sagas are atomic: in the end every step is done, or every step that was done is undone, once, in reverse.

Source: Garcia-Molina and Salem, *Sagas* (SIGMOD 1987): T1…Tn, or T1…Tj Cj…C1.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["SAGA_ATOMIC"]

_RECENT_NS: Final = 5_000_000_000
"""A saga that has not failed and in which something happened so shortly before the end may be under way."""


class _Saga:
    """What is known of one saga: the steps that it has, those that are done, and who is at one."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.done: list[str] = []
        self.undone: list[str] = []
        self.busy: dict[str, str] = {}  # agent -> step
        self.pivot: str | None = None
        self.failed = ""
        self.ended = False
        self.last_ns = 0


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._sagas: dict[str, _Saga] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            for saga in self._sagas.values():
                saga.busy.pop(event.agent, None)
            return None
        fact, data = fact_of(event)
        if not fact.startswith(("saga_", "step_")):
            return None
        name, step = str(data.get("saga")), str(data.get("step"))
        saga = self._sagas.setdefault(name, _Saga([]))
        saga.last_ns = event.at_ns
        if fact == "saga_begin":
            saga.steps, saga.pivot = list(data.get("steps", ())), data.get("pivot")
        elif fact == "saga_end":
            saga.ended = True
        elif fact == "step_begin":
            saga.busy[event.agent] = step
        else:
            saga.busy.pop(event.agent, None)
            wrong = self._step(saga, fact, step, data)
            if wrong is not None:
                message = f"{event.agent} {wrong} of saga {name!r}"
                return Violation(SAGA_ATOMIC.name, message, event.at_ns, (event.agent,), dict(data))
        return None

    def _step(self, saga: _Saga, fact: str, step: str, data: Any) -> str | None:
        if data.get("remembered") and (step in saga.done) == (fact == "step_done"):
            return None  # known
        if data.get("remembered") and step in saga.undone:
            return None
        if fact == "step_failed":
            saga.failed = saga.failed or step
        elif fact == "step_done":
            if step in saga.done:
                return f"did step {step!r} again"
            saga.done.append(step)
        elif fact == "step_undone":
            if step not in saga.done:
                which = "undid a second time" if step in saga.undone else "undid without its being done"
                return f"{which} step {step!r}"
            if saga.done[-1] != step:
                return f"undid step {step!r} before step {saga.done[-1]!r}, which was done after it,"
            saga.done.pop()
            saga.undone.append(step)
        return None

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for name, saga in self._sagas.items():
            left = saga.done
            if not left or len(left) == len(saga.steps) or any(agent in final.core for agent in saga.busy):
                continue
            # Behind the pivot a step that failed is tried again.
            goes_on = not saga.failed or saga.pivot in left
            if goes_on and not saga.ended and final.at_ns - saga.last_ns < _RECENT_NS:
                continue
            missing = [step for step in saga.steps if step not in left]
            why = f"{saga.failed} failed" if saga.failed else f"{', '.join(missing)} were not done"
            message = f"saga {name!r} is neither done nor undone: {why}, and {', '.join(left)} stayed done"
            facts = {"done": tuple(left), "missing": tuple(missing)}
            return Violation(SAGA_ATOMIC.name, message, final.at_ns, (), facts)
        return None


SAGA_ATOMIC: Final = Property(
    "saga_atomic",
    Kind.EVENTUALLY,
    "In the end all steps of a saga are done, or those that were are undone once, in reverse.",
    _Checker,
)
