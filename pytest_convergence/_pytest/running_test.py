"""The test that runs: what its sessions are made from, and what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import pytest

from pytest_convergence._engine.base.survey import Survey
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.session import Session
from pytest_convergence._pytest.accounts import Account, Chosen, Told, chosen_by, survey_of, unasked_by
from pytest_convergence._pytest.course import Course
from pytest_convergence._pytest.marker import Plan, known_names
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence.explore.explorers import Approach
from pytest_convergence.explore.novelty import StateWatch
from pytest_convergence.metrics import Tally

if TYPE_CHECKING:
    from pytest_convergence._engine.base.schedule import Schedule
    from pytest_convergence._engine.base.trace import Aside, Trace, TraceEvent
    from pytest_convergence._engine.check.property import Violation
    from pytest_convergence._engine.run.compare import Record
    from pytest_convergence._engine.run.outcome import Outcome
    from pytest_convergence._pytest.examples import Examples
    from pytest_convergence._pytest.journal import Journal
    from pytest_convergence.explore.counterexample import Counterexample

__all__ = [
    "RUNNING",
    "Heard",
    "Made",
    "Run",
    "RunningTest",
    "asides_of",
    "derive_seed",
    "documents_of",
    "evidence_of",
    "stood_of",
]

_KEPT_SESSIONS: Final = 8
"""How many sessions of a run are kept for the report: a test under Hypothesis makes hundreds."""


def derive_seed(nodeid: str, base: int | None, index: int) -> int:
    """Return the seed of a test's schedule ``index``: the same in every process, another for every test."""
    text = f"{nodeid}\n{'' if base is None else base}\n{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _own_nodeid(item: pytest.Item) -> str:
    """Return the node id of ``item`` as it is without xdist, which adds a group's name to it (``--dist=loadgroup``)."""
    nodeid = str(item.nodeid)
    if item.config.getoption("loadgroup", False) and item.get_closest_marker("xdist_group") is not None:
        return nodeid.rpartition("@")[0] or nodeid
    return nodeid


@final
@dataclass(slots=True)
class Made:
    """A session that the present run made.

    Attributes:
        label: its name, and a number where another has the same name.
        outcome: what it came to, ``None`` while it has not ended.
    """

    label: str
    session: Session
    outcome: Outcome | None = None

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self.session.state

    @property
    def schedule(self) -> Schedule:
        """What it follows."""
        return self.session.schedule

    @property
    def seed(self) -> int | None:
        """Its seed."""
        return self.session.seed

    @property
    def words(self) -> str:
        """What became of it."""
        if self.outcome is not None:
            return str(self.outcome)
        return f"{self.label}: {self.session.state.value}, has not ended"

    @property
    def has_ended(self) -> bool:
        """Whether there is an outcome."""
        return self.outcome is not None

    @property
    def converged(self) -> bool:
        """Whether its agents agree."""
        return self.outcome is not None and self.outcome.converged

    @property
    def virtual_seconds(self) -> float:
        """How long its run was, if it has ended."""
        return 0.0 if self.outcome is None else self.outcome.metrics.virtual_seconds

    @property
    def events(self) -> int:
        """How many steps were taken in its run, if it has ended."""
        return 0 if self.outcome is None else self.outcome.metrics.events

    @property
    def chosen(self) -> Mapping[str, Chosen] | None:
        """Its departures from calm, if they were recorded."""
        return chosen_by(self.session)

    @property
    def survey(self) -> Survey | None:
        """What else was recorded."""
        return survey_of(self.session)

    @property
    def unasked(self) -> Sequence[str]:
        """The labels of deviations that it was given, and did not come to."""
        return unasked_by(self.session)

    @property
    def digest(self) -> str:
        """The digest of its trace; empty if it has no events."""
        return self.outcome.trace.digest() if self.outcome is not None and len(self.outcome.trace) else ""


