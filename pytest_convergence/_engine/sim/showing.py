"""Shows the messages of a run to whoever asks for them: what properties that read messages are fed from.

Most properties do not, so nothing on the way of a message looks for them. Where one does, it listens to what is recorded
anyway: each sending, with its message, and each other event about a message, by the message's number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.base.messages import InFlight, Message
from pytest_convergence._engine.base.trace import AGENT_SHIFT, KINDS, LAST_MESSAGE_CODE, SEND, TraceEvent

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric

__all__ = ["MESSAGE_KINDS", "show_messages"]

MESSAGE_KINDS: Final = frozenset(KINDS[: LAST_MESSAGE_CODE + 1])
"""The kinds of events that are about a message."""

_KIND: Final = (1 << AGENT_SHIFT) - 1


@final
class _Showing:
    """Stands before the trace of a fabric."""

    __slots__ = ("_fabric", "_keep", "_messages", "_record", "_show", "_since")

    def __init__(self, fabric: Fabric, show: Callable[[TraceEvent], None]) -> None:
        self._fabric = fabric
        self._show = show
        self._record = fabric.record
        self._keep = fabric.keep
        self._messages: dict[int, Message] = {}
        self._since = fabric.uid  # older messages nobody has been shown

    def record(self, entry: tuple[int, int, int]) -> None:
        if self._record is not None:
            self._record(entry)
        at_ns, code, uid = entry
        kind = code & _KIND
        if kind <= LAST_MESSAGE_CODE and kind != SEND and uid > self._since:
            agent = self._fabric.names[code >> AGENT_SHIFT]
            self._show(TraceEvent(-1, at_ns, KINDS[kind], agent, self._messages.get(uid)))

    def keep(self, message: InFlight) -> None:
        if self._record is not None:
            self._keep(message)
        sent = self._messages[message[6]] = Message._make(message)
        self._show(TraceEvent(-1, self._fabric.world.now_ns, KINDS[SEND], message[0], sent))


def show_messages(fabric: Fabric, show: Callable[[TraceEvent], None]) -> None:
    """Call ``show`` with each event about a message from now on."""
    showing = _Showing(fabric, show)
    fabric.record, fabric.keep = showing.record, showing.keep
