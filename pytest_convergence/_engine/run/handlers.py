"""Handlers: functions of the test's own that are called when something happens to a session.

1. Handlers of an engine hear of all its sessions, handlers of a session of that one alone; those of the session first.
2. What happens during a run is told in a step of its own, right after the step in which it happened: a handler may crash,
   restart or partition whom it likes. What happens at the end is told when the outcome is known.
3. What a handler raises fails the run, with a note that says which handler it was. The others are called all the same.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence.errors import ConvergenceUsageError, RunFailure, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.run.session import Session

__all__ = ["Handlers", "Notice", "Notifier", "SessionEvent"]


class SessionEvent(StrEnum):
    """What handlers can be called for."""

    SESSION_CREATED = "session_created"
    SESSION_STARTED = "session_started"
    STATE_CHANGED = "state_changed"
    PHASE_STARTED = "phase_started"
    PHASE_COMPLETED = "phase_completed"
    ITERATION_STARTED = "iteration_started"
    LEADER_ELECTED = "leader_elected"
    CONFLICT_DETECTED = "conflict_detected"
    CONFLICT_RESOLVED = "conflict_resolved"
    HANDOFF_REQUESTED = "handoff_requested"
    HANDOFF_COMPLETED = "handoff_completed"
    HANDOFF_REFUSED = "handoff_refused"
    HANDOFF_EXPIRED = "handoff_expired"
    HANDOFF_FAILED = "handoff_failed"
    AGENT_CRASHED = "agent_crashed"
    AGENT_RESTARTED = "agent_restarted"
    SESSION_CONVERGED = "session_converged"
    SESSION_DIVERGED = "session_diverged"
    SESSION_FAILED = "session_failed"


_BY_STATE: Final = {
    SessionState.CONVERGED: SessionEvent.SESSION_CONVERGED,
    SessionState.DIVERGED: SessionEvent.SESSION_DIVERGED,
    SessionState.FAILED: SessionEvent.SESSION_FAILED,
}
_BY_KIND: Final = {
    "crash": SessionEvent.AGENT_CRASHED,
    "restart": SessionEvent.AGENT_RESTARTED,
}
_BY_FACT: Final = {
    "leader": SessionEvent.LEADER_ELECTED,
    **{event.value: event for event in SessionEvent if event.value.startswith(("handoff_", "conflict_"))},
}


@final
@dataclass(frozen=True, slots=True)
class Notice:
    """What a handler is called with.

    Attributes:
        event: what happened.
        session: to which session.
        at: virtual seconds since the world began; 0 before the run.
        agent: to which agent, or ``None``.
        data: more about it, such as ``state`` and ``before`` of ``state_changed``, ``phase`` of ``phase_started``,
            ``conflict`` of ``conflict_detected``, and whatever an agent said when it observed the fact.
    """

    event: SessionEvent
    session: Session
    at: float = 0.0
    agent: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Notice], object]


@final
class Handlers:
    """The handlers of an engine or of a session.

    Attributes:
        by_event: those of each event; empty until one is added.
    """

    __slots__ = ("by_event",)

    def __init__(self) -> None:
        self.by_event: dict[SessionEvent, list[Handler]] = {}

    def add(self, event: SessionEvent | str, handler: Handler) -> Callable[[], None]:
        """Let ``handler`` be called for ``event``; return what takes it away again.

        Raises:
            ConvergenceUsageError: there is no such event, or the handler is not a plain function.
        """
        try:
            which = SessionEvent(event)
        except ValueError:
            raise unknown_name("session event", event, [each.value for each in SessionEvent]) from None
        if not callable(handler):
            raise ConvergenceUsageError(
                f"the handler of {which.value!r} must be a function of the notice, not {handler!r}."
            )
        if inspect.iscoroutinefunction(handler):
            raise ConvergenceUsageError(
                f"the handler of {which.value!r}, {handler!r}, is a coroutine function; a handler is a plain function. What "
                "takes time belongs into the scenario or a behaviour."
            )
        self.by_event.setdefault(which, []).append(handler)

        def remove() -> None:
            handlers = self.by_event.get(which, [])
            if handler in handlers:
                handlers.remove(handler)

        return remove

    def of(self, event: SessionEvent) -> tuple[Handler, ...]:
        """The handlers of an event, in the order in which they were added."""
        return tuple(self.by_event.get(event, ()))


@final
class Notifier:
    """Tells the handlers of one session, and those of its engine, what happens to it."""

    __slots__ = ("_engine", "_followed", "_own", "_session", "_told", "_told_by_engine", "_waiting")

    def __init__(self, session: Session, engine: Handlers | None) -> None:
        self._session = session
        self._own = Handlers()
        self._engine = engine
        self._told = self._own.by_event
        self._told_by_engine = {} if engine is None else engine.by_event
        self._waiting: list[Notice] = []
        self._followed = False

    def add(self, event: SessionEvent | str, handler: Handler) -> Callable[[], None]:
        """Add a handler of this session alone."""
        remove = self._own.add(event, handler)
        self.follow()
        return remove

    def _handlers(self, event: SessionEvent) -> tuple[Handler, ...]:
        farther = () if self._engine is None else self._engine.of(event)
        return (*self._own.of(event), *farther)

    def begin(self) -> None:
        """The run begins."""
        self.follow()
        self.moved(SessionState.INITIALIZING)
        self.tell(SessionEvent.SESSION_STARTED)

    def moved(self, before: SessionState) -> None:
        """The session went from one state to the next."""
        if not (self._told or self._told_by_engine):  # the usual case
            return
        self.tell(
            SessionEvent.STATE_CHANGED, data={"before": before.value, "state": self._session.state.value}
        )

    def end(self, conduct: Conduct) -> None:
        """The run is over and its outcome known: tell so, and let what handlers raise be what the run raises."""
        if self._told or self._told_by_engine:
            self.tell(_BY_STATE[self._session.state])
            self._fail(conduct, self.flush())

    def _fail(self, conduct: Conduct, errors: list[BaseException]) -> None:
        if not errors:
            return
        if not conduct.is_over:
            conduct.fail(errors[0])
        elif conduct.ending.error is None:
            conduct.ending.error = errors[0]
            if isinstance(errors[0], RunFailure):
                errors[0].outcome = errors[0].outcome or self._session.outcome

    def follow(self) -> None:
        """Watch what happens in the run, if there is one and anybody wants to know."""
        conduct = self._session._conduct
        if conduct is None or self._followed or not (self._told or self._told_by_engine):
            return
        self._followed = True
        conduct.fabric.watch(("observe", *_BY_KIND), self._seen)

    def _seen(self, event: TraceEvent) -> None:
        detail = event.detail if isinstance(event.detail, Mapping) else {}
        which = _BY_KIND.get(event.kind) or _BY_FACT.get(str(detail.get("fact")))
        if which is None or not self._handlers(which):
            return
        data = {name: detail[name] for name in detail if name != "fact"}
        if which.startswith("conflict_"):
            known = {conflict.id: conflict for conflict in self._session.conflicts}
            data["conflict"] = known.get(str(data.get("id")))
        self.tell(which, event.agent, data)

    def tell(
        self, event: SessionEvent, agent: str | None = None, data: Mapping[str, Any] | None = None
    ) -> None:
        """Something happened: the handlers are called in the next step, or at once where there is no run."""
        if not (self._told or self._told_by_engine) or not self._handlers(event):
            return
        conduct = self._session._conduct
        at = 0.0 if conduct is None else conduct.world.now_ns / 1e9
        self._waiting.append(Notice(event, self._session, at, agent, dict(data or {})))
        if conduct is None:
            for error in self.flush():
                raise error
        elif not conduct.is_over and len(self._waiting) == 1:
            context = copy_context()
            context.run(OWNER.set, None)  # a handler belongs to the test, and to no agent
            conduct.loop.call_soon(self._call, context=context)

    def _call(self) -> None:
        conduct = self._session._conduct
        if conduct is not None:
            self._fail(conduct, self.flush())

    def flush(self) -> list[BaseException]:
        """Call the handlers of everything that was not told yet; return what they raised."""
        errors: list[BaseException] = []
        while self._waiting:
            notice = self._waiting[0]
            for handler in self._handlers(notice.event):
                try:
                    answer = handler(notice)
                    if inspect.isawaitable(answer):
                        raise ConvergenceUsageError(
                            f"the handler {handler!r} returned something to await; a handler is a plain function."
                        )
                except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
                    raise
                except BaseException as error:  # also what test tools raise, which steers the test
                    error.add_note(
                        f"(in a handler of {notice.event.value!r} of session {self._session.name!r})"
                    )
                    errors.append(error)
            del self._waiting[0]
        return errors
