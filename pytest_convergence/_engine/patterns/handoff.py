"""Handing work over: the words, the tables and the record that travels.

The protocol (:mod:`.handoff_machine`) in short:

1. A *work* is a task with its state, owned by one agent at a time. An agent hands it off: it **offers** it to another
   (found by name, or by asking who has the capabilities and room), which **accepts** or **refuses**, or the offer
   **expires**. On an acceptance the giver first makes durable that it does not own the work any more, and to whom it
   goes under which *token* (the commit point); then it **transfers** the work, until the taker says that it has it.
2. The taker makes durable that it took that token, or that it never will. So a transfer is taken once, however often it
   arrives, and one that is refused goes back to the giver under a new token. Nothing is lost between the two.
3. Whoever owns a work may *act* on it only while it holds a **lease** from a majority of the work's *guardians*: agents
   that keep a copy. It renews the lease as long as it lives (Gray and Cheriton, "Leases", SOSP 1989).
4. When the guardians hear nothing for longer than a lease, one of them claims the work: each guardian grants each
   *epoch* once, durably, and only when the lease that it granted has run out; a majority makes the claimant the owner,
   with the newest record that the majority has. Two majorities intersect, so no epoch has two owners.
5. A *fencing token* is (epoch, number): an epoch begins with a recovery, the number counts hand-offs. Tokens of a work
   only grow. A resource that refuses smaller tokens is safe even from an owner that was paused and does not know that
   its lease is over (Kleppmann, "How to do distributed locking", 2016).
6. A work ends when its owner, under a lease, has told a majority of the guardians: no later claimant can miss that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.state.values import checksum_of
from pytest_convergence.errors import ConvergenceUsageError, InternalError

__all__ = [
    "DEFAULT_MAX_HOPS",
    "HANDOFF_TRANSITIONS",
    "FencingToken",
    "HandoffEvent",
    "HandoffReason",
    "HandoffState",
    "HandoffTiming",
    "Work",
    "advance_handoff",
    "continuation_of",
    "guardians_of",
    "parse_continuation",
]

DEFAULT_MAX_HOPS: Final = 16
"""How often a work may change hands unless ``max_hops`` says otherwise; recoveries do not count."""

_MOST_GUARDIANS: Final = 5


class HandoffReason(StrEnum):
    """Why work is handed off. Where no taker is named, it decides who may take it (:mod:`.handoff_reasons`)."""

    CAPABILITY = "capability"
    """Another agent can do what this one cannot."""
    LOAD_BALANCING = "load-balancing"
    """Another agent has less to do. Only such a one may take it."""
    ESCALATION = "escalation"
    """It has to be decided higher up, by the agent of the next higher priority."""
    FAILURE_RECOVERY = "failure-recovery"
    """The owner has failed. Those that have not had the work yet come first."""
    DELEGATION = "delegation"
    """Another agent is to do a part of the work. It does not come back to anybody who has had it."""
    PIPELINE_STEP = "pipeline-step"
    """The next step is another agent's: the next one in the order of the session, never one before."""
    TIMEOUT = "timeout"
    """This agent took too long. Nobody waits for an agent that is full."""


class HandoffState(StrEnum):
    """Where a hand-off stands, and how it ended."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXPIRED = "expired"
    TRANSFERRED = "transferred"


class HandoffEvent(StrEnum):
    """What moves a hand-off on."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    EXPIRE = "expire"
    CONFIRM = "confirm"


HANDOFF_TRANSITIONS: Final[Mapping[tuple[HandoffState, HandoffEvent], HandoffState]] = {
    (HandoffState.OFFERED, HandoffEvent.ACCEPT): HandoffState.ACCEPTED,
    (HandoffState.OFFERED, HandoffEvent.REFUSE): HandoffState.REFUSED,
    (HandoffState.OFFERED, HandoffEvent.EXPIRE): HandoffState.EXPIRED,
    (HandoffState.ACCEPTED, HandoffEvent.CONFIRM): HandoffState.TRANSFERRED,
    # The taker accepted, crashed, and has no room any more; or it failed, and others recovered the work.
    (HandoffState.ACCEPTED, HandoffEvent.REFUSE): HandoffState.REFUSED,
    (HandoffState.ACCEPTED, HandoffEvent.EXPIRE): HandoffState.EXPIRED,
}
"""The legal moves. ``refused``, ``expired`` and ``transferred`` are final."""


def advance_handoff(state: HandoffState, event: HandoffEvent) -> HandoffState:
    """Return the state after ``event``.

    Raises:
        InternalError: the table has no such move.
    """
    after = HANDOFF_TRANSITIONS.get((state, event))
    if after is None:
        raise InternalError(f"a hand-off that is {state} met {event}; please report this")
    return after