class Heard(NamedTuple):
    """What another process has told of a run that was made there.

    Attributes:
        told: the sessions that were kept.
        followers: the sessions that follow the course.
        records: the traces, to compare them.
    """

    told: Sequence[Account]
    followers: Sequence[Account]
    records: Mapping[str, Record]


@final
@dataclass(slots=True)
class Run:
    """One run of the test's body, under one schedule.

    Attributes:
        index: the number of the schedule, from 0.
        seed: what is given to sessions as their seed; ``None`` lets each find its own.
        sessions: the newest of those that were made; the last one is the last that was made or ended.
        made: how many were made.
        is_counted: whether the schedule has been counted.
        course: what its sessions follow, ``None`` for their own schedules.
        known_failure: the token that it tries, of those under which the test has failed before.
        approach: how the search chose this run.
        seen: the states that its sessions went through, if the search wants to know.
        in_order: the sessions that follow the course or are examples, in the order in which they were made.
        heard: what became of it, if it was made in another process; what is here has not run then.
        journal: whom a process tells of the run while it goes on, if it may not come to its end.
    """

    index: int
    seed: int | None
    sessions: list[Made] = field(default_factory=list)
    made: int = 0
    is_counted: bool = False
    course: Course | None = None
    known_failure: str | None = None
    in_order: list[Session] = field(default_factory=list)
    approach: Approach = Approach(None)  # noqa: RUF009 - a named tuple
    seen: list[StateWatch] | None = None
    heard: Heard | None = None
    journal: Journal | None = None

    @property
    def told(self) -> Sequence[Told]:
        """What is known of the sessions that are kept."""
        return self.sessions if self.heard is None else self.heard.told

    @property
    def followers(self) -> Sequence[Told]:
        """What is known of the sessions that follow the course, in the order in which they were made."""
        if self.heard is not None:
            return self.heard.followers
        return [Made(session.name, session, session.outcome) for session in self.in_order]


