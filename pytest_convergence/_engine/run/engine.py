"""The engine: makes sessions, runs them, and keeps count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final, final

from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.run.handlers import Handlers, Notice, SessionEvent
from pytest_convergence._engine.run.known import Known
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.options import NOTHING_SET, SessionOptions
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["ConvergenceEngine", "EngineStats", "Sessions"]


@final
@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine's sessions came to.

    Attributes:
        total_sessions: how many were created.
        active_sessions: how many of them have not ended.
        converged_sessions, diverged_sessions, failed_sessions: how those that ended came out.
        by_state: how many are in which state, by the state's name; only states that there are sessions in.
        by_pattern: how many were created with which pattern, by its name; ``"none"`` without one.
        convergence_rate: the share of those that ended that converged, 0 to 1; 0 if none ended.
        mean_seconds_to_converge, longest_seconds_to_converge: virtual seconds, over those that converged.
        mean_score, mean_agreement: over those that ended, 0 to 1.
        phases: how many began; a sum over those that ended, as are all that follow.
        iterations: how many began.
        rounds: how many patterns took.
        messages_sent, messages_received, messages_lost, messages_duplicated: messages by fate.
        conflicts: concurrent writes that did not agree.
        conflicts_unresolved: those of them without a resolution.
        handoffs_requested, handoffs_completed, handoffs_pending: tasks that were to change hands, did, and did not yet.
        elections, retries, dead_letters: what patterns did.
        crashes, violations: lives that ended early; properties that did not hold.
        sync_operations, sync_bytes: what replicas sent.
        virtual_seconds, real_seconds: the time that they took together.
    """

    total_sessions: int = 0
    active_sessions: int = 0
    converged_sessions: int = 0
    diverged_sessions: int = 0
    failed_sessions: int = 0
    by_state: Mapping[str, int] = field(default_factory=dict)
    by_pattern: Mapping[str, int] = field(default_factory=dict)
    convergence_rate: float = 0.0
    mean_seconds_to_converge: float = 0.0
    longest_seconds_to_converge: float = 0.0
    mean_score: float = 0.0
    mean_agreement: float = 0.0
    phases: int = 0
    iterations: int = 0
    rounds: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    messages_lost: int = 0
    messages_duplicated: int = 0
    conflicts: int = 0
    conflicts_unresolved: int = 0
    handoffs_requested: int = 0
    handoffs_completed: int = 0
    handoffs_pending: int = 0
    elections: int = 0
    retries: int = 0
    dead_letters: int = 0
    crashes: int = 0
    violations: int = 0
    sync_operations: int = 0
    sync_bytes: int = 0
    virtual_seconds: float = 0.0
    real_seconds: float = 0.0


_SUMMED: Final[Mapping[str, str]] = {
    "phases": "phases",
    "iterations": "iterations",
    "rounds": "rounds",
    "messages_sent": "sent",
    "messages_received": "received",
    "messages_lost": "lost",
    "messages_duplicated": "duplicated",
    "conflicts": "conflicts",
    "conflicts_unresolved": "unresolved",
    "handoffs_requested": "handoffs_requested",
    "handoffs_completed": "handoffs",
    "handoffs_pending": "handoffs_pending",
    "elections": "elections",
    "retries": "retries",
    "dead_letters": "dead_letters",
    "crashes": "crashes",
    "violations": "violations",
    "sync_operations": "sync_operations",
    "sync_bytes": "sync_bytes",
    "virtual_seconds": "virtual_seconds",
    "real_seconds": "real_seconds",
}
"""The numbers of statistics that add up, and the numbers of runs that they add up."""


_BUILT_IN_ONLY: Final = Known()
"""What names stand for where nobody added any: nothing changes it, so engines share it."""


@final
class Sessions(Mapping[str, Session]):
    """The sessions of an engine by name, in the order in which they were created.

    Call it to choose among them: ``engine.sessions(state="converged", pattern="consensus")``.
    """

    __slots__ = ("_sessions",)

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = dict(sessions)

    def __getitem__(self, name: str) -> Session:
        return self._sessions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def __call__(
        self,
        *,
        state: SessionState | str | None = None,
        pattern: str | None = None,
        converged: bool | None = None,
        where: Callable[[Session], object] | None = None,
    ) -> Sessions:
        """Return those sessions to which everything applies that is given.

        Args:
            state: the state that they are in, or its name.
            pattern: the name of their pattern; ``"none"`` for those without one.
            converged: whether they have ended and converged (``True``), or ended otherwise (``False``).
            where: a function of the session.

        Raises:
            ConvergenceUsageError: there is no such state.
        """
        wanted = _as_state(state)
        return Sessions(
            {
                name: session
                for name, session in self._sessions.items()
                if (wanted is None or session.state is wanted)
                and (pattern is None or _pattern_of(session) == pattern)
                and (converged is None or _has_converged(session) is converged)
                and (where is None or where(session))
            }
        )

    def __repr__(self) -> str:
        return f"<Sessions {', '.join(map(repr, self._sessions)) or 'none'}>"


def _as_state(state: SessionState | str | None) -> SessionState | None:
    if state is None or isinstance(state, SessionState):
        return state
    names = {each.value: each for each in SessionState}
    if state not in names:
        raise unknown_name("session state", state, names)
    return names[state]


