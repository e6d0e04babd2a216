"""Vector clock synchronisation: replicas compare, path by path, which of the values there have seen which.

1. What concurrent writers left at a path are *siblings*: a dotted version vector set (:mod:`.dotted`) of their writes. A
   replica sends, for each path that the receiver may not have as it has it, that whole set: also what the receiver has
   already, and also what it must drop.
2. The receiver syncs the set with its own, and keeps what neither side has overwritten. Of two siblings neither has seen
   the other.
3. What replaces nothing (increments, appends, items of sets and sequences) has no siblings; such writes are sent as they
   are.

Who is told when: :mod:`.spreading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import Effect, Observe
from pytest_convergence._engine.state.dotted import DottedSiblings, Written
from pytest_convergence._engine.state.keeping import Keeper
from pytest_convergence._engine.state.paths import Path
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.spreading import Spreading, SyncTiming
from pytest_convergence._engine.state.updates import Delta, Update, causal_key

__all__ = ["PathSets", "SiblingSync", "siblings_at"]

_OVERWRITING = ("set", "delete")


@final
@dataclass(frozen=True, slots=True)
class PathSets:
    """What one replica tells another: the siblings at each path that differs, and what has none.

    Attributes:
        start: what the receiver must have seen already.
        end: what it has seen afterwards.
        siblings: the sets, by path.
        others: the writes that replace nothing.
    """

    start: VectorClock
    end: VectorClock
    siblings: tuple[tuple[Path, DottedSiblings], ...] = ()
    others: tuple[Update, ...] = ()

    def __deepcopy__(self, memo: object) -> PathSets:
        return self  # immutable all the way down

    def __len__(self) -> int:
        return len(self.siblings) + len(self.others)


def siblings_at(replica: Replica, path: Path) -> DottedSiblings:
    """Return the writes that stand at exactly ``path``, with what each writer there is known to have written."""
    standing = [update for update in replica.live_at(path) if update.operation in _OVERWRITING]
    writers: dict[str, Written] = {}
    for update in standing:
        for author, count in update.context.items():
            if count > writers.get(author, Written(0)).last:
                writers[author] = Written(count)
    # A write stands because no other that stands has seen it: so its number is above what they have seen of its author.
    writers.update((update.dot.agent, Written(update.dot.counter, (update,))) for update in standing)
    return DottedSiblings(writers)


class SiblingSync(Spreading):
    """The machine of ``sync="vector-clock"``."""

    __slots__ = ("_compared", "_keeper")

    def __init__(self, replica: Replica, peers: Iterable[str], timing: SyncTiming | None = None) -> None:
        super().__init__(replica, peers, timing)
        self._keeper = Keeper(replica)
        self._compared: tuple[Path, ...] = ()

    def _restore(self, durable: Mapping[str, Any]) -> bool:
        return self._keeper.restore(durable)

    def _keep(self) -> Iterator[Effect]:
        """Make durable what changed, and say what stands now where siblings were compared."""
        compared, self._compared = self._compared, ()
        for path in compared:
            standing = siblings_at(self.replica, path).values
            writes = [update.dot for update in standing]
            yield Observe("siblings", {"path": path, "writes": writes, "seen": self.replica.clock})
        yield from self._keeper.keep()

    def _pack(self, since: VectorClock) -> PathSets:
        replica = self.replica
        fresh = replica.delta_since(since).updates
        paths = {update.segments for update in fresh if update.operation in _OVERWRITING}
        sets = tuple((path, siblings_at(replica, path)) for path in sorted(paths))
        others = tuple(update for update in fresh if update.operation not in _OVERWRITING)
        return PathSets(since, replica.clock, sets, others)

    def _take(self, packed: PathSets) -> bool:
        replica = self.replica
        if not packed.start <= replica.clock:
            return False
        standing: list[Update] = list(packed.others)
        for path, theirs in packed.siblings:
            standing += siblings_at(replica, path).sync(theirs).values
        standing.sort(key=causal_key)
        self._compared = tuple(path for path, _ in packed.siblings)
        return replica.join(Delta(packed.start, packed.end, tuple(standing)))
