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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.conflicts import Conflict, group_around, rival_groups, shortest_path
from pytest_convergence._engine.state.court import Court, Verdict
from pytest_convergence._engine.state.document import ABSENT, Document, differences, is_number, leaves
from pytest_convergence._engine.state.history import ConflictLog, History, Version
from pytest_convergence._engine.state.live import LiveUpdates
from pytest_convergence._engine.state.paths import Path, format_path, parse_path
from pytest_convergence._engine.state.plan import Plan
from pytest_convergence._engine.state.resolution import Strategy
from pytest_convergence._engine.state.updates import DELETED, Delta, Dot, Past, Update, causal_key, runs_seen
from pytest_convergence._engine.state.values import checksum_of, freeze
from pytest_convergence._engine.state.view import Decided, fold, settle
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["DEFAULT_HISTORY", "Replica", "Version"]

DEFAULT_HISTORY: Final = 100
"""How many versions a replica can be rolled back by, unless told otherwise."""


def _no_clock() -> int:
    return 0


@final
class Replica:
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
        "_by_author",
        "_checksum",
        "_clock",
        "_conflicts",
        "_contested",
        "_decided",
        "_history",
        "_joining",
        "_live",
        "_now_ns",
        "_views",
        "_waiting",
        "agent",
        "court",
        "on_change",
        "on_conflict",
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
        self._now_ns = now_ns or _no_clock
        self.court = Court(agent, resolve)
        self._history = History(history)
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
        self._joining: dict[str, int] = {}
        self._conflicts = ConflictLog()
        self._decided: Decided = {}
        self._checksum: str | None = None

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
            document = fold(self._history.live_at(version, self._live), self.court, self._decided)
            return {key: freeze(document.root[key]) for key in sorted(document.root)}
        return {key: freeze(value) for key, value in self._roots()}

    def _roots(self) -> Iterator[tuple[str, Any]]:
        for segment in sorted(self._views):
            value = self._view(segment).root.get(segment, ABSENT)
            if value is not ABSENT:
                yield segment, value

    def _view(self, segment: str) -> Document:
        document = self._views.get(segment)
        if document is None:
            document = fold(self._live.at_or_below((segment,)), self.court, self._decided)
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
            self._checksum = checksum_of(dict(self._roots()))
        return self._checksum

    def facts(self) -> dict[str, Any]:
        """What a checker is told of a replica: what it has seen, a fingerprint of its document, and its version."""
        seen = {**self._clock, **self.court.knowledge}
        return {"seen": seen, "state": self.checksum, "version": self.version}

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

    def live_at(self, path: str | Sequence[str]) -> tuple[Update, ...]:
        """The live updates at exactly ``path``."""
        return self._live.at(parse_path(path))

    # ------------------------------------------------------------------------------------------------------- writing

    def set(self, path: str | Sequence[str], value: Any, *, priority: float | None = None) -> None:
        """Store ``value`` at ``path``, in place of whatever is there and below. A leaf on the way becomes a branch.

        ``priority`` counts where conflicts are settled by it: that of this write, instead of its author's.
        """
        segments = parse_path(path)
        self._overwrite(segments, "set", freeze(value, format_path(segments)), priority)

    def delete(self, path: str | Sequence[str]) -> bool:
        """Remove ``path`` and everything below; return whether there was anything."""
        segments = parse_path(path)
        if self._view(segments[0]).get(segments) is ABSENT:
            return False
        self._overwrite(segments, "delete", None)
        return True

    def increment(self, path: str | Sequence[str], by: float = 1) -> Any:
        """Add ``by`` to the number at ``path`` (0 if there is none) and return the sum.

        Concurrent increments add up; no increment is lost, and none is a conflict.

        Raises:
            ConvergenceUsageError: ``by``, or what is stored, is not a number.
        """
        segments = parse_path(path)
        if not is_number(by):
            raise ConvergenceUsageError(
                f"increment({format_path(segments)!r}, by={by!r}): by must be a number."
            )
        self._expect(segments, is_number, "increment", "a number")
        if self._turns_leaf_into_branch(segments, by):
            return by
        total, since = by, self._clock[self.agent] + 1
        run = self._own_run(segments)
        if run is not None:
            total, since = run.stored + by, run.since
        self._write(
            Update(self._next_dot(), segments, "increment", total, self._clock, self._now_ns(), since)
        )
        return self.get(segments)

    def append(self, path: str | Sequence[str], item: Any) -> None:
        """Append ``item`` to the list at ``path`` (empty if there is none).

        Concurrent appends are all kept, in the order of time, author and number; none is a conflict.

        Raises:
            ConvergenceUsageError: what is stored is not a list.
        """
        segments = parse_path(path)
        stored = freeze(item, f"the item appended to {format_path(segments)}")
        self._expect(segments, lambda value: type(value) is list, "append", "a list")
        if not self._turns_leaf_into_branch(segments, [stored]):
            self._write(Update(self._next_dot(), segments, "append", stored, self._clock, self._now_ns()))

    def merge(
        self, path: str | Sequence[str] | Mapping[str, Any], values: Mapping[str, Any] | None = None
    ) -> None:
        """Write the leaves of a nested mapping, at ``path`` or at the top; leave everything else as it is.

        Each leaf is one write, so that two agents who merge different parts are not in conflict. Keys are single
        segments: a dot in a key does not divide it.

        Raises:
            ConvergenceUsageError: there is no mapping to merge, or one of its keys is not a string.
        """
        if isinstance(path, Mapping):
            prefix: Path = ()
            values = path
        else:
            prefix = parse_path(path)
        if not isinstance(values, Mapping):
            raise ConvergenceUsageError(
                f"merge() takes a mapping of values, not {values!r}; for a value use set()."
            )
        tree = freeze(values, format_path(prefix) or "state")
        for key in tree:
            if not isinstance(key, str):
                raise ConvergenceUsageError(f"merge() takes a mapping whose keys are strings, not {key!r}.")
        for segments, value in leaves(tree, prefix):
            if value == {} and isinstance(self._view(segments[0]).get(segments), dict):
                continue
            self._overwrite(segments, "set", value)

    def rollback(self, version: int) -> None:
        """Make the document what it was at ``version``, by new writes: the version grows, and others follow.

        Raises:
            ConvergenceUsageError: the version is not in the history.
        """
        past = self.as_dict(version)
        for segments, value in list(differences(self.as_dict(), past)):
            if value is ABSENT:
                self._overwrite(segments, "delete", None)
            else:
                self._overwrite(segments, "set", freeze(value))

    def _next_dot(self) -> Dot:
        return Dot(self.agent, self._clock[self.agent] + 1)

    def _expect(self, segments: Path, fits: Callable[[Any], bool], operation: str, kind: str) -> None:
        current = self._view(segments[0]).get(segments)
        if current is not ABSENT and not fits(current):
            raise ConvergenceUsageError(
                f"{operation}({format_path(segments)!r}) needs {kind} there, and there is {current!r}; "
                "set() or delete() it first."
            )

    def _turns_leaf_into_branch(self, segments: Path, value: Any) -> bool:
        """Where a write goes below a leaf, write the branch that takes the leaf's place: the leaf must not come back."""
        view = self._view(segments[0])
        for depth in range(1, len(segments)):
            above = view.get(segments[:depth])
            if above is ABSENT:
                return False
            if not isinstance(above, dict):
                for segment in reversed(segments[depth:]):
                    value = {segment: value}
                self._overwrite(segments[:depth], "set", value)
                return True
        return False

    def _overwrite(self, segments: Path, operation: str, stored: Any, priority: float | None = None) -> None:
        if operation == "set" and len(segments) > 1 and self._turns_leaf_into_branch(segments, stored):
            return
        court, context = self.court, self._clock
        counted = runs_seen(self._live.at_or_below(segments))
        past: tuple[Past, ...] = ()
        if court.needs_ancestor:
            found = self._view(segments[0]).get(segments)
            value = DELETED if found is ABSENT else freeze(found)
            past = court.past(segments, self._live.overlapping(segments), value, context)
        rank, at_ns = court.priority(segments, priority), self._now_ns()
        self._write(
            Update(self._next_dot(), segments, operation, stored, context, at_ns, 0, counted, past, rank)
        )

    def _own_run(self, segments: Path) -> Update | None:
        """The own increment that the next one may continue: nothing but increments has come between."""
        own = [
            update
            for update in self._live.at(segments)
            if update.operation == "increment" and update.dot.agent == self.agent
        ]
        if not own:
            return None
        last = max(own, key=lambda update: update.dot.counter)
        for update in self._live.overlapping(segments):
            counts = update.operation == "increment" and update.segments == segments
            if not counts and not last.has_seen(update):
                return None
        return last

    def _write(self, update: Update) -> None:
        self._insert(update, local=True)
        self._clock = self._clock.tick(self.agent)
        if self.on_update is not None:
            self.on_update(update)

    # ----------------------------------------------------------------------------------------------------- receiving

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
                self._live.discard(other)
                self._by_author[other.dot.agent].pop(other.dot.counter, None)
            self._live.add(update)
            self._by_author.setdefault(update.dot.agent, {})[update.dot.counter] = update
            self._views[update.segments[0]] = None
        self._history.forget(version)
        for group in rival_groups(self._live):
            self._meet(group)
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
            self._live.discard(other)
            self._by_author[other.dot.agent].pop(other.dot.counter, None)
            if contested is not None:
                contested.discard(other.dot)
        concurrent = not local and self._has_concurrent(update)
        self._live.add(update)
        self._by_author.setdefault(update.dot.agent, {})[update.dot.counter] = update
        self._history.add(update, replaced)
        self._checksum = None
        # An update that has seen everything comes last in the order, so it can be applied on top. Where rivals are
        # about, replacing one of them may let another one through: there the view is built anew.
        document = self._views[segment] if segment in self._views else Document()
        if document is not None and not concurrent and not contested:
            document.apply(update)
            self._views[segment] = document
        else:
            self._views[segment] = None
        if self.on_change is not None:
            self.on_change(update, replaced)
        if concurrent:
            group = group_around(update, self._live)
            if group:
                self._meet(group)

    def _has_concurrent(self, update: Update) -> bool:
        # While a delta is joined the clock is still the old one, and what came first in the delta counts as well.
        context = update.context
        if self._clock <= context and all(context.covers(*latest) for latest in self._joining.items()):
            return False
        return any(not update.has_seen(other) for other in self._live.overlapping(update.segments))

    # ----------------------------------------------------------------------------------------------------- conflicts

    def _meet(self, group: tuple[Update, ...]) -> None:
        path = shortest_path(group)
        self._contested.setdefault(path[0], set()).update(member.dot for member in group)
        found = settle(group, list(self._live.overlapping(path)), self.court, self._decided)
        self.court.note(found)
        self._conflicts.add(found.copied())

    def give(self, key: str, verdict: Verdict | None) -> None:
        """Take in what others have decided about a question of the court's; ``None``: it stays open, and others go on."""
        if not (self.court.give_up(key) if verdict is None else self.court.give(key, verdict)):
            return
        self._decided.clear()
        self._views.update(dict.fromkeys(self._contested))
        self._checksum = None
        for conflict in self._conflicts.about(key):
            self._meet(conflict.writes)
        self._report_conflicts()

    def _report_conflicts(self) -> None:
        for conflict in self._conflicts.take_fresh():
            if self.on_conflict is not None:
                self.on_conflict(conflict)

    def __repr__(self) -> str:
        return f"<Replica of {self.agent}, version {self.version}: {self.as_dict()!r}>"
