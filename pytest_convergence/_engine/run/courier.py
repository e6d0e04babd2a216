"""Sends what a plain message does not carry: acknowledged delivery, a time to live, correlation and causation.

1. Such a message is an ordinary one whose type is :class:`Stamped`. So it takes the same links, and may be lost, delayed
   and duplicated like all others.
2. At the recipient a *gate* before the mailbox looks at the stamp: what has expired is not delivered; what is to be
   acknowledged is delivered once in each life, and acknowledged each time it arrives. A gate stands only where such a
   message was ever sent to: nobody else pays for it.
3. The sender sends again, at intervals that double up to eight times, until the acknowledgement is there. It says that the
   message reached the mailbox, not that somebody has read it: a recipient that crashes loses what it had not received.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypedDict, final

from pytest_convergence._engine.base.messages import InFlight, Message, Stamped
from pytest_convergence._engine.base.time import NS_PER_SECOND, to_ns
from pytest_convergence._engine.sim.node import Node
from pytest_convergence._engine.sim.world import NEVER_NS
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.run.session import Session

__all__ = ["Courier", "Gate", "SendOptions"]

_ACK: Final = "ack"
_LEAST_RESEND_NS: Final = NS_PER_SECOND // 10
_BACKOFF: Final = 8
_REMEMBERED: Final = 4_096
"""How many of the latest acknowledged messages a gate knows, to deliver each once."""


class SendOptions(TypedDict, total=False):
    """What :meth:`SimulatedAgent.send` can be told beside the type.

    Attributes:
        ack: whether to wait until the delivery is acknowledged, and to send again until it is; then the message is delivered
            once in each life of the recipient.
        timeout: virtual seconds to wait for the acknowledgement; ``None`` for as long as it takes, or as ``ttl`` lets.
        ttl: virtual seconds after which the message is not delivered any more.
        correlation_id: what conversation it belongs to; by default that of ``caused_by``, or its id.
        caused_by: the message that it is a consequence of.
    """

    ack: bool
    timeout: float | None
    ttl: float | None
    correlation_id: str | None
    caused_by: Message | None


@final
class Gate:
    """Before the mailbox, or the machine, of one node."""

    __slots__ = ("_courier", "_deliver", "_node", "_seen", "_take", "fabric")

    def __init__(self, courier: Courier, node: Node) -> None:
        self._courier = courier
        self._node = node
        self.fabric = node.fabric
        self.stand()
        node.on_restart += (self.stand,)

    def stand(self) -> None:
        """A life begins: stand before its mailbox."""
        node = self._node
        self._seen: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)
        self._take: Callable[[InFlight], object] = node.take
        self._deliver: Callable[[InFlight], object] = node.receivers["user"]
        node.take = self.take
        node.receivers["user"] = self.deliver

    def take(self, message: InFlight) -> None:
        """A message arrives from the network."""
        if isinstance(message[3], Stamped):
            self._node.arrive(message)  # looks whether there is a way, and comes back by deliver()
        else:
            self._take(message)

    def deliver(self, message: InFlight) -> None:
        """A message has come to this node."""
        stamp = message[3]
        if isinstance(stamp, Stamped):
            node = self._node
            fabric = node.fabric
            if stamp.expires_ns is not None and fabric.world.now_ns >= stamp.expires_ns:
                fabric.lose(fabric.nodes[message[0]].links[node.name], message)
                fabric.note("observe", node, {"fact": "expired", "message": Message._make(message).id})
                return
            if stamp.ack is not None:
                fabric.link(node, message[0]).post(stamp.ack, _ACK, _ACK)
                name = (message[0], stamp.ack)
                if name in self._seen:
                    return
                self._seen.append(name)
        self._deliver(message)


@final
class Courier:
    """Sends the messages of a session that have options."""

    __slots__ = ("_gates", "_next", "_session", "_waiting")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._gates: dict[str, Gate] = {}
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._next = count(1).__next__

    async def send(
        self,
        agent: SimulatedAgent,
        to: str | SimulatedAgent,
        payload: Any,
        type: str,
        options: Mapping[str, Any],
    ) -> None:
        """Send one message; see :meth:`SimulatedAgent.send`."""
        for name in options:
            if name not in SendOptions.__annotations__:
                raise unknown_name("option of send", name, SendOptions.__annotations__)
        agent._alive("send")
        conduct = self._session._running()
        agent._route(to)  # refuses whom there is not
        name = to if isinstance(to, str) else to.name
        self._gate(conduct.fabric.nodes[name])
        now_ns = conduct.world.now_ns
        ttl_ns = _nanoseconds(options, "ttl")
        waits_ns = _nanoseconds(options, "timeout")
        number = self._next() if options.get("ack") else None
        stamp = Stamped(
            type,
            correlation_id=_correlation(options),
            causation_id=None if (cause := _cause(options)) is None else cause.id,
            expires_ns=None if ttl_ns is None else now_ns + ttl_ns,
            ack=number,
        )
        payload = agent._snapshot(payload)
        agent._route(to).post(payload, stamp)
        if number is None:
            return
        longest_ns = NEVER_NS - now_ns if waits_ns is None else waits_ns
        if ttl_ns is not None:
            longest_ns = min(longest_ns, ttl_ns + 2 * conduct.greatest_delay_ns())
        self._gate(conduct.fabric.nodes[agent.name])  # the acknowledgement comes back through it
        await self._acknowledged(agent, conduct, name, payload, stamp, now_ns + longest_ns)

    async def _acknowledged(
        self, agent: SimulatedAgent, conduct: Conduct, to: str, payload: Any, stamp: Stamped, until_ns: int
    ) -> None:
        """Send again until the acknowledgement is there."""
        number = stamp.ack
        assert number is not None
        node, world = conduct.fabric.nodes[agent.name], conduct.world
        begun_ns = world.now_ns
        future = self._waiting[number] = conduct.loop.create_future()
        delay_ns = least_ns = max(_LEAST_RESEND_NS, 3 * conduct.greatest_delay_ns())
        try:
            while True:
                await asyncio.wait([future], timeout=min(delay_ns, until_ns - world.now_ns) / NS_PER_SECOND)
                if future.done():
                    return
                if world.now_ns >= until_ns:
                    seconds = (until_ns - begun_ns) / NS_PER_SECOND
                    raise TimeoutError(
                        f"agent {agent.name!r} had no acknowledgement from {to!r} within {seconds:g} s."
                    )
                conduct.fabric.note("observe", node, {"fact": "retry", "to": to, "kind": str(stamp)})
                agent._route(to).post(agent._snapshot(payload), stamp)
                delay_ns = min(2 * delay_ns, _BACKOFF * least_ns)
        finally:
            self._waiting.pop(number, None)

    def _gate(self, node: Node) -> None:
        if node.name not in self._gates:
            self._gates[node.name] = Gate(self, node)
            node.receivers[_ACK] = self._arrived

    def _arrived(self, message: InFlight) -> None:
        """An acknowledgement is there."""
        future = self._waiting.get(message[2])
        if future is not None and not future.done():
            future.set_result(None)


def _nanoseconds(options: Mapping[str, Any], name: str) -> int | None:
    seconds = options.get(name)
    if seconds is None:
        return None
    ns = to_ns(seconds, name)
    if ns == 0:
        raise ConvergenceUsageError(f"{name} must be greater than 0 seconds, not {seconds!r}.")
    return ns


def _cause(options: Mapping[str, Any]) -> Message | None:
    cause = options.get("caused_by")
    if cause is not None and not isinstance(cause, Message):
        raise ConvergenceUsageError(
            f"caused_by takes the message that this one is a consequence of, not {cause!r}."
        )
    return cause


def _correlation(options: Mapping[str, Any]) -> str | None:
    given = options.get("correlation_id")
    if given is not None and not isinstance(given, str):
        raise ConvergenceUsageError(f"correlation_id must be text, not {given!r}.")
    cause = _cause(options)
    if given is None and cause is not None:
        return cause.correlation_id or cause.id
    return given