@final
class RunningTest:
    """One test while pytest runs it; kept in the item's stash.

    Attributes:
        item: the test.
        nodeid: its node id, from which seeds derive: the same however tests are distributed.
        plan: how it is run.
        run: the present run of its body, or the last one.
        tally: what its sessions did since the last report.
        keeps_traces: whether every outcome is kept for a comparison, and traces must be on.
        is_shrinking: whether the runs are trials, which nobody counts.
        counterexample: what was found, if a failure was shrunk.
        others: further ones, where Hypothesis found several failures.
        examples: the examples of Hypothesis, where it calls the body.
        found_by, found_seed: which schedule found it, in words, and its seed.
        notes: what else is to be said of a failure.
        said: what the summary is to say of it, though it has passed.
        needs_isolation: whether the failure can be made again in a process of its own alone.
        reached: its *sometimes* properties, and whether some run has reached them.
        sessions_ended, virtual_seconds, real_seconds: sums over all its sessions.
    """

    def __init__(self, item: pytest.Item, plan: Plan) -> None:
        self.item = item
        self.nodeid = _own_nodeid(item)
        self.plan = plan
        self.tally = Tally()
        self.keeps_traces = False
        self.is_shrinking = False
        self.needs_isolation = False
        self.counterexample: Counterexample | None = None
        self.others: list[Counterexample] = []
        self.examples: Examples | None = None
        self.found_by = ""
        self.found_seed: int | None = None
        self.notes: list[str] = []
        self.said: list[str] = []
        self.reached: dict[str, bool] = {}
        self.sessions_ended = 0
        self.virtual_seconds = 0.0
        self.real_seconds = 0.0
        self._hears = item.ihook.pytest_convergence_session_finished  # looked up once: that takes its time
        self._steps = item.config.stash[SETTINGS].steps
        self._base_seed: int | None = plan.options.get("seed")
        self.run = Run(0, self._base_seed, course=plan.course, approach=Approach(self._base_seed))

    def try_known(self, token: str) -> None:
        """The body is about to run under a schedule under which it has failed before."""
        self.begin_run(0, Approach(self._base_seed))
        self.run.course, self.run.known_failure = Course.of_token(token), token

    def seed_of(self, index: int) -> int | None:
        """The seed of schedule ``index``; ``None`` for the first where the test names none."""
        return derive_seed(self.nodeid, self._base_seed, index) if index else self._base_seed

    def begin_run(self, index: int, approach: Approach, *, watched: bool = False) -> None:
        """The body is about to run under schedule ``index``."""
        self._note_active()
        course = self.plan.course if approach.schedules is None else Course(approach.schedules)
        self.run = Run(index, approach.seed, course=course, approach=approach, seen=[] if watched else None)

    def begin_run_again(self, course: Course | None = None) -> None:
        """The body is about to run under the same schedule once more, perhaps on another course."""
        self._note_active()
        last = self.run
        self.run = Run(
            last.index,
            last.seed,
            is_counted=True,
            course=course or last.course,
            approach=last.approach,
        )

    # -- examples of Hypothesis ----------------------------------------------------------------------------------------

    def begin_example(self) -> None:
        """Hypothesis begins another example, perhaps without having been expected."""
        if self.examples is None:
            from pytest_convergence._pytest.examples import Examples

            self.examples = Examples(self)
        self.examples.begin()

    def example_failed(self, error: BaseException) -> None:
        """The present example, of a state machine, has failed."""
        if self.examples is not None:
            self.examples.failed(error, None)

    def explained(self, found: list[Counterexample]) -> None:
        """The failures with which Hypothesis ended have been explained."""
        if found:
            self.counterexample, *self.others = found

    # -- sessions ------------------------------------------------------------------------------------------------------

    def defaults(self) -> SessionOptions:
        """The options of a session of this test that is given none, in the present run."""
        seed, noise = self.run.seed, self.run.approach.noise
        options = self.plan.options
        if seed is not None:
            options = (
                replace(options, seed=seed) if noise is None else replace(options, seed=seed, noise=noise)
            )
        elif noise is not None:
            options = replace(options, noise=noise)
        if self.keeps_traces and not options.trace_window():
            options = SessionOptions(trace=True).over(options)
        return options

    def make_session(self, options: dict[str, Any], *, name: str | None = None) -> Session:
        """Make a session that belongs to this test.

        Raises:
            ConvergenceUsageError: an option is wrong.
        """
        run = self.run
        known = known_names(self.item.config)
        merged = self.defaults()
        if options:
            merged = SessionOptions.parse(known.resolved(options)).over(merged)
        run.made += 1
        if "name" in options:
            name = merged.get("name")
        elif name is None:
            name = f"{self.item.name} session {run.made}"
        session = Session(known.completed(merged), name=name, seed_from=self.nodeid, finished=self.finished)
        self.created(session, is_given_one="schedule" in options)
        return session

    def created(self, session: Session, *, is_given_one: bool = False) -> None:
        """A session was made that belongs to this test; ``is_given_one`` if with a schedule of its own."""
        course, branches = self.run.course, self.run.approach.branches
        if branches and session.schedule.kind == "seeded":
            session.schedule = replace(session.schedule, branches=branches)
        if self.run.seen is not None:
            watch = StateWatch()
            self.run.seen.append(watch)
            session.watchers.append(watch.begin)
        if course is not None and not (is_given_one and self.examples is not None):
            course.set(session, len(self.run.in_order))
        if self._steps and not self.is_shrinking:
            session.takes_snapshots = True
        if self.examples is not None:
            session.is_recorded = True  # which example is the last is known afterwards
        if course is not None or self.examples is not None:
            self.run.in_order.append(session)
        self._keep(session, None)
        if self.run.journal is not None:
            self.run.journal.made(session, self.run.sessions[-1].label)

    def _keep(self, session: Session, outcome: Outcome | None) -> None:
        """Put ``session`` at the end of those of this run."""
        kept = self.run.sessions
        for made in kept:
            if made.session is session:
                kept.remove(made)
                break
        else:
            alike = sum(made.session.name == session.name for made in kept)
            made = Made(f"{session.name} ({alike + 1})" if alike else session.name, session)
        made.outcome = outcome
        kept.append(made)
        if len(kept) > _KEPT_SESSIONS and not self.keeps_traces:
            self._note_if_active(kept.pop(0))

    def _note_if_active(self, told: Told) -> None:
        if not told.has_ended:
            self.tally.note_active(told.state.value)

    def _note_active(self) -> None:
        """The present run is over: what has not ended by now never will."""
        for told in self.run.told:
            self._note_if_active(told)
        self.run.sessions, self.run.heard = [], None

    def finished(self, session: Session, outcome: Outcome) -> None:
        """A session of this test has ended."""
        if self.is_shrinking:
            self._keep(session, outcome)
            return
        self.tally.add(outcome.metrics.as_dict())
        for name, reached in session.sometimes_reached.items():
            self.reached[name] = self.reached.get(name, False) or reached
            self.tally.note_sometimes(f"{self.nodeid}: {name}", reached)
        if self.examples is not None or not self.run.is_counted:
            self.tally.schedules += 1  # each example of Hypothesis is a schedule of its own
            self.run.is_counted = True
        self.sessions_ended += 1
        self.virtual_seconds += outcome.metrics.virtual_seconds
        self.real_seconds += outcome.metrics.real_seconds
        self._keep(session, outcome)
        if self._hears.get_hookimpls():
            self._hears(item=self.item, session=session, outcome=outcome)

    def traces(self) -> Mapping[str, Trace | Record]:
        """The traces of the present run, by session, or what is compared of them."""
        if self.run.heard is not None:
            return self.run.heard.records
        return {made.label: made.outcome.trace for made in self.run.sessions if made.outcome is not None}

    def merge(
        self, counted: Mapping[str, Any] | None, reached: Mapping[str, bool], sums: tuple[int, float, float]
    ) -> None:
        """Add what another process has counted: its tally, what it reached, and its numbers of sessions and seconds."""
        if counted is not None:
            self.tally.merge(counted)
        for name, is_reached in reached.items():
            self.reached[name] = self.reached.get(name, False) or is_reached
        ended, virtual, real = sums
        self.sessions_ended += ended
        self.virtual_seconds += virtual
        self.real_seconds += real

    def drain(self, *, last: bool = False) -> dict[str, Any] | None:
        """Hand over what was counted since the last time, as builtin types; ``last`` when the test is torn down."""
        if last:
            self._note_active()
        tally, self.tally = self.tally, Tally()
        return tally.as_wire() if tally or tally.active else None


