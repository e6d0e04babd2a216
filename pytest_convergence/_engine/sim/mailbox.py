"""The mailbox of a behaviour: what arrived and was not received yet, and who waits for what.

A receiver is woken and then takes its message itself (as ``asyncio.Queue`` does), so a message is never lost to a
receiver that was cancelled in between. Reception is recorded when the message is taken: that is the instant from which the
agent's actions may depend on it.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from pytest_convergence._engine.base.messages import InFlight, Message
from pytest_convergence._engine.base.trace import AGENT_SHIFT, RECEIVE
from pytest_convergence._engine.sim.driving import Driver
from pytest_convergence._engine.sim.world import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.handles import Ready, WakeUp
    from pytest_convergence._engine.sim.loop import WorldLoop
    from pytest_convergence._engine.sim.node import Node

__all__ = ["NEXT_MESSAGE", "Mailbox"]

_ENTER: Final = asyncio._enter_task
_LEAVE: Final = asyncio._leave_task
_named: Final = tuple.__new__
"""``_named(Message, message)`` is ``Message._make(message)`` without a call of Python's in between."""


def _let_go() -> Generator[Any, None, None]:
    raise RuntimeError("the run of this mailbox is over")


_REQUESTS_REMEMBERED: Final = 1_024
"""How many of the latest requests a mailbox knows, to tell late replies from messages."""

_NOBODY: Final = 0
_FOR_A_MESSAGE: Final = 1
_FOR_EVER: Final = 2
"""Who sleeps: nobody, one who waits for a message, or one who is content to wait for ever."""

_Waiter: TypeAlias = "tuple[asyncio.Future[None], str | None, str | None, bool]"
"""Who waits: the future that wakes it, the sender and the type that it waits for, and whether it may wait for ever."""


@final
class Sleeper:
    """What a receiver awaits that takes whatever comes: as a future, but made once, and waking costs one ``append``.

    It is what asyncio's tasks ask of a future, and no more: one task at a time may await it, and its result is nothing.

    Attributes:
        wake_up: what makes the task that sleeps ready; ``None`` while none sleeps, or the one that did is to run.
        sleepy: whose task is about to go to sleep, if it is that of a behaviour that is driven.
        driver: what takes the steps that the task sleeps through.
    """

    __slots__ = (
        "__await__",
        "_asyncio_future_blocking",
        "_context",
        "_enqueue",
        "_life",
        "_loop",
        "driver",
        "sleepy",
        "wake_up",
    )

    result: Final = {}.clear  # asked by the task that was woken: it returns None, and has no frame

    def __init__(self, loop: WorldLoop) -> None:
        self._loop = loop
        self._enqueue: Callable[[Ready], None] = loop._ready_append
        self._asyncio_future_blocking = False
        self._context: Context | None = None
        self._life = loop.driver
        self.wake_up: WakeUp | Driver | None = None
        self.sleepy: Driver | None = None
        self.driver: Driver | None = None
        # The task is given the sleeper itself, once, by an iterator of C's.
        self.__await__: Callable[[], Generator[Any, None, None]] = (self,).__iter__  # type: ignore[assignment]

    def add_done_callback(self, wake: Any, *, context: Context) -> None:
        """A task has gone to sleep."""
        if context is not self._context:
            self._context = context
            life = context.get(OWNER)
            self._life = life or self._loop.driver
        sleepy = self.sleepy
        if sleepy is None:
            self.wake_up = (wake, self, context, self._life)
        else:
            self.sleepy = None
            sleepy.sleeps(wake, context, self._life)
            self.wake_up = self.driver = sleepy

    def wake(self) -> None:
        """Wake the task, if one sleeps."""
        wake_up = self.wake_up
        if wake_up is not None:
            self.wake_up = None
            self._enqueue(wake_up)

    def cancel(self, msg: object = None) -> bool:
        """The task is to be cancelled: it does that itself when it wakes."""
        if self.driver is not None:
            self.driver.cancelled = True
        self.wake()
        return False


