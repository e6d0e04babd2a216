"""The context is intact: what a new owner has is what the one before it handed over.

``context`` is the task's state, or a digest of it: whatever the agents say, it must be the same on both sides. After a
recovery it must be one that some owner has had: the last one may have died before it could tell.

Saltzer, Reed, Clark, "End-to-end arguments in system design", 1984: checked by the ends, not by what lies between.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.ownership import GAINS, Told, told
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["CONTEXT_INTACT"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._offered: dict[tuple[Any, Any], Told] = {}
        self._known: dict[Any, list[Any]] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        said = told(event)
        if said is None or "context" not in said.data:
            return None
        context, known = said.data["context"], self._known.setdefault(said.task, [])
        offer = self._offered.get((said.task, said.token))
        if said.fact == "offered":
            self._offered[said.task, said.token] = said
        elif said.fact in GAINS and offer is not None and offer.data.get("to", said.agent) == said.agent:
            if context != offer.data["context"] and not _was_saved(known, context, offer):
                return _violation(said, offer.agent, offer.data["context"])
        elif said.fact in GAINS and known and context not in known:
            return _violation(said, "its former owners", known[-1])
        if context not in known:
            known.append(context)
        return None

    def finish(self, final: FinalState) -> None:
        return None


def _was_saved(known: list[Any], context: Any, offer: Told) -> bool:
    """Whether the context is one that came after the one that was offered: the owner has saved it itself."""
    return context in known and known.index(context) > known.index(offer.data["context"])


def _violation(said: Told, giver: str, before: Any) -> Violation:
    context = said.data["context"]
    message = f"{said.agent} has the work {said.task!r} with {context!r}, but {giver} handed over {before!r}"
    facts = {"task": said.task, "handed over": before, "arrived": context}
    return Violation(CONTEXT_INTACT.name, message, said.at_ns, (said.agent,), facts)


CONTEXT_INTACT: Final = Property(
    "context_intact",
    Kind.TRANSITION,
    "A new owner has the context of a work as it was handed over.",
    _Checker,
)