def documents_of(sessions: Sequence[Made]) -> dict[str, Any]:
    """The documents that the replicas of the session hold that ended last, by agent; of those that are alive."""
    ended = [made for made in sessions if made.outcome is not None]
    agents = ended[-1].session.agents.values() if ended else ()
    return {agent.name: agent.state.as_dict() for agent in agents if agent.is_alive and agent.state.version}


def stood_of(sessions: Sequence[Made]) -> dict[str, str]:
    """Where the code of each agent stood at the end of the session that ended last."""
    ended = [made for made in sessions if made.outcome is not None]
    conduct = ended[-1].session._conduct if ended else None
    return {} if conduct is None else dict(conduct.ending.stood)


def asides_of(sessions: Sequence[Made]) -> tuple[Aside, ...]:
    """What is told beside the trace of the session that ended last."""
    ended = [made for made in sessions if made.outcome is not None]
    conduct = ended[-1].session._conduct if ended else None
    return () if conduct is None else tuple(conduct.ending.asides)


def evidence_of(
    sessions: Sequence[Made], violations: Sequence[Violation]
) -> tuple[tuple[TraceEvent, ...], ...]:
    """The facts that prove each violation of the session that ended last."""
    ended = [made for made in sessions if made.outcome is not None]
    conduct = ended[-1].session._conduct if ended else None
    return () if conduct is None else tuple(map(conduct.judge.evidence, violations))


RUNNING: Final = pytest.StashKey[RunningTest]()