@final
class Mailbox:
    """Messages for one life of a behaviour, oldest first.

    Attributes:
        messages: what arrived and was not received.
        sleeper: what a receiver awaits that takes whatever comes.
    """

    __slots__ = (
        "_asked",
        "_asleep",
        "_born",
        "_enqueue",
        "_events",
        "_fabric",
        "_life",
        "_loop",
        "_node",
        "_ready",
        "_received",
        "_replies",
        "_waiters",
        "_world",
        "messages",
        "sleeper",
    )

    def __init__(self, node: Node, loop: WorldLoop) -> None:
        self._node = node
        self._life = node.life
        self._fabric = node.fabric
        self._loop = loop
        self._received = RECEIVE | node.index << AGENT_SHIFT
        self.sleeper = Sleeper(loop)  # older than all who wait beside it
        self._asleep = _NOBODY
        self._enqueue = loop._ready_append
        self._ready = loop._ready
        self._world = loop.world
        self._events = loop.world.events
        self._waiters: list[_Waiter] = []
        self._born = node.fabric.uid
        self._asked: deque[int] | None = None
        self._replies: dict[int, asyncio.Future[InFlight]] = {}
        self.messages: deque[InFlight] = deque()
        node.receivers["user"] = self.deliver
        node.take = self.arrive

    def let_go(self) -> None:
        """The run is over: leave nothing to the garbage collector."""
        self.sleeper.__await__ = _let_go

    # -- from the network ----------------------------------------------------------------------------------------------

    def arrive(self, message: InFlight) -> None:
        """Take a message from the network: the short way for a behaviour that waits for it in its inbox.

        If the step of the behaviour is what happens next, it happens at once, without a way through the loop's queue.
        """
        sleeper, life = self.sleeper, self._life
        world, events = self._world, self._events
        driver = sleeper.wake_up
        step = life.steps + 1
        if (
            type(driver) is not Driver
            or step >= life.fuse
            or message[7] is not None
            or self._ready
            or self._fabric.cuts
            or (events and events[0][0] <= world.now_ns)
            or world.after_step is not None
        ):
            self._arrive_in_turn(message)
            return
        life.steps = step
        world.happened += 1
        sleeper.wake_up = None
        self.messages.append(message)
        # From here on it is what Driver.step does, without a call.
        loop, task = self._loop, driver._task
        awaited = raised = None
        try:
            _ENTER(loop, task)
            awaited = driver.context.run(driver._send, None)
        except BaseException as error:
            raised = error
        _LEAVE(loop, task)
        if awaited is sleeper and not driver.cancelled:
            sleeper.wake_up = driver
        else:
            driver.hand_over(awaited, raised)

    def _arrive_in_turn(self, message: InFlight) -> None:
        """The same where something else comes before the step of whoever receives it, or nobody does at present."""
        if message[7] is not None or not self._life.fuse or self._fabric.cuts:
            self._node.arrive(message)  # also what was sent before this life ended, and arrives in the next
            return
        self.messages.append(message)
        sleeper = self.sleeper
        wake_up = sleeper.wake_up
        if wake_up is not None:
            sleeper.wake_up = None
            enqueue = self._enqueue
            enqueue(wake_up)
        elif self._waiters:
            self._wake(message)

    def deliver(self, message: InFlight) -> None:
        """Take a message from the network."""
        if message[7] is not None:
            self._deliver_reply(message)
            return
        self.messages.append(message)
        self._wake(message)

    def _wake(self, message: InFlight) -> None:
        if self.sleeper.wake_up is not None:
            self.sleeper.wake()
            return
        for future, sender, kind, _ in self._waiters:
            if not future.done() and _fits(message, sender, kind):
                future.set_result(None)
                return

    def _deliver_reply(self, message: InFlight) -> None:
        uid = message[7] or 0
        asked = self._replies.pop(uid, None)
        if asked is not None and not asked.done():
            asked.set_result(message)
        elif uid > self._born and (self._asked is None or uid not in self._asked):
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
            await self._wait(sender, kind, _FOR_A_MESSAGE)
            message = self.take(sender, kind)
        return message

    async def _wait(self, sender: str | None, kind: str | None, why: int) -> None:
        """Wait until there may be a message that fits."""
        waiters = self._waiters
        if sender is None and kind is None and not self._asleep and not waiters:
            sleeper = self.sleeper
            sleeper._asyncio_future_blocking = True  # asyncio's sign of an "await", taken down by the task
            self._asleep = why
            try:
                await sleeper
            finally:
                self._asleep = _NOBODY
                if waiters:
                    self._pass_on()
            return
        future: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        waiter = (future, sender, kind, why == _FOR_EVER)
        waiters.append(waiter)
        try:
            await future
        finally:
            waiters.remove(waiter)
            if waiters or self._asleep:
                self._pass_on()

    def _pass_on(self) -> None:
        """Wake another receiver: one that was woken and cancelled at once would leave its message asleep."""
        if self.messages:
            self.sleeper.wake()
        for message in self.messages:
            for future, sender, kind, _ in self._waiters:
                if not future.done() and _fits(message, sender, kind):
                    future.set_result(None)

    async def reply(self, uid: int) -> Message:
        """Wait for the reply to the message ``uid``."""
        future: asyncio.Future[InFlight] = asyncio.Future(loop=self._loop)
        self._replies[uid] = future
        if self._asked is None:
            self._asked = deque(maxlen=_REQUESTS_REMEMBERED)
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
        if self._replies or self._asleep == _FOR_A_MESSAGE or not (self._asleep or self._waiters):
            return False
        return all(forever for _, _, _, forever in self._waiters)

    def __aiter__(self) -> Mailbox:
        return self

    @types.coroutine  # a generator gives the sleeper to the task itself; "await" would ask it for an iterator each time
    def __anext__(self) -> Generator[Any, Any, Message]:
        messages = self.messages
        while not messages:
            if self._asleep or self._waiters:
                yield from self._wait(None, None, _FOR_EVER)
                continue
            # The common case, without a second coroutine.
            sleeper = self.sleeper
            sleeper._asyncio_future_blocking = True
            self._asleep = _FOR_EVER
            try:
                yield sleeper
            finally:
                self._asleep = _NOBODY
                if self._waiters:
                    self._pass_on()
        taken = messages.popleft()
        fabric = self._fabric
        record = fabric.record
        if record is not None:
            record((fabric.world.now_ns, self._received, taken[6]))
        return _named(Message, taken)


NEXT_MESSAGE: Final = Mailbox.__anext__.__code__
"""By this one tells what an inbox gives to be awaited from other generators."""


def _fits(message: InFlight, sender: str | None, kind: str | None) -> bool:
    return (sender is None or message[0] == sender) and (kind is None or message[3] == kind)
