"""The mailbox of a behaviour: what arrived and was not received yet, and who waits for what.

A receiver is woken and then takes its message itself (as ``asyncio.Queue`` does), so a message is never lost to a
receiver that was cancelled in between. Reception is recorded when the message is taken: that is the instant from which the
agent's actions may depend on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, final

from pytest_convergence._engine.base.messages import InFlight, Message
from pytest_convergence._engine.base.trace import AGENT_SHIFT, RECEIVE

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Mailbox"]

_named: Final = tuple.__new__
"""``_named(Message, message)`` is ``Message._make(message)`` without a call of Python's in between."""


_REQUESTS_REMEMBERED: Final = 1_024
"""How many of the latest requests a mailbox knows, to tell late replies from messages."""

_Waiter: TypeAlias = "tuple[asyncio.Future[None], str | None, str | None, bool]"
"""Who waits: the future that wakes it, the sender and the type that it waits for, and whether it may wait for ever."""


@final
class Mailbox:
    """Messages for one life of a behaviour, oldest first.

    Attributes:
        messages: what arrived and was not received.
    """

    __slots__ = (
        "_asked",
        "_born",
        "_fabric",
        "_life",
        "_loop",
        "_node",
        "_received",
        "_replies",
        "_waiters",
        "messages",
    )

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._life = node.life
        self._fabric = node.fabric
        self._loop = loop
        self._received = RECEIVE | node.index << AGENT_SHIFT
        self._waiters: list[_Waiter] = []
        self._born = node.fabric.uid
        self._asked: deque[int] = deque(maxlen=_REQUESTS_REMEMBERED)
        self._replies: dict[int, asyncio.Future[InFlight]] = {}
        self.messages: deque[InFlight] = deque()
        node.receivers["user"] = self.deliver
        node.take = self.arrive

    # -- from the network ----------------------------------------------------------------------------------------------

    def arrive(self, message: InFlight) -> None:
        """Take a message from the network: the short way for what is nobody's reply, where all is well."""
        if message[7] is not None or not self._life.fuse or self._fabric.cuts:
            self._node.arrive(message)  # also what was sent before this life ended, and arrives in the next
            return
        self.messages.append(message)
        if self._waiters:
            future, sender, kind, _ = self._waiters[0]
            if sender is None and kind is None and not future.done():
                future.set_result(None)
            else:
                self._wake(message)

    def deliver(self, message: InFlight) -> None:
        """Take a message from the network."""
        if message[7] is not None:
            self._deliver_reply(message)
            return
        self.messages.append(message)
        self._wake(message)

    def _wake(self, message: InFlight) -> None:
        for future, sender, kind, _ in self._waiters:
            if not future.done() and _fits(message, sender, kind):
                future.set_result(None)
                return

    def _deliver_reply(self, message: InFlight) -> None:
        uid = message[7] or 0
        asked = self._replies.pop(uid, None)
        if asked is not None and not asked.done():
            asked.set_result(message)
        elif uid > self._born and uid not in self._asked:
            # It answers a message that was merely sent: then it is a message like others.
            self.messages.append(message)
            self._wake(message)
        else:
            # The request was given up, already answered, or made in an earlier life: nobody is left whom this is for.
            self._fabric.note(
                "observe", self._node, {"fact": "late_reply", "message": Message._make(message).id}
            )

    # -- to the behaviour ----------------------------------------------------------------------------------------------

    def take(self, sender: str | None = None, kind: str | None = None) -> Message | None:
        """Take the oldest message that fits, if there is one."""
        messages = self.messages
        if sender is None and kind is None:
            if not messages:
                return None
            message = messages.popleft()
        else:
            for place, message in enumerate(messages):
                if _fits(message, sender, kind):
                    del messages[place]
                    break
            else:
                return None
        record = self._fabric.record
        if record is not None:
            record((self._fabric.world.now_ns, self._received, message[6]))
        return _named(Message, message)

    async def receive(self, sender: str | None = None, kind: str | None = None) -> Message:
        """Wait for the oldest message that fits, and take it."""
        message = self.take(sender, kind)
        while message is None:
            future: asyncio.Future[None] = asyncio.Future(loop=self._loop)
            waiter = (future, sender, kind, False)
            waiters = self._waiters
            waiters.append(waiter)
            try:
                await future
            finally:
                if waiters[-1] is waiter:
                    waiters.pop()
                else:
                    self._waiters.remove(waiter)
                if waiters:
                    self._pass_on()
            message = self.take(sender, kind)
        return message

    def _pass_on(self) -> None:
        """Wake another receiver: one that was woken and cancelled at once would leave its message asleep."""
        for message in self.messages:
            for future, sender, kind, _ in self._waiters:
                if not future.done() and _fits(message, sender, kind):
                    future.set_result(None)

    async def reply(self, uid: int) -> Message:
        """Wait for the reply to the message ``uid``."""
        future: asyncio.Future[InFlight] = asyncio.Future(loop=self._loop)
        self._replies[uid] = future
        self._asked.append(uid)
        try:
            message = await future
        finally:
            self._replies.pop(uid, None)
        record = self._fabric.record
        if record is not None:
            record((self._fabric.world.now_ns, self._received, message[6]))
        return _named(Message, message)

    @property
    def is_idle(self) -> bool:
        """Whether an ``async for … in agent.inbox`` waits here and nobody else: it is content to wait for ever."""
        return (
            bool(self._waiters) and not self._replies and all(forever for _, _, _, forever in self._waiters)
        )

    def __aiter__(self) -> Mailbox:
        return self

    async def __anext__(self) -> Message:
        if self.messages and (message := self.take()) is not None:
            return message
        # The common case, without a second coroutine.
        while True:
            future: asyncio.Future[None] = asyncio.Future(loop=self._loop)
            waiter = (future, None, None, True)
            waiters = self._waiters
            waiters.append(waiter)
            try:
                await future
            finally:
                waiters.remove(waiter)
                if waiters:
                    self._pass_on()
            messages = self.messages
            if messages:
                taken = messages.popleft()
                fabric = self._fabric
                record = fabric.record
                if record is not None:
                    record((fabric.world.now_ns, self._received, taken[6]))
                return _named(Message, taken)


def _fits(message: InFlight, sender: str | None, kind: str | None) -> bool:
    return (sender is None or message[0] == sender) and (kind is None or message[3] == kind)
