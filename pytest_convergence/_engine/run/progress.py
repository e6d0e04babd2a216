"""How a session gets on: its phases and its iterations, as the scenario states them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, final

from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns, to_ns
from pytest_convergence._engine.run.handlers import SessionEvent
from pytest_convergence.errors import BudgetExceeded, ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.session import Session

__all__ = ["Iterations", "Phase", "PhaseScope", "Progress"]


@final
@dataclass(slots=True)
class Phase:
    """A part of a session's work.

    Attributes:
        name: as the scenario called it.
        began, ended: virtual seconds; ``ended`` is ``None`` while it lasts.
        iterations: how many iterations began in it.
        completed: whether it ended without an exception.
    """

    name: str
    began: float
    ended: float | None = None
    iterations: int = 0
    completed: bool = False

    @property
    def duration(self) -> float:
        """Virtual seconds that it took; 0 while it lasts."""
        return 0.0 if self.ended is None else self.ended - self.began

    def __str__(self) -> str:
        rounds = f", {self.iterations} iteration{'s' * (self.iterations != 1)}" if self.iterations else ""
        took = format_ns(round(self.duration * NS_PER_SECOND))
        how = f"completed in {took}" if self.completed else f"broken off after {took}"
        return f"phase {self.name!r}: {'goes on' if self.ended is None else how}{rounds}"


@final
class Progress:
    """What a session has begun and done so far.

    Attributes:
        phases: every phase that began, in order.
        iterations: how many iterations began.
        present: the phases that last, outermost first.
    """

    __slots__ = ("_session", "iterations", "phases", "present")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.phases: list[Phase] = []
        self.present: list[Phase] = []
        self.iterations = 0

    def note(self, event: SessionEvent, **data: object) -> None:
        """Write to the trace what happens, and tell the handlers."""
        conduct = self._session._running()
        conduct.fabric.note("session", conduct.scenario_node, {"event": event.value, **data})
        self._session._notifier.tell(event, None, data)

    def begin(self, name: str) -> Phase:
        """A phase begins."""
        session = self._session
        phase = Phase(name, session.now)
        self.phases.append(phase)
        self.present.append(phase)
        session._running().judge.counting.add("phases")
        self.note(SessionEvent.PHASE_STARTED, phase=name)
        return phase

    def end(self, phase: Phase, *, completed: bool) -> None:
        """A phase ends."""
        phase.ended, phase.completed = self._session.now, completed
        if phase in self.present:
            self.present.remove(phase)
        self.note(SessionEvent.PHASE_COMPLETED, phase=phase.name, completed=completed)

    @property
    def limit(self) -> int | None:
        """How many iterations the goal allows."""
        goal = self._session.goal
        return None if goal is None else goal.max_iterations

    def iterate(self) -> int:
        """An iteration begins; return its number, from 1.

        Raises:
            BudgetExceeded: it is one more than the goal allows.
        """
        limit = self.limit
        if limit is not None and self.iterations >= limit:
            raise BudgetExceeded(
                f"session {self._session.name!r} wanted to begin iteration {self.iterations + 1}, and its goal allows "
                f"max_iterations={limit}."
            )
        self.iterations += 1
        for phase in self.present:
            phase.iterations += 1
        self._session._running().judge.counting.add("iterations")
        name = self.present[-1].name if self.present else None
        self.note(SessionEvent.ITERATION_STARTED, iteration=self.iterations, phase=name)
        return self.iterations


@final
class PhaseScope:
    """``async with session.phase("draft")``: the phase lasts as long as the block."""

    __slots__ = ("_name", "_phase", "_progress", "_timeout")

    def __init__(self, progress: Progress, name: str, timeout: float | None) -> None:
        if not isinstance(name, str) or not name:
            raise ConvergenceUsageError(f"a phase needs a name, not {name!r}.")
        if timeout is not None and to_ns(timeout, "timeout") == 0:
            raise ConvergenceUsageError(f"timeout must be greater than 0 seconds, not {timeout!r}.")
        self._progress = progress
        self._name = name
        self._timeout = None if timeout is None else asyncio.timeout(timeout)
        self._phase: Phase | None = None

    async def __aenter__(self) -> Phase:
        if self._phase is not None:
            raise ConvergenceUsageError(
                f"the phase {self._name!r} has begun already; call session.phase() again."
            )
        self._phase = self._progress.begin(self._name)
        if self._timeout is not None:
            await self._timeout.__aenter__()
        return self._phase

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        phase = self._phase
        if phase is None:
            return
        try:
            if self._timeout is not None:
                await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            seconds = self._progress._session.now - phase.began
            raise TimeoutError(
                f"the phase {self._name!r} took longer than {seconds:g} virtual seconds."
            ) from error
        finally:
            self._progress.end(phase, completed=error is None)


@final
class Iterations:
    """``async for number in session.iterations()``: goes round until the goal is met or its iterations are used up."""

    __slots__ = ("_begun", "_session")

    def __init__(self, session: Session) -> None:
        goal = session.goal
        if goal is None or (not goal.success_criteria and goal.max_iterations is None):
            raise ConvergenceUsageError(
                f"session {session.name!r} would iterate for ever: give it a goal with success_criteria or "
                "max_iterations, goal=Goal('…', max_iterations=5)."
            )
        self._session = session
        self._begun = False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        session = self._session
        await asyncio.sleep(0)  # a loop that awaits nothing else must not keep the others from their steps
        goal, progress = session.goal, session._progress
        met = self._begun and goal is not None and bool(goal.success_criteria) and session.goal_is_met
        if met or (progress.limit is not None and progress.iterations >= progress.limit):
            raise StopAsyncIteration
        self._begun = True
        return progress.iterate()
