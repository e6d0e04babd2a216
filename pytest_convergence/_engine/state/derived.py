"""What was derived from what, and what a rollback therefore takes back at other paths.

1. A write may say which paths it was *derived from* (``state.set("total", …, depends_on=["price"])``, or
   ``with state.derived_from("price"):``). It then carries its *sources*: the updates that stood there, and theirs in turn,
   so that nobody has to look anything up that may be gone.
2. A rollback takes a path back to what all its writers had seen. What it *loses* are the writes at, above and below that
   path that some of the rivals had seen or were, and not all: the branches since the common ancestor.
3. A write with a lost source is undone too, unless its author knew of all the rivals. Where it had replaced something, the
   newest value that was found there and was not derived from what is lost comes back; what it had added goes away.
4. Who writes over what was rolled back says which branches are lost (``rolled``), and so does who writes over that. So
   what is undone is a function of the set of updates, in whatever order they come and however many of the rivals are
   gone by then.

Source: the orphans of optimistic recovery (R. Strom, S. Yemini, *Optimistic Recovery in Distributed Systems*, 1985), with
declared dependencies in the place of every message that was received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.conflicts import shortest_path
from pytest_convergence._engine.state.paths import Path, overlap
from pytest_convergence._engine.state.updates import DELETED, Dot, RolledBack, Source, Update

__all__ = ["NOT_APPLIED", "carried", "is_undone", "rolled_back", "sources_at", "undone_among"]

MOST_SOURCES: Final = 100
"""So many writes back what is derived is known to be."""


class _NotApplied:
    __slots__ = ()


NOT_APPLIED: Final = _NotApplied()
"""What an undone update leaves that had replaced nothing."""


def sources_at(
    paths: Iterable[Path], overlapping: Callable[[Path], Iterable[Update]], undone: Mapping[Dot, Any]
) -> tuple[Source, ...]:
    """What a write is derived from that depends on ``paths``: the updates that stand there, and their sources."""
    found: dict[Source, None] = {}
    passed_on: dict[Source, None] = {}
    for path in paths:
        for update in sorted(overlapping(path), key=lambda update: update.order, reverse=True):
            if update.dot not in undone:
                found[Source(update.segments, update.dot)] = None
                passed_on.update(dict.fromkeys(update.sources))
    return tuple({**found, **passed_on})[:MOST_SOURCES]


def rolled_back(members: Iterable[Update]) -> RolledBack:
    """What is lost when these rivals are rolled back."""
    rivals = tuple(members)
    low = high = _known(rivals[0])
    for rival in rivals[1:]:
        low, high = low & _known(rival), high | _known(rival)
    return RolledBack(shortest_path(rivals), low, high)


def _known(update: Update) -> VectorClock:
    return update.context | VectorClock({update.dot.agent: update.dot.counter})


def carried(rollbacks: Iterable[RolledBack], path: Path) -> tuple[RolledBack, ...]:
    """The rollbacks that a write to ``path`` has to pass on."""
    return tuple(each for each in rollbacks if overlap(each.segments, path))[-MOST_SOURCES:]


def _loses(rollback: RolledBack, sources: Iterable[Source]) -> bool:
    return any(
        rollback.high.covers(*source.dot)
        and not rollback.low.covers(*source.dot)
        and overlap(source.segments, rollback.segments)
        for source in sources
    )


def is_undone(update: Update, rollback: RolledBack) -> bool:
    """Whether a rollback takes an update back because of what that was derived from."""
    return bool(update.sources) and not rollback.high <= update.context and _loses(rollback, update.sources)


def undone_among(updates: Iterable[Update], rollbacks: Iterable[RolledBack]) -> dict[Dot, Any]:
    """The updates that are undone, each with the value that comes back, DELETED or :data:`NOT_APPLIED`."""
    losing = tuple(rollbacks)
    found: dict[Dot, Any] = {}
    for update in updates:
        if any(is_undone(update, rollback) for rollback in losing):
            found[update.dot] = _before(update, losing)
    return found


def _before(update: Update, rollbacks: tuple[RolledBack, ...]) -> Any:
    if update.operation not in ("set", "delete"):
        return NOT_APPLIED
    for past in update.past:
        if not any(_loses(rollback, past.sources) for rollback in rollbacks):
            return past.value
    return DELETED
