"""A log of events, each kept once and in order, with a snapshot of all that came before it.

1. An event is one update. The events of one author are numbered without gaps, and the log takes the next one and no
   other: one that it has already is dropped, one that comes too early is refused.
2. The *fold* of the log is the snapshot with every event applied to it, causes before effects. What an event replaces is
   gone from the fold; it stays in the log.
3. A snapshot is the fold, with the clock up to which it goes. Then the events that it contains are not needed any more,
   and folding the snapshot with the later ones gives what folding them all would have given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.updates import Dot, Update, causal_key

__all__ = ["EventLog", "Events", "Snapshot", "fold_events"]


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a log has come to: the live updates, and the clock of everything that they are the outcome of."""

    clock: VectorClock = field(default_factory=VectorClock)
    updates: tuple[Update, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Snapshot:
        return self  # immutable all the way down


@final
@dataclass(frozen=True, slots=True)
class Events:
    """What one log tells another: the events between two clocks, causes before effects.

    Attributes:
        start: what the receiver must have already, or the clock of ``snapshot``.
        end: what it has afterwards.
        events: every event in between, those that others have replaced included.
        snapshot: what to begin with, if the receiver lacks events that are kept no more.
    """

    start: VectorClock
    end: VectorClock
    events: tuple[Update, ...] = ()
    snapshot: Snapshot | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Events:
        return self

    def __len__(self) -> int:
        return len(self.events)


def fold_events(events: Iterable[Update], base: Iterable[Update] = ()) -> list[Update]:
    """Return what stays live when ``events`` are applied to the live updates ``base``, causes before effects."""
    live = LiveUpdates()
    for update in base:
        live.add(update)
    for event in sorted(events, key=causal_key):
        for other in live.replaced_by(event):
            live.discard(other)
        live.add(event)
    return sorted(live, key=causal_key)


@final
class EventLog:
    """The log of one replica: a snapshot, and the events after it by author.

    Attributes:
        snapshot: what all that is not kept as events has come to.
    """

    __slots__ = ("_dropped", "_events", "snapshot")

    def __init__(self, snapshot: Snapshot | None = None, events: Iterable[Update] = ()) -> None:
        self.snapshot = snapshot or Snapshot()
        self._events: dict[str, list[Update]] = {}
        # Have no effect any more, and wait among the events for the next snapshot.
        self._dropped: set[Dot] = set()
        for event in sorted(events, key=causal_key):
            self.append(event)

    @property
    def clock(self) -> VectorClock:
        """Every event that the log has had."""
        kept = {author: events[-1].dot.counter for author, events in self._events.items()}
        return self.snapshot.clock | VectorClock(kept)

    def last(self, author: str) -> int:
        """The number of the last event of an author, 0 before the first."""
        events = self._events.get(author)
        return events[-1].dot.counter if events else self.snapshot.clock[author]

    def append(self, event: Update) -> bool:
        """Take the next event of its author; return whether it was that."""
        if event.dot.counter != self.last(event.dot.agent) + 1:
            return False
        self._events.setdefault(event.dot.agent, []).append(event)
        return True

    def since(self, clock: VectorClock) -> Events:
        """Return what a log that goes up to ``clock`` lacks: the events, or a snapshot and the events after it."""
        known, snapshot = clock, None
        if not self.snapshot.clock <= clock:
            known, snapshot = self.snapshot.clock, self.snapshot
        found = [
            event
            for author, events in self._events.items()
            for event in events[max(0, known[author] - self.snapshot.clock[author]) :]
        ]
        return Events(known, self.clock, tuple(sorted(found, key=causal_key)), snapshot)

    def fold(self) -> list[Update]:
        """Return the live updates."""
        return fold_events(self.events(), self.snapshot.updates)

    def events(self) -> list[Update]:
        """Return the events after the snapshot, by author."""
        return [event for author in sorted(self._events) for event in self._events[author]]

    def compact(self) -> None:
        """Put a snapshot in the place of everything so far."""
        kept = tuple(update for update in self.fold() if update.dot not in self._dropped)
        self.snapshot = Snapshot(self.clock, kept)
        self._events.clear()
        self._dropped.clear()

    def drop(self, updates: Iterable[Update]) -> bool:
        """Leave these updates, which have no effect any more, out of snapshots; return whether the present one changes."""
        self._dropped.update(update.dot for update in updates)
        before = self.snapshot.updates
        kept = tuple(update for update in before if update.dot not in self._dropped)
        if len(kept) == len(before):
            return False
        self.snapshot = Snapshot(self.snapshot.clock, kept)
        self._dropped.difference_update(update.dot for update in before)
        return True

    def __len__(self) -> int:
        return sum(map(len, self._events.values()))
