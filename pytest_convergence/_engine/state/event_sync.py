"""Event synchronisation: replicas send each other their logs, every event once and in order, and fold them.

1. Every write is an event of its author's log, written to storage before it is told to anybody. What later writes replace
   is told all the same: who reads the log reads what happened, not only what came of it.
2. A log takes the next event of an author and no other: a second copy is dropped, and what comes after a gap is not taken
   but asked for again (:mod:`.event_log`).
3. Events that come together are folded together, so that the document changes at one stroke.
4. After so many events a log is compacted into a snapshot. A peer that lacks events which are kept no more gets the
   snapshot and the events after it.

Who is told when: :mod:`.spreading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import Effect, Observe, Persist, Sync
from pytest_convergence._engine.state.event_log import EventLog, Events, Snapshot, fold_events
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.spreading import Spreading, SyncTiming
from pytest_convergence._engine.state.updates import Delta, Update

__all__ = ["DEFAULT_SNAPSHOT_EVERY", "EventSync"]

DEFAULT_SNAPSHOT_EVERY: Final = 100
"""After how many events a log is compacted, unless told otherwise."""

_SNAPSHOT_KEY: Final = "sync.snapshot"
_VERSION_KEY: Final = "sync.version"
_EVENT_KEY: Final = "sync.event."

_NOTHING: Final = VectorClock()


class EventSync(Spreading):
    """The machine of ``sync="event"``.

    Attributes:
        log: the events of all authors, as far as they have come here.
    """

    __slots__ = ("_begins_anew", "_compacted", "_snapshot_every", "_unkept", "log")

    def __init__(
        self,
        replica: Replica,
        peers: Iterable[str],
        timing: SyncTiming | None = None,
        *,
        snapshot_every: int = DEFAULT_SNAPSHOT_EVERY,
    ) -> None:
        super().__init__(replica, peers, timing)
        self._snapshot_every = snapshot_every
        self._begins_anew = False
        # What was written before there was a log is its snapshot.
        self.log = EventLog(Snapshot(replica.clock, replica.updates))
        self._compacted: list[Update] | None = [] if replica.clock else None
        self._unkept: list[Update] = []
        replica.on_change = self._note
        replica.on_drop = self._drop

    def _note(self, update: Update, replaced: tuple[Update, ...]) -> None:
        if self.log.append(update):  # a local write; what came from peers is in the log already
            self._unkept.append(update)

    def _drop(self, updates: tuple[Update, ...]) -> None:
        """Deletes that have done their work leave the snapshot too; those in the log wait for the next one."""
        if self.log.drop(updates):
            self._compacted = self._compacted or []

    # ------------------------------------------------------------------------------------------------------ durability

    def on_start(self, durable: Mapping[str, Any]) -> list[Effect]:
        """Begin with what survived, and say how far the log goes."""
        begun = self.log.snapshot.clock
        effects = super().on_start(durable)
        end = self.log.clock if _VERSION_KEY in durable else begun
        return [Observe("logged", {"upto": end}), *effects] if end or durable else effects

    def _restore(self, durable: Mapping[str, Any]) -> bool:
        if _VERSION_KEY not in durable:
            return False
        kept = [value for key, value in durable.items() if key.startswith(_EVENT_KEY) and value is not None]
        self.log = EventLog(durable.get(_SNAPSHOT_KEY), kept)
        self.replica.restore(self.log.fold(), self.log.clock, durable[_VERSION_KEY])
        self._unkept.clear()
        self._compacted = None
        return True

    def _keep(self) -> Iterator[Effect]:
        """Write new events at the end of the stored log; now and then a snapshot, and only then remove what it holds."""
        if not self._unkept and self._compacted is None:
            return
        unkept, self._unkept = self._unkept, []
        if self._begins_anew:
            self._begins_anew = False
            yield Observe("logged", {"upto": self.log.clock})
        elif unkept:
            yield Observe("logged", {"events": [tuple(event.dot) for event in unkept]})
        folds = len(self.log) >= self._snapshot_every
        if folds:
            self._compact()
        gone, self._compacted = self._compacted, None
        if gone is None:
            for event in unkept:
                yield Persist(_key(event), event)
        else:
            yield Persist(_SNAPSHOT_KEY, self.log.snapshot)
        yield Persist(_VERSION_KEY, self.replica.version)
        yield Sync()
        if gone:
            for event in gone:
                yield Persist(_key(event), None)
            yield Sync()
        if folds:
            yield Observe("folded", self.replica.facts_of(self.log.snapshot.updates))
            yield Observe("replica", self.replica.facts())

    def _compact(self) -> None:
        self._compacted = [*(self._compacted or ()), *self.log.events()]
        self.log.compact()

    # ------------------------------------------------------------------------------------------------- what is told

    def _pack(self, since: VectorClock) -> Events:
        return self.log.since(since)

    def _take(self, packed: Events) -> bool:
        replica, log = self.replica, self.log
        if packed.snapshot is not None and not packed.start <= replica.clock:
            self._join_snapshot(packed)
            return True
        if not packed.start <= replica.clock:
            return False
        fresh = [event for event in packed.events if log.append(event)]
        self._unkept += fresh
        if fresh:
            end = log.clock
            replica.join(Delta(replica.clock, end, tuple(fold_events(fresh))))
        return True

    def _join_snapshot(self, packed: Events) -> None:
        """Take in the snapshot with the events after it; events that it stands for are missing, so the log begins anew."""
        snapshot = packed.snapshot
        assert snapshot is not None
        replica = self.replica
        replica.join(Delta(_NOTHING, packed.end, tuple(fold_events(packed.events, snapshot.updates))))
        self._compacted = [*(self._compacted or ()), *self.log.events()]
        self.log = EventLog(Snapshot(replica.clock, replica.updates))
        self._begins_anew = True


def _key(event: Update) -> str:
    return f"{_EVENT_KEY}{event.dot.agent}.{event.dot.counter}"
