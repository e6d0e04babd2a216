"""Messages between agents. A message is a snapshot: what the sender does to its payload afterwards changes nothing."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias, final

from pytest_convergence._engine.base.packets import Packet, Segment

__all__ = ["ATOMS", "CHANNELS", "FrozenDict", "InFlight", "Message", "MessageKind", "Stamped", "snapshot"]

CHANNELS: Final = ("user", "pattern", "sync", "conflict", "handoff", "ack", "net")
"""Who a message belongs to: the user's agents, a pattern's protocol, the synchronisation of replicas, the settling of their
conflicts, the handing over of work, the acknowledgement of a message, or the sockets of two hosts."""


class MessageKind(StrEnum):
    """Kinds of messages that coordinating agents have in common. A message's ``type`` may be one of them, or any text.

    Some are sent by the reference protocols: ``state_update``, ``sync_request`` and ``sync_response`` by replicas;
    ``handoff_request``, ``handoff_accept`` and ``handoff_reject`` when work is handed over; ``conflict_detected`` and
    ``conflict_resolved`` where conflicts go to an arbiter or to a vote; ``vote_request`` and ``vote_response`` there and in
    Raft; ``leader_election`` in the bully algorithm, ``heartbeat`` in both.

    ``phase_complete``, ``convergence_check`` and ``shutdown`` are names for agents of your own. Here nobody need say these:
    phases are entered by the session (``session.phase``), that views have converged is seen by the world from outside, and
    it is the world, too, that ends a run.
    """

    STATE_UPDATE = "state_update"
    SYNC_REQUEST = "sync_request"
    SYNC_RESPONSE = "sync_response"
    HANDOFF_REQUEST = "handoff_request"
    HANDOFF_ACCEPT = "handoff_accept"
    HANDOFF_REJECT = "handoff_reject"
    CONFLICT_DETECTED = "conflict_detected"
    CONFLICT_RESOLVED = "conflict_resolved"
    VOTE_REQUEST = "vote_request"
    VOTE_RESPONSE = "vote_response"
    LEADER_ELECTION = "leader_election"
    HEARTBEAT = "heartbeat"
    PHASE_COMPLETE = "phase_complete"
    CONVERGENCE_CHECK = "convergence_check"
    SHUTDOWN = "shutdown"


@final
class Stamped(str):
    """The type of a message that carries what only some messages do. It equals the plain text of the type.

    Attributes:
        correlation_id: what conversation the message belongs to, or ``None``.
        causation_id: the id of the message that it is a consequence of, or ``None``.
        expires_ns: the virtual instant from which it is not delivered any more, or ``None``.
        ack: by which number its delivery is to be acknowledged, or ``None``.
    """

    __slots__ = ("ack", "causation_id", "correlation_id", "expires_ns")

    correlation_id: str | None
    causation_id: str | None
    expires_ns: int | None
    ack: int | None

    def __new__(
        cls,
        text: str,
        *,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        expires_ns: int | None = None,
        ack: int | None = None,
    ) -> Stamped:
        stamped = super().__new__(cls, text)
        stamped.correlation_id = correlation_id
        stamped.causation_id = causation_id
        stamped.expires_ns = expires_ns
        stamped.ack = ack
        return stamped


class Message(NamedTuple):
    """One message from one agent to another.

    ``number`` counts the messages of one link (sender to recipient) from 1, so that a message keeps its name
    ``planner→coder #3`` when a schedule changes what others do. ``uid`` is unique in a run and ties a reception to
    its sending in the trace. ``sent_at_ns`` is virtual nanoseconds.
    """

    sender: str
    recipient: str
    payload: Any
    type: str = "message"
    number: int = 0
    sent_at_ns: int = 0
    uid: int = 0
    reply_to: int | None = None
    channel: str = "user"

    @property
    def link(self) -> str:
        """``sender→recipient``."""
        return f"{self.sender}→{self.recipient}"

    @property
    def id(self) -> str:
        """``sender→recipient #number``: the same message has the same id under every schedule."""
        return f"{self.sender}→{self.recipient} #{self.number}"

    @property
    def kind(self) -> MessageKind | None:
        """Which of the common kinds its type is; ``None`` for a type of the user's own."""
        return MessageKind(self.type) if self.type in _KINDS else None

    @property
    def correlation_id(self) -> str | None:
        """What conversation it belongs to, if the sender said so."""
        return self.type.correlation_id if isinstance(self.type, Stamped) else None

    @property
    def causation_id(self) -> str | None:
        """The id of the message that it is a consequence of, if the sender said so."""
        return self.type.causation_id if isinstance(self.type, Stamped) else None


