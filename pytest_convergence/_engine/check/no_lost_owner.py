"""No lost owner: in the end every work that is not done has an owner that knows it.

A work is lost when its owner has released it and nobody has taken it, or when its owner came back from a crash and does not
know the work any more. A work whose owner stays dead is ``failover_within``'s concern.

Lamport and Lynch, "Distributed computing: models and methods", 1990, on the token of mutual exclusion that must be neither
lost nor doubled.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import ENDINGS, GAINS, Told, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_LOST_OWNER"]


class _Owned(NamedTuple):
    by: str
    has_crashed: bool
    released: bool


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._works: dict[Any, _Owned] = {}
        self._over: set[Any] = set()

    def feed(self, event: TraceEvent) -> None:
        if event.kind == "crash":
            for task, owned in self._works.items():
                if owned.by == event.agent:
                    self._works[task] = owned._replace(has_crashed=True)
            return
        said = told(event)
        if said is not None:
            self._follow(said)

    def _follow(self, said: Told) -> None:
        owned = self._works.get(said.task)
        if said.fact in GAINS:
            self._works[said.task] = _Owned(said.agent, has_crashed=False, released=False)
            if said.fact == "own":  # who merely takes a work may yet learn that it was finished before
                self._over.discard(said.task)
        elif said.fact == "suspend" and owned is not None and owned.by == said.agent:
            self._works[said.task] = owned._replace(has_crashed=False)  # it knows that it owns the work
        elif said.fact in ENDINGS:
            self._over.add(said.task)
        elif said.fact == "release" and owned is not None and owned.by == said.agent:
            self._works[said.task] = owned._replace(released=True)

    def finish(self, final: FinalState) -> Violation | None:
        if not final.demands_progress(self._scope):
            return None
        for task, owned in self._works.items():
            if task in self._over:
                continue
            if owned.released:
                what = "released it, and nobody has taken it"
            elif owned.has_crashed and owned.by in final.core:
                what = "owned it, crashed, and does not know of it since it came back"
            else:
                continue
            message = f"the work {task!r} is lost: {owned.by} {what}"
            return Violation(NO_LOST_OWNER.name, message, final.at_ns, (owned.by,), {"task": task})
        return None


NO_LOST_OWNER: Final = Property(
    "no_lost_owner",
    Kind.EVENTUALLY,
    "In the end every work that is not done has an owner that knows it.",
    _Checker,
)
