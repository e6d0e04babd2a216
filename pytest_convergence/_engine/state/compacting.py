"""Which updates have done their work: deletes, discards and erasures that everybody knows of, and what they took out.

An update is *causally stable* once no write can come any more whose author had not seen it (C. Baquero, P. Almeida,
A. Shoker, Making Operation-Based CRDTs Operation-Based, 2014, section 5). Of stable updates some are needed no more:

1. A *delete* that hides nothing of what is here.
2. A *discard* of an item that no value at or above its path may hold. (Additions that it had seen are gone anyway.)
3. An *append* or *insert* all of whose items are erased, if nobody's items stand beside them: whoever knows of the erasure
   inserts beside items that are shown (:mod:`.sequences`), so nobody will any more.
4. An *erasure* of items that are all gone.

What would leave nothing at the path of a set or list is kept, so that it reads as empty and not as absent. An erasure
that has a rival, an update of the same list that it does not commute with, does not count: the order of the two is that of
their times, and where others stand would depend on it.

Erased items beside which others stand are kept, so a text that is edited in the middle keeps some of its past.

Replicas may drop at different times, and never look at each other's updates to do so: what is read stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_convergence._engine.state.conflicts import are_rivals
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.paths import Path
from pytest_convergence._engine.state.updates import Dot, Update

__all__ = ["HIDING", "droppable"]

HIDING: Final = ("delete", "discard", "erase")
"""The operations that take something away: once nobody can miss what they took, they are of no more use."""

_ITEMS: Final = ("append", "insert")

_UNNAMED: Final = ("", 0)
"""Items of a list that was a part of a larger value have names that say no more than this."""


def droppable(
    live: LiveUpdates, hiding: Mapping[Dot, Update], is_stable: Callable[[Dot], bool]
) -> tuple[Update, ...]:
    """Return the live updates that can go; ``hiding`` holds those of them whose operation is in :data:`HIDING`."""
    stable = {dot: each for dot, each in hiding.items() if is_stable(dot)}
    deletes = {dot for dot, each in stable.items() if each.operation == "delete"}
    dropped: dict[Dot, Update] = {}
    lists: dict[Path, list[Update]] = {}
    for dot, each in stable.items():
        if each.operation == "erase":
            lists.setdefault(each.segments, []).append(each)
        elif each.operation == "delete":
            if all(other.dot in deletes or other.has_seen(each) for other in live.overlapping(each.segments)):
                dropped[dot] = each
        elif all(_is_indifferent(other, each) for other in live.overlapping(each.segments)):
            dropped[dot] = each
    for path, erasures in lists.items():
        dropped.update((each.dot, each) for each in _of_list(live, path, erasures))
    for path in dict.fromkeys(each.segments for each in dropped.values() if each.operation != "delete"):
        _keep_one(live, path, dropped)
    return tuple(dropped.values())


def _is_indifferent(other: Update, discard: Update) -> bool:
    """Whether ``other`` shows the same without the discard."""
    if other.has_seen(discard) or (
        other.operation in ("add", "discard") and other.segments == discard.segments
    ):
        return True
    return other.operation == "set" and discard.has_seen(other) and not _holds(other, discard)


def _holds(written: Update, discard: Update) -> bool:
    """Whether the item is in the set that a value at or above the path of the discard brought there."""
    part: Any = written.stored
    for segment in discard.segments[len(written.segments) :]:
        if not isinstance(part, dict) or segment not in part:
            return False
        part = part[segment]
    return isinstance(part, set | frozenset) and discard.stored in part


def _of_list(live: LiveUpdates, path: Path, erasures: list[Update]) -> list[Update]:
    around = list(live.overlapping(path))
    sure = [each for each in erasures if not any(are_rivals(each, other) for other in around)]
    erased = {id for each in sure for id in each.stored.ids}
    items = {each.dot: each for each in around if each.segments == path and each.operation in _ITEMS}
    gone = {
        dot: each
        for dot, each in items.items()
        if not each.sources
        and all((*dot, number) in erased for number in range(_size(each)))
        and not any(are_rivals(each, other) for other in around)
    }
    while True:  # whoever stands beside others keeps them
        held = {
            each.stored.parent[:2]
            for dot, each in items.items()
            if dot not in gone and each.operation == "insert" and each.stored.parent is not None
        }
        kept = [dot for dot in gone if dot in held]
        if not kept:
            break
        for dot in kept:
            del gone[dot]
    here = {_UNNAMED, *(each.dot for each in around)} - gone.keys()
    done = [each for each in sure if not any(id[:2] in here for id in each.stored.ids)]
    return [*gone.values(), *done]


def _size(update: Update) -> int:
    return len(update.stored.items) if update.operation == "insert" else 1


def _keep_one(live: LiveUpdates, path: Path, dropped: dict[Dot, Update]) -> None:
    here = live.at(path)
    if here and all(each.dot in dropped for each in here):
        rest = [each for each in here if each.operation in HIDING and each.operation != "delete"]
        if rest:
            del dropped[max(rest, key=lambda each: each.order).dot]