class FencingToken(NamedTuple):
    """Orders the owners of one work: a later owner has a greater token, so a resource can refuse those before it.

    Attributes:
        epoch: counts recoveries from failed owners.
        number: counts the owners of the work.
        task: the id of the work; tokens of different works are not compared.
    """

    epoch: int
    number: int
    task: str = ""

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"


@final
class HandoffTiming(NamedTuple):
    """How long the parts of the protocol wait, in nanoseconds.

    Attributes:
        retry_ns: until something unanswered is sent again; more than a round trip, doubling up to 8 times.
        lease_ns: how long an owner may act after it asked for its lease; guardians wait a margin longer.
        step_ns: how far candidates for a recovery are spread, so that they do not claim together.
    """

    retry_ns: int = NS_PER_SECOND // 4
    lease_ns: int = 5 * NS_PER_SECOND
    step_ns: int = NS_PER_SECOND // 2

    @property
    def grace_ns(self) -> int:
        """How long a guardian waits for the next renewal: a lease, and a tenth more for clocks that drift."""
        return self.lease_ns + self.lease_ns // 10

    @property
    def failover_ns(self) -> int:
        """Within which time a failed owner is replaced, once a majority of the guardians can talk to one another."""
        return 10 * self.lease_ns

    @property
    def renew_ns(self) -> int:
        """How often a lease is renewed: three times in its time."""
        return self.lease_ns // 3


@final
class Work(NamedTuple):
    """What travels: a task, its state, who owns it by which token, and where it has been.

    Attributes:
        id: names the work for its whole life.
        task, state: plain data of the user's.
        checksum: SHA-256 of task and state in their canonical encoding.
        version: counts the states that owners have saved.
        epoch, number: the fencing token.
        owner: whom it belongs to.
        path: the owners so far, the present one last.
        hops: how often it was handed off.
        capabilities: what an owner must be able to do.
    """

    id: str
    task: Any
    state: Any
    checksum: str
    version: int
    epoch: int
    number: int
    owner: str
    path: tuple[str, ...]
    hops: int
    max_hops: int
    capabilities: tuple[str, ...]
    reason: str
    priority: int

    @property
    def token(self) -> tuple[int, int]:
        """(epoch, number)."""
        return self.epoch, self.number

    @property
    def rank(self) -> tuple[int, int, int]:
        """Orders the records of one work: the greatest is the newest."""
        return self.epoch, self.number, self.version

    @property
    def is_intact(self) -> bool:
        """Whether task and state are those that the checksum was made of."""
        return checksum_of([self.task, self.state]) == self.checksum

    def wire(self) -> dict[str, Any]:
        """Return the record as plain data, for messages and disks."""
        return {**self._asdict(), "path": list(self.path), "capabilities": list(self.capabilities)}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Work:
        """Return the record that :meth:`wire` wrote."""
        return cls(**{**data, "path": tuple(data["path"]), "capabilities": tuple(data["capabilities"])})

    def handed_to(self, agent: str, reason: str) -> Work:
        """Return the record under which ``agent`` would own the work."""
        return self._replace(
            number=self.number + 1, owner=agent, path=(*self.path, agent), hops=self.hops + 1, reason=reason
        )

    def with_state(self, state: Any) -> Work:
        """Return the record with a later state."""
        return self._replace(state=state, version=self.version + 1, checksum=checksum_of([self.task, state]))


def guardians_of(id: str, agents: Sequence[str]) -> tuple[str, ...]:
    """Return the agents that keep a copy of a work and grant its leases: everybody, of many agents five.

    Every agent finds the same ones, by the SHA-256 of the id.
    """
    if len(agents) <= _MOST_GUARDIANS:
        return tuple(agents)
    start = int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big") % len(agents)
    return tuple(agents[(start + place) % len(agents)] for place in range(_MOST_GUARDIANS))


def continuation_of(work: Work) -> str:
    """Return the text by which any former owner, in any life, can go on waiting for the end of a work."""
    return f"{work.id}@{work.epoch}.{work.number}:{work.checksum[:16]}"


def parse_continuation(text: object) -> str:
    """Return the id of the work that a continuation token names.

    Raises:
        ConvergenceUsageError: ``text`` is not such a token.
    """
    id, at, rest = str(text).rpartition("@")
    token, colon, checksum = rest.partition(":")
    epoch, _, number = token.partition(".")
    if not (isinstance(text, str) and id and at and colon and checksum) or not (
        epoch.isdecimal() and number.isdecimal()
    ):
        raise ConvergenceUsageError(
            f"{text!r} is no continuation token; pass the `continuation` of a hand-off's result, as it was given."
        )
    return id
