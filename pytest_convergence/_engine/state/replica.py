"""A replica: one agent's copy of the shared document.

Theory of operation:

1. The state is the set of live updates (:mod:`.live`) and a clock of everything seen. What is read is a pure function
   of the live updates (:mod:`.view`), kept per first segment of the path and rebuilt only where concurrent updates met.
2. A local write has seen everything here, so it is simply applied on top. It is announced to ``on_update``; telling the
   others is the business of a synchronisation machine (:mod:`.delta_sync`).
3. Remote updates come as deltas (:meth:`Replica.join`) or one by one, in any order and any number of times
   (:meth:`Replica.apply`). An update waits until everything that its author had seen is here, so effects never precede
   causes, and replicas that have received the same updates are equal at once.
4. A conflict is recorded when the later of two rivals arrives, whatever happens to them afterwards.
5. Every update, local or remote, is one version. The last versions can be read and rolled back to; a rollback is a set
   of ordinary writes, so it travels like any other and the version keeps growing.

There is no clock here: ``now_ns`` is given by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.compacting import HIDING, droppable
from pytest_convergence._engine.state.conflicts import Conflict, group_around, rival_groups, shortest_path
from pytest_convergence._engine.state.court import Court, Verdict, undoes
from pytest_convergence._engine.state.derived import undone_among
from pytest_convergence._engine.state.document import ABSENT, Document
from pytest_convergence._engine.state.history import ConflictLog, History, Version
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.paths import parse_path
from pytest_convergence._engine.state.plan import Plan
from pytest_convergence._engine.state.resolution import Strategy
from pytest_convergence._engine.state.updates import Delta, Dot, RolledBack, Update, causal_key, commute
from pytest_convergence._engine.state.values import checksum_of, checksum_of_parts, encode, freeze
from pytest_convergence._engine.state.view import Decided, fold, rollbacks_among, settle
from pytest_convergence._engine.state.writing import Writing

__all__ = ["DEFAULT_HISTORY", "Replica", "Version"]

DEFAULT_HISTORY: Final = 100
"""How many versions a replica can be rolled back by, unless told otherwise."""

_REBUILD_AFTER: Final = 64
"""After so many erasures that were dropped a view is built anew: it remembers what was erased."""


def _no_clock() -> int:
    return 0


def _fingerprint(updates: Iterable[Update]) -> str:
    """Of the updates that are not dropped when they are stable."""
    lasting = (each for each in updates if each.operation in ("set", "increment", "add"))
    return checksum_of([[*each.dot, each.path] for each in lasting])


@final
class Replica(Writing):
    """One agent's copy of the shared document: ``agent.state``.

    Paths are dotted text (``"plan.title"``) or a sequence of segments. Values are plain data; they are copied when they
    are written and when they are read, so nothing outside can change what is stored.

    Args:
        agent: who writes here.
        initial: a nested dict to start from, written as this agent's first updates (they are not announced).
        now_ns: the agent's clock. Without one all writes have the time 0, and ties are decided by the agent's name.
        resolve: how conflicts are settled: the name of a strategy, a strategy object, a function from the conflict to the
            value, or a plan of these.
        history: how many versions are kept for :meth:`rollback`.
        on_update: called with each local update.
        on_conflict: called with each conflict that is found, and again when it has grown or was settled by others.

    Raises:
        ConvergenceUsageError: a path is not a path, a value is not plain data, or the strategy does not exist.
    """

    __slots__ = (
        "_all_stable_at",
        "_by_author",
        "_checksum",
        "_clock",
        "_conflicts",
        "_contested",
        "_decided",
        "_derived",
        "_encoded",
        "_erasures",
        "_history",
        "_joining",
        "_live",
        "_now_ns",
        "_rolling",
        "_tombstones",
        "_undone",
        "_unencoded",
        "_views",
        "_waiting",
        "agent",
        "court",
        "on_change",
        "on_conflict",
        "on_drop",
        "on_update",
    )

    def __init__(
        self,
        agent: str,
        initial: Mapping[str, Any] | None = None,
        *,
        now_ns: Callable[[], int] | None = None,
        resolve: Strategy | Plan = "last-write",
        history: int = DEFAULT_HISTORY,
        on_update: Callable[[Update], None] | None = None,
        on_conflict: Callable[[Conflict], None] | None = None,
    ) -> None:
        self.agent = agent
        self.on_update: Callable[[Update], None] | None = None
        self.on_conflict = on_conflict
        self.on_change: Callable[[Update, tuple[Update, ...]], None] | None = None
        self.on_drop: Callable[[tuple[Update, ...]], None] | None = None
        self._now_ns = now_ns or _no_clock
        self.court = Court(agent, resolve)
        self._history = History(history)
        self._depends = ()
        self._reset(VectorClock())
        if initial is not None:
            self.merge(initial)
        self.on_update = on_update

    def _reset(self, clock: VectorClock) -> None:
        self._clock = clock
        self._live = LiveUpdates()
        self._by_author: dict[str, dict[int, Update]] = {}
        self._views: dict[str, Document | None] = {}
        self._contested: dict[str, set[Dot]] = {}
        self._waiting: dict[Dot, Update] = {}
        self._tombstones: dict[Dot, Update] = {}  # live deletes, discards and erasures
        self._erasures: dict[str, int] = {}  # how many were dropped since a view was last built
        self._all_stable_at = -1  # at this version all of these were stable
        self._joining: dict[str, int] = {}
        self._derived: dict[Dot, Update] = {}  # live updates that say what they were derived from
        self._rolling: dict[Dot, Update] = {}  # live updates that tell of rollbacks
        self._undone: dict[
            Dot, Any
        ] = {}  # what rollbacks at other paths took back, and what comes back instead
        self._conflicts = ConflictLog()
        self._decided: Decided = {}
        self._checksum: str | None = None
        self._encoded: dict[str, tuple[bytes, bytes]] = {}
        self._unencoded: dict[str, None] = {}  # what has changed since; a set that keeps its order

    # ------------------------------------------------------------------------------------------------------- reading

    def get(self, path: str | Sequence[str], default: Any = None) -> Any:
        """Return a copy of what is stored at ``path``, or ``default``. A branch is returned as a nested dict."""
        segments = parse_path(path)
        value = self._view(segments[0]).get(segments)
        return default if value is ABSENT else freeze(value)

    def as_dict(self, version: int | None = None) -> dict[str, Any]:
        """Return the document as a nested dict, now or as it was at a ``version`` of the history.

        Raises:
            ConvergenceUsageError: the version is not in the history.
        """
        if version is not None:
            return self._document_of(self._history.live_at(version, self._live))
        return {key: freeze(value) for key, value in self._roots()}

    def _document_of(self, live: Collection[Update]) -> dict[str, Any]:
        derived = [update for update in live if update.sources]
        losing = rollbacks_among(live, self.court, self._decided) if derived else ()
        document = fold(live, self.court, self._decided, undone_among(derived, losing))
        return {key: freeze(document.root[key]) for key in sorted(document.root)}

    def _roots(self) -> Iterator[tuple[str, Any]]:
        for segment in sorted(self._views):
            value = self._view(segment).root.get(segment, ABSENT)
            if value is not ABSENT:
                yield segment, value

    def _view(self, segment: str) -> Document:
        document = self._views.get(segment)
        if document is None:
            document = fold(self._live.at_or_below((segment,)), self.court, self._decided, self._undone)
            if segment in self._views:
                self._views[segment] = document
        return document

    @property
    def clock(self) -> VectorClock:
        """Every update seen, as a vector clock. Replicas with equal clocks hold equal documents."""
        return self._clock

    @property
    def version(self) -> int:
        """How many updates were made or received here. Only grows."""
        return self._history.version

    @property
    def checksum(self) -> str:
        """The hex SHA-256 of the document, whatever the order of its keys."""
        if self._checksum is None:
            for segment in self._unencoded:
                value = self._view(segment).root.get(segment, ABSENT)
                self._encoded.pop(segment, None)
                if value is not ABSENT:
                    self._encoded[segment] = (encode(segment), encode(value))
            self._unencoded.clear()
            self._checksum = checksum_of_parts(self._encoded.values())
        return self._checksum

    def facts(self) -> dict[str, Any]:
        """What a checker is told of a replica: what it has seen, a fingerprint of its document, and its version.

        Where conflicts wait for verdicts, which come by other ways, the fingerprint is that of the updates that are not
        dropped when they are stable.
        """
        state = _fingerprint(self.updates) if self.court.plan.asks else self.checksum
        facts = {"seen": dict(self._clock), "state": state, "version": self.version}
        return facts if not self._undone else {**facts, "undone": sorted(map(list, self._undone))}

    def facts_of(self, updates: Collection[Update]) -> dict[str, Any]:
        """The same of what these live updates alone come to, if they are what all that was seen has come to."""
        asks = self.court.plan.asks
        state = _fingerprint(updates) if asks else checksum_of(self._document_of(updates))
        return {"seen": dict(self._clock), "state": state}

    @property
    def history(self) -> tuple[Version, ...]:
        """The last versions, oldest first; the newest is the current one."""
        return self._history.versions()

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicts met here, in the order in which they were met, each at its last stage."""
        return self._conflicts.listed()

    @property
    def updates(self) -> tuple[Update, ...]:
        """The live updates, an update after all those that it has seen."""
        return tuple(sorted(self._live, key=causal_key))

    def siblings(self, path: str | Sequence[str]) -> tuple[Any, ...]:
        """The values (copies) that were written to exactly ``path`` without knowledge of each other, oldest first.

        One, unless there was a conflict; :data:`DELETED` stands for a delete.
        """
        standing = [update for update in self.live_at(path) if update.operation in ("set", "delete")]
        return tuple(update.value for update in sorted(standing, key=lambda update: update.order))

    def live_at(self, path: str | Sequence[str]) -> tuple[Update, ...]:
        """The live updates at exactly ``path``."""
        return self._live.at(parse_path(path))

    # ----------------------------------------------------------------------------------------------------- receiving

    def _write(self, update: Update) -> None:
        self._insert(update, local=True)
        self._clock = self._clock.tick(self.agent)
        if self.on_update is not None:
            self.on_update(update)

    def delta_since(self, clock: VectorClock) -> Delta:
        """Return what a replica that has seen ``clock`` needs to know all that is known here."""
        updates: list[Update] = []
        for author, written in self._by_author.items():
            seen = clock[author]
            for counter in reversed(written):
                if counter <= seen:
                    break
                updates.append(written[counter])
        updates.sort(key=causal_key)
        return Delta(clock, self._clock, tuple(updates))

    def join(self, delta: Delta) -> bool:
        """Take in a delta; return whether it could be: what lies before its start must be known. Idempotent."""
        if not delta.start <= self._clock:
            return False
        for update in delta.updates:
            if not self._clock.covers(*update.dot):
                self._insert(update)
                self._joining[update.dot.agent] = update.dot.counter
        self._joining.clear()
        self._clock |= delta.end
        self._take_waiting()
        self._report_conflicts()
        return True

    def apply(self, *updates: Update) -> None:
        """Take in single updates, in any order and any number of times. One that comes too early waits."""
        for update in updates:
            if not self._clock.covers(*update.dot):
                self._waiting[update.dot] = update
        self._take_waiting()
        self._report_conflicts()

    @property
    def waiting(self) -> int:
        """How many updates wait for one that has not come yet."""
        return len(self._waiting)

    def restore(self, updates: Iterable[Update], clock: VectorClock, version: int = 0) -> None:
        """Become the replica that was kept as ``updates`` and ``clock``; nothing is announced, the history is empty.

        The conflicts that were met before stay listed: they are facts about the run, not state of the agent.
        """
        met = self._conflicts
        self._reset(clock)
        self.court.forget()
        self._conflicts = met
        for update in sorted((each for each in updates if clock.covers(*each.dot)), key=causal_key):
            for other in self._live.replaced_by(update):
                self._remove(other)
            self._keep(update)
            self._views[update.segments[0]] = self._unencoded[update.segments[0]] = None
        self._history.forget(version)
        for group in rival_groups(self._live):
            self._meet(group)
        self._review()
        self._conflicts.take_fresh()

    def _take_waiting(self) -> None:
        progress = bool(self._waiting)
        while progress:
            progress = False
            for dot, update in sorted(self._waiting.items()):
                if self._clock.covers(*dot):
                    del self._waiting[dot]
                elif update.context <= self._clock:
                    del self._waiting[dot]
                    self._insert(update)
                    self._clock = self._clock.tick(dot.agent)
                    progress = True

    def _insert(self, update: Update, *, local: bool = False) -> None:
        """Make an update live, and whatever it replaces not."""
        segment = update.segments[0]
        contested = self._contested.get(segment)
        replaced = self._live.replaced_by(update)
        for other in replaced:
            self._remove(other)
        unseen = () if local else self._unseen(update)
        self._keep(update)
        self._history.add(update, replaced)
        self._checksum, self._unencoded[segment] = None, None
        # An update that comes last in the order can be applied on top: one that has seen everything, or whose time is
        # later than that of all that it has not seen; so can one that gives the same in any order. Where rivals are
        # about, replacing one of them may let another one through: there the view is built anew.
        clash = any(not commute(update, other) for other in unseen)
        on_top = update.order_free or all(other.order < update.order for other in unseen)
        document = self._views[segment] if segment in self._views else Document()
        if document is not None and on_top and not clash and not contested:
            document.apply(update)
            self._views[segment] = document
        else:
            self._views[segment] = None
        if self.on_change is not None:
            self.on_change(update, replaced)
        if clash:
            group = group_around(update, self._live)
            if group:
                self._meet(group)
        if self.court.rolls_back and (contested or update.sources):
            self._undo_with(update)
        if self._derived or self._undone:
            self._review()

    def _undo_with(self, update: Update) -> None:
        """If an update comes after the rollback that it is undone with, say so."""
        for conflict in self._conflicts.rolled_back():
            if not undoes(conflict, update):
                continue
            if all(self._is_live(dot) for dot in conflict.dots):
                self._decided.pop(conflict.id, None)
                self._meet(conflict.writes)
            else:
                self._conflicts.add(replace(conflict, undone=(*conflict.undone, update)))

    def _is_live(self, dot: Dot) -> bool:
        return dot.counter in self._by_author.get(dot.agent, ())

    def _rollbacks(self) -> tuple[RolledBack, ...]:
        contested = [segment for segment, dots in self._contested.items() if dots]
        around = {each.dot: each for segment in contested for each in self._live.at_or_below((segment,))}
        return rollbacks_among({**self._rolling, **around}.values(), self.court, self._decided)

    def _review(self) -> None:
        """See what rollbacks at other paths take back now, and build those views anew on which that makes a difference."""
        if not self._derived and not self._undone:
            return
        before, self._undone = self._undone, undone_among(self._derived.values(), self._rollbacks())
        for dot, update in self._derived.items():
            if (dot in before) != (dot in self._undone) or before.get(dot) != self._undone.get(dot):
                segment = update.segments[0]
                self._views[segment] = self._checksum = self._unencoded[segment] = None

    def _keep(self, update: Update) -> None:
        self._live.add(update)
        self._by_author.setdefault(update.dot.agent, {})[update.dot.counter] = update
        if update.sources:
            self._derived[update.dot] = update
        if update.rolled:
            self._rolling[update.dot] = update
        if update.operation in HIDING and not (update.sources or update.rolled):
            self._tombstones[update.dot] = update

    def _remove(self, update: Update) -> None:
        self._live.discard(update)
        self._by_author[update.dot.agent].pop(update.dot.counter, None)
        self._tombstones.pop(update.dot, None)
        if update.sources:
            self._derived.pop(update.dot, None)
        if update.rolled:
            self._rolling.pop(update.dot, None)
        contested = self._contested.get(update.segments[0])
        if contested is not None:
            contested.discard(update.dot)

    @property
    def has_tombstones(self) -> bool:
        """Whether updates are kept that :meth:`drop_tombstones` may come to drop."""
        return bool(self._tombstones) and self._all_stable_at != self._history.version

    def drop_tombstones(self, is_stable: Callable[[Dot], bool]) -> None:
        """Drop what has done its work: stable deletes, discards and erasures, and what they took out (:mod:`.compacting`).

        The document, the clock and the version stay as they are.
        """
        dropped = droppable(self._live, self._tombstones, is_stable)
        if all(map(is_stable, self._tombstones)):
            self._all_stable_at = self._history.version  # the rest is needed, as long as nothing is written
        if not dropped:
            return
        for each in dropped:
            self._remove(each)
            if each.operation == "erase":  # views still know the items: build them anew, now and then
                segment = each.segments[0]
                self._erasures[segment] = self._erasures.get(segment, 0) + 1
                if self._erasures[segment] >= _REBUILD_AFTER and segment in self._views:
                    self._views[segment], self._erasures[segment] = None, 0
        self._history.drop(dropped)
        if self.on_drop is not None:
            self.on_drop(dropped)

    def _unseen(self, update: Update) -> tuple[Update, ...]:
        """The live updates that overlap ``update`` and that its author had not seen."""
        # While a delta is joined the clock is still the old one, and what came first in the delta counts as well.
        context = update.context
        if self._clock <= context and all(context.covers(*latest) for latest in self._joining.items()):
            return ()
        return tuple(self._live.unseen(update))

    # ----------------------------------------------------------------------------------------------------- conflicts

    def _meet(self, group: tuple[Update, ...]) -> None:
        path = shortest_path(group)
        self._contested.setdefault(path[0], set()).update(member.dot for member in group)
        found = settle(group, list(self._live.overlapping(path)), self.court, self._decided)
        if self._derived and found.resolution is not None and found.resolution.strategy == "rollback":
            undone = {each.dot: each for each in self._derived.values() if undoes(found, each)}
            undone.update((each.dot, each) for each in found.undone)
            found = replace(found, undone=tuple(sorted(undone.values(), key=lambda each: each.order)))
        self.court.note(found)
        self._conflicts.add(found.copied())

    def give(self, key: str, verdict: Verdict | None) -> None:
        """Take in what others have decided about a question of the court's; ``None``: it stays open, and others go on."""
        if not (self.court.give_up(key) if verdict is None else self.court.give(key, verdict)):
            return
        self._decided.clear()
        self._views.update(dict.fromkeys(self._contested))
        self._unencoded.update(dict.fromkeys(self._contested))
        self._checksum = None
        for conflict in self._conflicts.about(key):
            self._meet(conflict.writes)
        self._review()
        self._report_conflicts()

    def _report_conflicts(self) -> None:
        for conflict in self._conflicts.take_fresh():
            if self.on_conflict is not None:
                self.on_conflict(conflict)

    def __repr__(self) -> str:
        return f"<Replica of {self.agent}, version {self.version}: {self.as_dict()!r}>"
