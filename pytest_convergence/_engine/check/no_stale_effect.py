"""No stale effect: what a resource accepts comes with fencing tokens that never decrease.

Judged where it matters, at the resource: an owner that was paused, or cut off, cannot know that it has been replaced.

Kleppmann, "How to do distributed locking", 2016; Burrows, "The Chubby lock service", OSDI 2006, section 2.4 (sequencers).
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import Told, token_text, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_STALE_EFFECT"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._greatest: dict[tuple[Any, Any], Told] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        said = told(event)
        if said is None or said.fact != "access" or said.token is None:
            return None
        place = (said.data.get("resource"), said.task)
        before = self._greatest.get(place)
        if before is None or before.token <= said.token:
            self._greatest[place] = said
            return None
        message = (
            f"the resource {place[0]!r} accepted token {token_text(said.token)} of {said.agent} for the work "
            f"{said.task!r}, after token {token_text(before.token)} of {before.agent}"
        )
        facts = {"task": said.task, "resource": place[0], "before": before.token, "accepted": said.token}
        return Violation(NO_STALE_EFFECT.name, message, said.at_ns, (before.agent, said.agent), facts)

    def finish(self, final: FinalState) -> None:
        return None


NO_STALE_EFFECT: Final = Property(
    "no_stale_effect",
    Kind.HISTORY,
    "The fencing tokens that a resource accepts for a work never decrease.",
    _Checker,
)
