"""What happened before what, followed while a run goes on: from the events of agents and the messages between them.

The events of one agent are in order, and a sending is before its reception (L. Lamport, *Time, Clocks, and the Ordering of
Events in a Distributed System*, 1978). Only the events that somebody counts are told apart.

What an agent has received since its last counted event it may lose, in a crash, or disregard, and then it is as if it had
never come.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["MESSAGES", "OWN_CHANNELS", "Happened"]

MESSAGES: Final = frozenset({"observe", "send", "receive", "crash"})
"""The kinds of events that this needs."""

OWN_CHANNELS: Final = frozenset({"user", "pattern"})
"""The channels on which messages are the agents' own, so that they can carry a clock."""

_NOTHING: Final = VectorClock()


@final
class Happened:
    """Happens-before of the events that are counted.

    Attributes:
        is_sure: whether all messages since the first counted event are known; if not, more may have happened before.
    """

    __slots__ = ("_channels", "_counted", "_known", "_sent", "is_sure")

    def __init__(self, channels: Container[str] | None = None) -> None:
        self._channels = channels
        self._known: dict[str, VectorClock] = {}  # by agent: how many counted events of each it knows of
        self._counted: dict[str, VectorClock] = {}  # by agent: the same at the last event of it that counts
        self._sent: dict[int, VectorClock] = {}
        self.is_sure = True

    def count(self, agent: str) -> VectorClock:
        """An event of ``agent`` that counts; return how many of each agent have happened before it, itself included."""
        known = self._known[agent] = self._counted[agent] = self._known.get(agent, _NOTHING).tick(agent)
        return known

    def disregard(self, agent: str) -> None:
        """Of what ``agent`` has received since its last event that counts nothing stays."""
        self._known[agent] = self._counted.get(agent, _NOTHING)

    def take(self, event: TraceEvent) -> None:
        """Take the sending or reception of a message, or a crash."""
        if event.kind == "crash":
            self.disregard(event.agent)
            return
        message = event.message
        if message is None:
            self.is_sure = self.is_sure and event.kind != "receive"
            return
        if self._channels is not None and message.channel not in self._channels:
            return
        if event.kind == "send":
            known = self._known.get(event.agent)
            if known is not None:
                self._sent[message.uid] = known
        elif message.uid in self._sent:
            before = self._known.get(event.agent, _NOTHING)
            self._known[event.agent] = before | self._sent[message.uid]
