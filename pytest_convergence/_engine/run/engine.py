"""The engine: makes sessions, runs them, and keeps count."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, final

from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["ConvergenceEngine", "EngineStats"]


@final
@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine's sessions came to.

    Attributes:
        total_sessions: how many were created.
        active_sessions: how many of them have not ended.
        converged_sessions, diverged_sessions, failed_sessions: how those that ended came out.
        messages_sent, messages_lost, conflicts: sums over those that ended.
        virtual_seconds: the virtual time that they took together.
    """

    total_sessions: int = 0
    active_sessions: int = 0
    converged_sessions: int = 0
    diverged_sessions: int = 0
    failed_sessions: int = 0
    messages_sent: int = 0
    messages_lost: int = 0
    conflicts: int = 0
    virtual_seconds: float = 0.0


@final
class ConvergenceEngine:
    """Creates and runs sessions; works outside pytest too.

    Args:
        defaults: options that its sessions take where they are not given others.
        created: called with each session that it has made.
        finished: called with each session and outcome, when its run has ended.
        seed_from: what the seeds of sessions without one derive from.
    """

    def __init__(
        self,
        defaults: SessionOptions | None = None,
        *,
        created: Callable[[Session], None] | None = None,
        finished: Callable[[Session, Outcome], None] | None = None,
        seed_from: str | None = None,
    ) -> None:
        self._created = created
        self._defaults = defaults if defaults is not None else SessionOptions()
        self._finished = finished
        self._seed_from = seed_from
        self._sessions: dict[str, Session] = {}
        self._outcomes: list[Outcome] = []

    @property
    def sessions(self) -> dict[str, Session]:
        """Every session that was created, by name."""
        return dict(self._sessions)

    def create_session(self, name: str, **options: Any) -> Session:
        """Create a session with the options of the marker.

        Raises:
            ConvergenceUsageError: the name is taken, or an option is wrong.
        """
        if not isinstance(name, str) or not name:
            raise ConvergenceUsageError(f"a session needs a name, not {name!r}.")
        if name in self._sessions:
            raise ConvergenceUsageError(f"this engine has a session named {name!r} already.")
        merged = SessionOptions.parse(options).over(self._defaults)
        seed_from = None if self._seed_from is None else f"{self._seed_from}/{name}"
        session = Session(merged, name=name, seed_from=seed_from, finished=self._ended)
        self._sessions[name] = session
        if self._created is not None:
            self._created(session)
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

        def count(result: str) -> int:
            return sum(number.outcome == result for number in numbers)

        return EngineStats(
            total_sessions=len(self._sessions),
            active_sessions=len(self._sessions) - len(numbers),
            converged_sessions=count("converged"),
            diverged_sessions=count("diverged"),
            failed_sessions=count("failed"),
            messages_sent=sum(number.sent for number in numbers),
            messages_lost=sum(number.lost for number in numbers),
            conflicts=sum(number.conflicts for number in numbers),
            virtual_seconds=sum(number.virtual_seconds for number in numbers),
        )
