"""What agents hold of a hand-off: the work that one was given, how one's own ended, and the numbers of all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, final

from pytest_convergence._engine.patterns.handoff import FencingToken, HandoffReason, HandoffState, Work
from pytest_convergence._engine.state.values import freeze
from pytest_convergence.errors import ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.base.effects import Call
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.agent_handoffs import AgentHandoffs

__all__ = ["Handler", "Handoff", "HandoffQueue", "HandoffResult", "HandoffStats"]


@final
class Handoff:
    """A work that this agent owns: what :meth:`SimulatedAgent.on_handoff` handlers are called with.

    Attributes:
        id: names the work, wherever it goes.
        task, state: what was handed over, whole.
        sender: who owned it before.
        reason: why it was handed off.
        priority: more is more urgent.
        path: the owners so far, this agent last.
        capabilities: what an owner must be able to do.
        checksum: hex SHA-256 of task and state.
    """

    __slots__ = (
        "_agent",
        "_answer",
        "_call",
        "_handoffs",
        "_token",
        "capabilities",
        "checksum",
        "id",
        "path",
        "priority",
        "reason",
        "sender",
        "state",
        "task",
    )

    def __init__(
        self,
        agent: SimulatedAgent,
        handoffs: AgentHandoffs,
        work: Work,
        call: Call,
        answer: Callable[[str, Any], None],
    ) -> None:
        self._agent = agent
        self._handoffs = handoffs
        self._call = call
        self._answer = answer
        self._token = work.token
        self.id = work.id
        self.task = work.task
        self.state = work.state
        self.sender = work.path[-2] if len(work.path) > 1 else work.owner
        self.reason = HandoffReason(work.reason)
        self.priority = work.priority
        self.path = work.path
        self.capabilities = work.capabilities
        self.checksum = work.checksum

    @property
    def token(self) -> FencingToken:
        """The fencing token by which this agent owns the work, or owned it last; give it to what the work changes."""
        if self.is_owned:
            machine = self._handoffs.machine()
            self._token = (machine.token_of(self.id) if machine else None) or self._token
        return FencingToken(*self._token, self.id)

    @property
    def is_owned(self) -> bool:
        """Whether the agent still owns the work, as far as it knows."""
        machine = self._handoffs.machine()
        return (
            self._handoffs._owned.get(self.id) is self
            and machine is not None
            and machine.token_of(self.id) is not None
        )

    @property
    def may_act(self) -> bool:
        """Whether the agent owns the work and its lease has not run out."""
        machine = self._handoffs.machine()
        return self.is_owned and machine is not None and machine.may_act(self.id)

    def complete(self, value: Any = None) -> None:
        """The work is done, with this result. A handler completes its work by returning.

        Nothing happens if the agent does not own the work any more: somebody else will complete it.
        """
        self._agent._alive("complete a work")
        if self.is_owned:
            self._handoffs.command(
                "finish", {"id": self.id, "token": None, "value": freeze(value, "the result")}
            )

    def save(self, state: Any) -> None:
        """Make ``state`` the state of the work: whoever owns it after this agent begins from there.

        Durable here at once, and with the guardians after a round trip.
        """
        self._agent._alive("save the state of a work")
        self.state = freeze(state, "the state")
        if self.is_owned:
            self._handoffs.command(
                "save", {"id": self.id, "token": tuple(self.token)[:2], "state": self.state}
            )

    async def hand_off(self, **options: Any) -> HandoffResult:
        """Hand the same work on; takes the options of :meth:`SimulatedAgent.hand_off`."""
        return await self._agent.hand_off(self, **options)

    def __repr__(self) -> str:
        return f"<Handoff {self.id!r} of {self._agent.name!r}, token {FencingToken(*self._token)}>"


@final
@dataclass(frozen=True, slots=True)
class HandoffResult:
    """How a hand-off ended. True if the work was transferred.

    Attributes:
        id: names the work.
        outcome: ``TRANSFERRED``, ``REFUSED`` or ``EXPIRED``; or ``ACCEPTED``, if the time was up after the taker had
            accepted and before it confirmed that it has the work: the transfer then goes on by itself.
        owner: whose work it is now: the taker's, or still this agent's.
        token: the fencing token of that owner.
        reason: why it was handed off.
        why: what stood in the way, in words.
        duration: virtual seconds.
        continuation: a text by which this agent, in this life or a later one, can wait for the result
            (:meth:`SimulatedAgent.resume_handoff`).
        checksum: hex SHA-256 of task and state.
    """

    id: str
    outcome: HandoffState
    owner: str
    token: FencingToken
    reason: HandoffReason
    why: str
    duration: float
    continuation: str
    checksum: str
    _agent: Any = field(default=None, repr=False, compare=False)

    @property
    def accepted(self) -> bool:
        """Whether another agent agreed to take it."""
        return self.outcome in (HandoffState.ACCEPTED, HandoffState.TRANSFERRED)

    def __bool__(self) -> bool:
        return self.outcome is HandoffState.TRANSFERRED

    async def finished(self, timeout: float | None = None) -> Any:
        """Wait until the work is done, by whomever, and return its result.

        Args:
            timeout: virtual seconds, ``None`` for no bound.

        Raises:
            TimeoutError: it was not done in time.
            ConvergenceUsageError: it was not handed off, and still belongs to the giver.
        """
        # It may have been recovered from an owner that was thought to have failed: then somebody else will finish it.
        if not self.accepted and self.owner == self._agent.name:
            raise ConvergenceUsageError(
                f"the work {self.id!r} was not handed off ({self.outcome.value}: {self.why}): nobody will finish it."
            )
        return await self._agent.resume_handoff(self.continuation, timeout=timeout)


@final
@dataclass(frozen=True, slots=True)
class HandoffStats:
    """The numbers of a session's hand-offs.

    Attributes:
        requested: how many were begun, recoveries from failed owners among them.
        transferred, refused, expired: how those that ended did.
        pending: how many have not ended.
        mean_seconds: the mean duration of those that were transferred, in virtual seconds.
        by_reason: reason -> outcome -> how many.
        mean_seconds_by_reason: reason -> mean duration of those that were transferred.
    """

    requested: int = 0
    transferred: int = 0
    refused: int = 0
    expired: int = 0
    pending: int = 0
    mean_seconds: float = 0.0
    by_reason: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mean_seconds_by_reason: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, ended: Iterable[tuple[str, str, float]], *, pending: int) -> HandoffStats:
        """Draw up the numbers from (reason, outcome, seconds) of each that ended."""
        ended = list(ended)
        by_reason: dict[str, dict[str, int]] = {}
        seconds: dict[str, list[float]] = {}
        for reason, outcome, took in ended:
            counts = by_reason.setdefault(reason, {})
            counts[outcome] = counts.get(outcome, 0) + 1
            if outcome == HandoffState.TRANSFERRED:
                seconds.setdefault(reason, []).append(took)
        every = [took for some in seconds.values() for took in some]

        def total(outcome: HandoffState) -> int:
            return sum(counts.get(outcome.value, 0) for counts in by_reason.values())

        return cls(
            requested=len(ended) + pending,
            transferred=total(HandoffState.TRANSFERRED),
            refused=total(HandoffState.REFUSED),
            expired=total(HandoffState.EXPIRED),
            pending=pending,
            mean_seconds=sum(every) / len(every) if every else 0.0,
            by_reason=MappingProxyType(by_reason),
            mean_seconds_by_reason=MappingProxyType(
                {reason: sum(some) / len(some) for reason, some in seconds.items()}
            ),
        )


@final
class HandoffQueue:
    """Works that wait to be taken up: the most urgent first, then the oldest. Iterate over it."""

    __slots__ = ("_items", "_waiters")

    def __init__(self) -> None:
        self._items: list[Handoff] = []
        self._waiters: list[asyncio.Future[None]] = []

    def put(self, handoff: Handoff) -> None:
        """Add a work."""
        place = len(self._items)
        while place and self._items[place - 1].priority < handoff.priority:
            place -= 1
        self._items.insert(place, handoff)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
                break

    def remove(self, handoff: Handoff) -> None:
        """Take out a work that belongs to somebody else now."""
        if handoff in self._items:
            self._items.remove(handoff)

    def take_all(self) -> list[Handoff]:
        """Take everything out."""
        items, self._items = self._items, []
        return items

    @property
    def is_idle(self) -> bool:
        """Whether somebody waits here and nothing is there."""
        return bool(self._waiters) and not self._items

    def __len__(self) -> int:
        return len(self._items)

    def __aiter__(self) -> HandoffQueue:
        return self

    async def __anext__(self) -> Handoff:
        while not self._items:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return self._items.pop(0)


Handler: TypeAlias = Callable[[Handoff], Any]
"""Does the work of one hand-off, plain or async; what it returns is the result."""
