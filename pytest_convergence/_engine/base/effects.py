"""What a protocol state machine asks of the world, and what the world tells it.

A protocol is a *machine*: an event goes in (start, message, timer, command), effects come out. It has no clock, no
randomness and does no I/O, so the same machine runs in the simulator, in an exhaustive search and over a real
transport (the shape is that of h11 and of etcd's raft).

A machine is made anew for every life of an agent: what it holds is volatile. What must survive a crash it gives to
``Persist`` and, before anybody else may rely on it, to ``Sync``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

__all__ = [
    "RAISED",
    "RETURNED",
    "AgentRef",
    "Call",
    "CancelCall",
    "CancelTimer",
    "Decide",
    "Effect",
    "Machine",
    "Observe",
    "Persist",
    "PlainSend",
    "Raised",
    "Returned",
    "Send",
    "SetTimer",
    "Sync",
]

RETURNED: Final = "returned"
"""The command by which a machine learns what a :class:`Call` returned; its argument is a :class:`Returned`."""

RAISED: Final = "raised"
"""The command by which a machine learns what a :class:`Call` raised; its argument is a :class:`Raised`."""


class Send(NamedTuple):
    """Send ``payload`` to the agent named ``to``. ``kind`` is the message's type.

    A machine may return the plain tuple ``(to, kind, payload)`` instead: it means the same, and costs a tenth to make.
    """

    to: str
    kind: str
    payload: Any


class SetTimer(NamedTuple):
    """Arm the timer ``name`` to fire after ``delay_ns`` plus what the schedule chooses in ``0..spread_ns``.

    Arming an armed name replaces it. Under the calm schedule the choice is the agent's rank times a step, so that equal
    agents do not time out together for ever. ``background`` marks periodic upkeep (heartbeats, gossip): it does not
    keep a finished world awake.
    """

    name: str
    delay_ns: int
    spread_ns: int = 0
    background: bool = False


class CancelTimer(NamedTuple):
    """Disarm the timer ``name``; nothing happens if it is not armed."""

    name: str


class Persist(NamedTuple):
    """Write ``value`` under ``key`` to durable storage. Lost in a crash unless a ``Sync`` follows first."""

    key: str
    value: Any


class Sync(NamedTuple):
    """Make every earlier ``Persist`` durable."""


class Decide(NamedTuple):
    """Announce the value that this agent holds to be agreed."""

    value: Any


class Observe(NamedTuple):
    """Write a fact to the trace. Properties are judged on facts, not on the insides of agents."""

    fact: str
    data: Mapping[str, Any]


class AgentRef(NamedTuple):
    """Stands, among the arguments of a :class:`Call`, for the agent of that name."""

    name: str


class Call(NamedTuple):
    """Have the agent run ``function``, one of the user's that the pattern was given, plain or ``async``.

    It takes as long as it takes, and others go on meanwhile. The machine is told by ``on_command(RETURNED, Returned(id,
    value))`` or ``on_command(RAISED, Raised(id, error))``, once, unless it cancels the call or the agent crashes. Calls
    under an ``id`` that is under way replace it. A function that takes one argument more than there are gets the agent
    first.
    """

    id: str
    function: str
    arguments: tuple[Any, ...] = ()


class CancelCall(NamedTuple):
    """Cancel the call ``id``; the machine hears no more of it. Nothing happens if it is not under way."""

    id: str


class Returned(NamedTuple):
    """What a call returned."""

    id: str
    value: Any


class Raised(NamedTuple):
    """What a call raised."""

    id: str
    error: Exception


PlainSend: TypeAlias = tuple[str, str, Any]
"""The parts of a :class:`Send`, which stand for it."""

Effect: TypeAlias = (
    Send | PlainSend | Call | CancelCall | SetTimer | CancelTimer | Persist | Sync | Decide | Observe
)


class Machine(Protocol):
    """A protocol state machine. Every method returns the effects to carry out, in order."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Start a life; ``durable`` is what survived of the lives before (empty at the first)."""
        ...

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """A message arrived."""
        ...

    def on_timer(self, name: str) -> Iterable[Effect]:
        """The timer ``name`` fired (and is not armed any more)."""
        ...

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """The agent's own side asks for something (propose, step down, a local write)."""
        ...

    def view(self) -> Any:
        """What this agent exposes as agreed. Equal views are agreement."""
        ...
