"""Counts, while a run goes on, what its numbers (:class:`RunMetrics`) are made of.

1. What the kernel counts anyway (messages by fate, steps) is not counted again here.
2. The rest comes from rare events (a crash, a pause, a rule, a write to a replica) and from *facts*: an agent, a machine or
   the world observes one, and it is counted under its name. What nobody observes costs nothing.
3. A fact that begins something and one that ends it carry the same ``id``; what has begun and not ended is pending.
4. What an agent only recalls after a crash (``recalled=True``) has been counted before.

========================  ==================================  =======================================================
fact                      data                                what is counted
========================  ==================================  =======================================================
``round``                 ``round``                           rounds: the highest number
``leader``                ``term``                            elections; the time without a leader ends
``step_down``, ``follow``                                     the time without a leader begins, if it led
``retry``                                                     retries
``dead_letter``                                               dead letters
``effect``                ``key`` (or ``item``), ``stage``    duplicate effects: the same key once more, at one stage
``duplicate_effect``                                          duplicate effects, where an agent finds one itself
``stale_read``                                                stale reads
``lost_update``                                               lost updates
``sync``                  ``bytes``, ``seconds``              a message of the synchronisation, its size and latency
``handoff_requested``     ``id``, ``reason``                  handoffs requested, and pending until they end
``handoff_completed``     ``id``                              handoffs completed, and how long they took
``handoff_refused``       ``id``                              handoffs that ended so
``handoff_expired``       ``id``                              handoffs that ended so
``conflict_detected``     ``id``                              when a conflict began
``conflict_resolved``     ``id``                              how long it took from then on
========================  ==================================  =======================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.run.hosting import real_seconds
from pytest_convergence._engine.run.outcome import RunMetrics
from pytest_convergence._engine.state.conflicts import Conflict
from pytest_convergence._engine.state.sync import as_sync

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.sim.fabric import Fabric

__all__ = ["Counting", "Verdict"]

_FIELDS: Final = frozenset(RunMetrics._fields)

_TALLIED: Final[Mapping[str, str]] = {
    "retry": "retries",
    "dead_letter": "dead_letters",
    "duplicate_effect": "duplicate_effects",
    "stale_read": "stale_reads",
    "lost_update": "lost_updates",
}
"""Facts of which each is one more."""

_PROOFS: Final[Mapping[str, str]] = {
    "no_stale_read": "stale_reads",
    "no_silent_loss": "lost_updates",
}
"""Properties whose violation is one more of something."""

_FAULTS: Final = ("crash", "pause", "stall", "cancel")
"""Kinds of events that are faults of agents."""

_COUNTED_KINDS: Final = ("observe", "state", "rule", *_FAULTS)

_PARTITIONS: Final = ("partition ", "one-way partition ")
"""How the words of a rule begin that is a partition."""

_ENDINGS: Final = ("completed", "refused", "expired", "failed")


@final
class Counting:
    """The counters of one run.

    Attributes:
        numbers: counts by the name of the field of :class:`RunMetrics`; what is absent is 0.
        faults: how often which fault struck an agent.
        handoffs: how handoffs ended, by ``reason/outcome``.
        votes: the value that each agent voted for last.
    """

    __slots__ = (
        "_began_ns",
        "_conflicts",
        "_effects",
        "_handoffs",
        "_leaders",
        "_led",
        "_unled_since_ns",
        "faults",
        "handoffs",
        "numbers",
        "votes",
    )

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._unled_since_ns: int | None = began_ns
        self._leaders: dict[str, Any] = {}
        self._led = False
        self._effects: set[str] = set()
        self._handoffs: dict[Any, tuple[int, str]] = {}
        self._conflicts: dict[Any, int] = {}
        self.numbers: dict[str, float] = {}
        self.faults: dict[str, int] = {}
        self.handoffs: dict[str, int] = {}
        self.votes: dict[str, Any] = {}

    def watch(self, fabric: Fabric) -> None:
        """Follow the events of a run from now on."""
        fabric.watch(_COUNTED_KINDS, self.count)

    def count(self, event: TraceEvent) -> None:
        """Take one event."""
        kind = event.kind
        if kind == "observe":
            fact = event.detail.get("fact")
            count = _COUNTED.get(fact)
            if count is not None:
                count(self, fact, event)
        elif kind == "state":
            self.add("state_updates")
        elif kind == "rule":
            if event.detail["what"] == "began" and event.detail["rule"].startswith(_PARTITIONS):
                self.faults["partition"] = self.faults.get("partition", 0) + 1
        else:
            self.faults[kind] = self.faults.get(kind, 0) + 1
            if kind == "crash":
                self.add("crashes")
                self._leads_no_more(event)

    def add(self, name: str, number: float = 1) -> None:
        """Add to a counter."""
        self.numbers[name] = self.numbers.get(name, 0) + number

    # -- facts ---------------------------------------------------------------------------------------------------------

    def _tally(self, fact: str, event: TraceEvent) -> None:
        if not event.detail.get("recalled"):
            self.add(_TALLIED[fact])

    def _round(self, fact: str, event: TraceEvent) -> None:
        number = event.detail.get("round")
        if isinstance(number, int) and number > self.numbers.get("rounds", 0):
            self.numbers["rounds"] = number

    def _vote(self, fact: str, event: TraceEvent) -> None:
        if "value" in event.detail:
            self.votes[event.agent] = event.detail["value"]

    def _effect(self, fact: str, event: TraceEvent) -> None:
        detail = event.detail
        key = detail.get("key", detail.get("item"))
        if key is None or detail.get("recalled"):
            return
        known = repr((detail.get("stage"), key))  # keys need not be hashable
        if known in self._effects:
            self.add("duplicate_effects")
        self._effects.add(known)

    def _leader(self, fact: str, event: TraceEvent) -> None:
        term = event.detail.get("term")
        if self._leaders.get(event.agent, self) != term:
            self.add("elections")
        self._leaders[event.agent] = term
        self._led = True
        if self._unled_since_ns is not None:
            self.add("unavailable_ns", event.at_ns - self._unled_since_ns)
            self._unled_since_ns = None

    def _follower(self, fact: str, event: TraceEvent) -> None:
        self._leads_no_more(event)

    def _leads_no_more(self, event: TraceEvent) -> None:
        if self._leaders.pop(event.agent, self) is not self and not self._leaders:
            self._unled_since_ns = event.at_ns

    def _sync(self, fact: str, event: TraceEvent) -> None:
        self.add("sync_operations")
        self.add("sync_bytes", event.detail.get("bytes", 0))
        if "seconds" in event.detail:
            self.add("sync_delivered")
            self.add("sync_seconds", event.detail["seconds"])

    def _handoff_requested(self, fact: str, event: TraceEvent) -> None:
        id, reason = event.detail.get("id"), str(event.detail.get("reason", "none"))
        if id not in self._handoffs:
            self.add("handoffs_requested")
            self._handoffs[id] = (event.at_ns, reason)

    def _handoff_ended(self, fact: str, event: TraceEvent) -> None:
        begun = self._handoffs.pop(event.detail.get("id"), None)
        if begun is None:
            return
        at_ns, reason = begun
        outcome = fact.removeprefix("handoff_")
        which = f"{reason}/{outcome}"
        self.handoffs[which] = self.handoffs.get(which, 0) + 1
        self.add("handoff_seconds", event.detail.get("seconds", (event.at_ns - at_ns) / 1e9))
        if outcome == "completed":
            self.add("handoffs")

    def _conflict_detected(self, fact: str, event: TraceEvent) -> None:
        self._conflicts.setdefault(event.detail.get("id"), event.at_ns)

    def _conflict_resolved(self, fact: str, event: TraceEvent) -> None:
        at_ns = self._conflicts.get(event.detail.get("id"), -1)
        if at_ns >= 0:
            self._conflicts[event.detail.get("id")] = -1  # resolved once; other replicas may say it too
            self.add("conflict_seconds", (event.at_ns - at_ns) / 1e9)

    def present(self, name: str) -> float:
        """Return a counter as it stands."""
        return len(self._handoffs) if name == "handoffs_pending" else self.numbers.get(name, 0)

    # -- the end -------------------------------------------------------------------------------------------------------

    def unavailable_seconds(self, now_ns: int) -> float:
        """How long nobody held itself to lead, of a run in which somebody did at some time; else 0."""
        if not self._led:
            return 0.0
        lasting_ns = 0 if self._unled_since_ns is None else now_ns - self._unled_since_ns
        return (self.numbers.get("unavailable_ns", 0) + lasting_ns) / 1e9

    def metrics(self, conduct: Conduct, verdict: Verdict) -> RunMetrics:
        """Draw up the numbers of the run, which came to ``verdict``."""
        session, fabric, now_ns = conduct.session, conduct.fabric, conduct.world.now_ns
        versions = sum([agent._version for agent in session.agents.values()]) if session.has_replicas else 0
        conflicts = session.conflicts if versions else ()
        for name in verdict.violations:
            if name in _PROOFS:
                self.add(_PROOFS[name])
        numbers: dict[str, Any] = {name: self.numbers[name] for name in self.numbers if name in _FIELDS}
        if conflicts:
            numbers["unresolved"] = sum(conflict.resolution is None for conflict in conflicts)
            numbers["conflicts_by"] = _count_by(conflicts, _type_and_severity)
            numbers["resolutions_by"] = _count_by(conflicts, _strategy)
        return RunMetrics(
            pattern=session.pattern.name if session.pattern is not None else "none",
            outcome=verdict.outcome,
            sync=as_sync(session.options.get("sync")).name if versions else "none",
            virtual_seconds=(now_ns - conduct.started_ns) / 1e9,
            convergence_seconds=conduct.duration_seconds,
            real_seconds=real_seconds() - conduct.started_real,
            score=verdict.score,
            agreement=verdict.agreement,
            agents=len(session.agents),
            sent=fabric.uid,
            received=max(0, fabric.uid + fabric.duplicated - fabric.lost - fabric.under_way()),
            lost=fabric.lost,
            duplicated=fabric.duplicated,
            protocol_messages=fabric.protocol_sent,
            state_versions=versions,
            conflicts=len(conflicts),
            handoffs_pending=len(self._handoffs),
            handoffs_by=self.handoffs,
            unavailable_seconds=self.unavailable_seconds(now_ns),
            violations=len(verdict.violations),
            faults=self.faults,
            events=sum([node.life.steps for node in fabric.nodes.values()]),
            **numbers,
        )


@final
class Verdict(NamedTuple):
    """What the judge makes of a run, in numbers."""

    outcome: str
    score: float
    agreement: float
    violations: tuple[str, ...]


def _count_by(conflicts: Iterable[Conflict], label: Callable[[Conflict], str | None]) -> dict[str, int]:
    return dict(Counter(name for name in map(label, conflicts) if name is not None))


def _type_and_severity(conflict: Conflict) -> str:
    return "/".join(_plain(getattr(conflict, name, None)) for name in ("type", "severity"))


def _strategy(conflict: Conflict) -> str | None:
    return None if conflict.resolution is None else _plain(conflict.resolution.strategy)


def _plain(value: Any) -> str:
    """Return the text of a label: names may be members of an enum."""
    return "none" if value is None else str(getattr(value, "value", value))


_Count = Callable[[Counting, str, TraceEvent], None]

_COUNTED: Final[Mapping[Any, _Count]] = {
    **dict.fromkeys(_TALLIED, Counting._tally),
    "round": Counting._round,
    "vote": Counting._vote,
    "effect": Counting._effect,
    "leader": Counting._leader,
    "step_down": Counting._follower,
    "follow": Counting._follower,
    "sync": Counting._sync,
    "handoff_requested": Counting._handoff_requested,
    **{f"handoff_{ending}": Counting._handoff_ended for ending in _ENDINGS},
    "conflict_detected": Counting._conflict_detected,
    "conflict_resolved": Counting._conflict_resolved,
}