_KINDS: Final = frozenset(kind.value for kind in MessageKind)

InFlight: TypeAlias = tuple[str, str, Any, str, int, int, int, "int | None", str]
"""A message on its way: the fields of :class:`Message` as a plain tuple, which costs a quarter of it to make."""


@final
class FrozenDict(dict[str, Any]):
    """A dict of immutable values that nobody can change, so that messages may share it without a snapshot.

    A protocol says the same few facts to everybody, again and again; two copies of each were a seventh of what a run of
    Raft's election cost.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "the payload of a protocol's message cannot be changed; change a copy of it: dict(payload)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, _: object) -> FrozenDict:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


ATOMS: Final = frozenset(
    {int, float, str, bytes, bool, type(None), complex, range, Packet, Segment, FrozenDict}
)
"""Types whose values nobody can change: they need no snapshot."""

_are_atoms: Final = ATOMS.issuperset
"""Whether all of some types are of those: what most messages consist of, found without a loop of Python's."""


def snapshot(value: Any) -> Any:
    """Return a value that later changes of ``value`` cannot reach.

    Immutable atoms are returned as they are, plain lists, dicts, tuples and sets are copied here (several times faster
    than :func:`copy.deepcopy`), everything else is deep-copied.

    Raises:
        TypeError: a part of the value cannot be copied (a lock, a generator, an open file).
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    copied = _COPIED.get(kind)
    if copied is not None:
        return copied(value)
    if kind is Message:
        return value
    if isinstance(value, tuple) and _is_plain_named_tuple(kind):
        items = _tuple_of(value)
        return value if items is value else kind._make(items)
    return copy.deepcopy(value)


def _dict_of(value: dict[Any, Any]) -> dict[Any, Any]:
    if _are_atoms(map(type, value.values())):
        return value.copy()
    return {key: item if type(item) in ATOMS else snapshot(item) for key, item in value.items()}


def _list_of(value: list[Any]) -> list[Any]:
    if _are_atoms(map(type, value)):
        return value.copy()
    return [item if type(item) in ATOMS else snapshot(item) for item in value]


def _tuple_of(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if _are_atoms(map(type, value)):
        return value
    items = [item if type(item) in ATOMS else snapshot(item) for item in value]
    # Immutable to the ground: nothing that could be reached was copied.
    return value if all(map(operator.is_, items, value)) else tuple(items)


def _set_of(value: set[Any]) -> set[Any]:
    return {item if type(item) in ATOMS else snapshot(item) for item in value}


def _frozen_set_of(value: frozenset[Any]) -> frozenset[Any]:
    return frozenset([item if type(item) in ATOMS else snapshot(item) for item in value])


_COPIED: Final[Mapping[type, Callable[[Any], Any]]] = {
    dict: _dict_of,
    list: _list_of,
    tuple: _tuple_of,
    set: _set_of,
    frozenset: _frozen_set_of,
}


def _is_plain_named_tuple(kind: Any) -> bool:
    """Whether values of a kind of tuple are their named items and nothing else."""
    named = hasattr(kind, "_fields") and hasattr(kind, "_make")
    return named and not kind.__dictoffset__ and not hasattr(kind, "__deepcopy__")