def _pattern_of(session: Session) -> str:
    return "none" if session.pattern is None else str(session.pattern.name)


def _has_converged(session: Session) -> bool | None:
    return None if session.outcome is None else session.outcome.converged


@final
class ConvergenceEngine:
    """Creates and runs sessions; works outside pytest too.

    Args:
        defaults: options that its sessions take where they are not given others.
        created: called with each session that it has made.
        finished: called with each session and outcome, when its run has ended.
        patterns: patterns of your own that its sessions may name, beside the built-in ones.
        properties: properties of your own that its sessions may name; those that name patterns hold for their sessions.
        known: the patterns and properties that its sessions may name, instead of these two.
        seed_from: what the seeds of sessions without one derive from.
    """

    def __init__(
        self,
        defaults: SessionOptions | None = None,
        *,
        created: Callable[[Session], None] | None = None,
        finished: Callable[[Session, Outcome], None] | None = None,
        seed_from: str | None = None,
        patterns: Iterable[Pattern] = (),
        properties: Iterable[Property] = (),
        known: Known | None = None,
    ) -> None:
        if known is None:
            known = Known(patterns, properties) if patterns or properties else _BUILT_IN_ONLY
        self._known = known
        self._created = created
        self._defaults = defaults if defaults is not None else NOTHING_SET
        self._finished = finished
        self._seed_from = seed_from
        self._sessions: dict[str, Session] = {}
        self._outcomes: list[Outcome] = []
        self._handlers = Handlers()

    @property
    def sessions(self) -> Sessions:
        """Every session that was created, by name; ``engine.sessions(state="failed")`` chooses among them."""
        return Sessions(self._sessions)

    def on(self, event: SessionEvent | str, handler: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``handler(notice)`` whenever ``event`` happens to a session of this engine. What it raises fails the run.

        Returns:
            A function that takes the handler away again.

        Raises:
            ConvergenceUsageError: there is no such event, or the handler is not a plain function.
        """
        remove = self._handlers.add(event, handler)
        for session in self._sessions.values():
            session._notifier.follow()
        return remove

    def create_session(self, name: str, **options: Any) -> Session:
        """Create a session with the options of the marker.

        Raises:
            ConvergenceUsageError: the name is taken, or an option is wrong.
        """
        if not isinstance(name, str) or not name:
            raise ConvergenceUsageError(f"a session needs a name, not {name!r}.")
        if name in self._sessions:
            raise ConvergenceUsageError(f"this engine has a session named {name!r} already.")
        merged = SessionOptions.parse(self._known.resolved(options)).over(self._defaults)
        seed_from = None if self._seed_from is None else f"{self._seed_from}/{name}"
        session = Session(
            self._known.completed(merged),
            name=name,
            seed_from=seed_from,
            finished=self._ended,
            handlers=self._handlers,
        )
        self._sessions[name] = session
        if self._created is not None:
            self._created(session)
        session._notifier.tell(SessionEvent.SESSION_CREATED)
        return session

    def run(
        self,
        session: Session,
        scenario: Callable[[Session], Coroutine[Any, Any, Any]] | None = None,
        *,
        timeout: float | None = None,
        **inputs: Any,
    ) -> Outcome:
        """Run a session of this engine; see :meth:`Session.run`."""
        __tracebackhide__ = True
        return self._own(session).run(scenario, timeout=timeout, **inputs)

    async def execute(
        self,
        session: Session,
        scenario: Callable[[Session], Coroutine[Any, Any, Any]] | None = None,
        *,
        timeout: float | None = None,
        **inputs: Any,
    ) -> Outcome:
        """Run a session inside an ``async def`` test; see :meth:`Session.execute`."""
        __tracebackhide__ = True
        return await self._own(session).execute(scenario, timeout=timeout, **inputs)

    def _own(self, session: Session) -> Session:
        if self._sessions.get(getattr(session, "name", "")) is not session:
            raise ConvergenceUsageError(
                f"{session!r} was not created by this engine; use engine.create_session(…)."
            )
        return session

    def _ended(self, session: Session, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        if self._finished is not None:
            self._finished(session, outcome)

    def stats(self) -> EngineStats:
        """Return how the sessions came out so far."""
        numbers = [outcome.metrics for outcome in self._outcomes]
        came_out = Counter(number.outcome for number in numbers)
        took = [number.convergence_seconds for number in numbers if number.outcome == "converged"]
        ended = len(numbers)
        sums = {name: sum(getattr(number, field) for number in numbers) for name, field in _SUMMED.items()}
        return EngineStats(
            total_sessions=len(self._sessions),
            active_sessions=len(self._sessions) - ended,
            converged_sessions=came_out["converged"],
            diverged_sessions=came_out["diverged"],
            failed_sessions=came_out["failed"],
            by_state=dict(Counter(session.state.value for session in self._sessions.values())),
            by_pattern=dict(Counter(map(_pattern_of, self._sessions.values()))),
            convergence_rate=len(took) / ended if ended else 0.0,
            mean_seconds_to_converge=fmean(took) if took else 0.0,
            longest_seconds_to_converge=max(took, default=0.0),
            mean_score=fmean(number.score for number in numbers) if numbers else 0.0,
            mean_agreement=fmean(number.agreement for number in numbers) if numbers else 0.0,
            **sums,
        )
