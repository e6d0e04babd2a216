"""Messages between agents. A message is a snapshot: what the sender does to its payload afterwards changes nothing."""

from __future__ import annotations

import copy
import operator
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["ATOMS", "CHANNELS", "InFlight", "Message", "snapshot"]

CHANNELS: Final = ("user", "pattern", "sync", "conflict")
"""Who a message belongs to: the user's agents, a pattern's protocol, the synchronisation of replicas, or the settling of
their conflicts."""


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


InFlight: TypeAlias = tuple[str, str, Any, str, int, int, int, "int | None", str]
"""A message on its way: the fields of :class:`Message` as a plain tuple, which costs a quarter of it to make."""

ATOMS: Final = frozenset({int, float, str, bytes, bool, type(None), complex, range})
"""Types whose values nobody can change: they need no snapshot."""


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
    if kind is dict:
        return {key: item if type(item) in ATOMS else snapshot(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in ATOMS else snapshot(item) for item in value]
    if kind is tuple:
        items = [item if type(item) in ATOMS else snapshot(item) for item in value]
        # Immutable to the ground: nothing that could be reached was copied.
        return value if all(map(operator.is_, items, value)) else tuple(items)
    if kind is set or kind is frozenset:
        return kind([item if type(item) in ATOMS else snapshot(item) for item in value])
    if kind is Message:
        return value
    return copy.deepcopy(value)
