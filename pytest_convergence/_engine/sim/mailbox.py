"""The mailbox of a behaviour: what arrived and was not received yet, and who waits for what.

A receiver is woken and then takes its message itself (as ``asyncio.Queue`` does), so a message is never lost to a
receiver that was cancelled in between. Reception is recorded when the message is taken: that is the instant from which the
agent's actions may depend on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, final

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.trace import AGENT_SHIFT, RECEIVE

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Mailbox"]


class _Waiter(NamedTuple):
    future: asyncio.Future[None]
    sender: str | None
    kind: str | None


@final
class Mailbox:
    """Messages for one life of a behaviour, oldest first.

    Attributes:
        idle_loops: how many ``async for … in agent.inbox`` wait here: they are content to wait for ever.
    """

    __slots__ = ("_loop", "_node", "_received", "_replies", "_waiters", "idle_loops", "messages")

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._loop = loop
        self._received = RECEIVE | node.index << AGENT_SHIFT
        self._waiters: deque[_Waiter] = deque()
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self.messages: deque[Message] = deque()
        self.idle_loops = 0
        node.receivers["user"] = self.deliver

    def deliver(self, message: Message) -> None:
        """Take a message from the network."""
        if message.reply_to is not None:
            self._deliver_reply(message)
            return
        self.messages.append(message)
        if self._waiters:
            self._wake(message)

    def _deliver_reply(self, message: Message) -> None:
        asked = self._replies.pop(message.reply_to or 0, None)
        if asked is not None and not asked.done():
            asked.set_result(message)
        else:
            # The request was given up or already answered: nobody is left whom the reply is for.
            fabric = self._node.fabric
            fabric.note("observe", self._node, {"fact": "late_reply", "message": message.id})

    def _wake(self, message: Message) -> None:
        for waiter in self._waiters:
            if not waiter.future.done() and _fits(message, waiter.sender, waiter.kind):
                waiter.future.set_result(None)
                return

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
        fabric = self._node.fabric
        if fabric.record is not None:
            fabric.record((fabric.world.now_ns, self._received, message.uid))
        return message

    async def receive(self, sender: str | None = None, kind: str | None = None) -> Message:
        """Wait for the oldest message that fits, and take it."""
        message = self.take(sender, kind)
        while message is None:
            waiter = _Waiter(asyncio.Future(loop=self._loop), sender, kind)
            self._waiters.append(waiter)
            try:
                await waiter.future
            finally:
                self._waiters.remove(waiter)
                if waiter.future.done() and not waiter.future.cancelled() and self._waiters:
                    self._wake_for_the_rest()
            message = self.take(sender, kind)
        return message

    def _wake_for_the_rest(self) -> None:
        """Pass the wake-up on: a receiver that was cancelled just then would otherwise leave its message asleep."""
        for message in self.messages:
            self._wake(message)

    async def reply(self, uid: int) -> Message:
        """Wait for the reply to the message ``uid``."""
        future: asyncio.Future[Message] = asyncio.Future(loop=self._loop)
        self._replies[uid] = future
        try:
            message = await future
        finally:
            self._replies.pop(uid, None)
        fabric = self._node.fabric
        if fabric.record is not None:
            fabric.record((fabric.world.now_ns, self._received, message.uid))
        return message

    @property
    def waiting(self) -> int:
        """How many receivers wait."""
        return len(self._waiters)

    def __aiter__(self) -> Mailbox:
        return self

    async def __anext__(self) -> Any:
        message = self.take()
        if message is not None:
            return message
        self.idle_loops += 1
        try:
            return await self.receive()
        finally:
            self.idle_loops -= 1


def _fits(message: Message, sender: str | None, kind: str | None) -> bool:
    return (sender is None or message.sender == sender) and (kind is None or message.type == kind)
