"""How far each item of a pipeline has come, read from the facts that its agents observe."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import ItemFact, Ledger

__all__ = ["ItemProgress", "ItemState", "item_progress"]


class ItemState(StrEnum):
    """What is happening to an item."""

    WAITING = "waiting"
    """It was fed, or has passed a stage, and the next one has not taken it (or has lost it in a crash)."""
    TAKEN = "taken"
    """A stage has taken it, and does not work on it yet."""
    WORKING = "working"
    RETRYING = "retrying"
    """An attempt has failed, and another one will follow."""
    DONE = "done"
    DEAD_LETTER = "dead letter"
    REJECTED = "rejected"
    ABANDONED = "abandoned"


_STATES: Final = {
    "take": ItemState.TAKEN,
    "attempt": ItemState.WORKING,
    "fail": ItemState.RETRYING,
    "retry": ItemState.RETRYING,
    "release": ItemState.WAITING,
    "dead_letter": ItemState.DEAD_LETTER,
    "reject": ItemState.REJECTED,
    "abandon": ItemState.ABANDONED,
}
_HELD: Final = frozenset({ItemState.TAKEN, ItemState.WORKING, ItemState.RETRYING})
_ENDED: Final = frozenset({ItemState.DONE, ItemState.DEAD_LETTER, ItemState.REJECTED, ItemState.ABANDONED})


@final
@dataclass(frozen=True, slots=True)
class ItemProgress:
    """How far an item has come.

    Attributes:
        item: its idempotency key, by default its place among the items.
        state: what is happening to it.
        stage: the stage at which it is or was last; ``None`` before the first.
        passed: the stages at which it took effect, in order.
        failures: how many attempts have failed, at all stages.
        at: virtual seconds of the last change.
    """

    item: Any
    state: ItemState
    stage: str | None = None
    passed: tuple[str, ...] = ()
    failures: int = 0
    at: float = 0.0


def item_progress(trace: Iterable[TraceEvent]) -> dict[Any, ItemProgress]:
    """Return how far each item has come, in the order in which they were fed, by item (by its text if it has no hash).

    Args:
        trace: of a session that runs (``session.trace``) or has run (``outcome.trace``). What has left its window is not
            known any more, and without a trace nothing is.
    """
    ledger = Ledger()
    found: dict[Hashable, ItemProgress] = {}
    holders: dict[Hashable, str] = {}
    for event in trace:
        if event.kind == "crash":
            for item in [item for item, holder in holders.items() if holder == event.agent]:
                del holders[item]
                found[item] = replace(found[item], state=ItemState.WAITING, at=event.at)
            continue
        told = ledger.enter(event)
        if told is None or told.fact == "ack":
            continue
        now = found.get(told.item) or ItemProgress(told.shown, ItemState.WAITING, at=event.at)
        found[told.item] = now = _after(now, told, event, done=ledger.came_out(told.item))
        if now.state in _HELD:
            holders[told.item] = event.agent
        else:
            holders.pop(told.item, None)
    return dict(found)


def _after(now: ItemProgress, told: ItemFact, event: TraceEvent, *, done: bool) -> ItemProgress:
    if told.fact == "feed" or now.state in _ENDED:
        return now
    if told.fact == "effect":
        passed = now.passed if told.stage in now.passed else (*now.passed, told.stage)
        state = ItemState.DONE if done else ItemState.WAITING
        return replace(now, state=state, stage=told.stage, passed=passed, at=event.at)
    failures = now.failures + (told.fact == "fail" and not told.recalled)
    state = _STATES[told.fact]
    stage = now.stage if told.fact == "abandon" else told.stage
    return replace(now, state=state, stage=stage, failures=failures, at=event.at)
