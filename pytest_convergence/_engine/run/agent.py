"""An agent as its behaviour and the test see it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack, final

from pytest_convergence._engine.base.messages import Message, snapshot
from pytest_convergence._engine.base.time import NS_PER_SECOND, to_ns
from pytest_convergence._engine.patterns.handoff import HandoffReason
from pytest_convergence._engine.run.replicated import led_term
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence.errors import AgentCrashedError, ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.run.courier import SendOptions
    from pytest_convergence._engine.run.handing import Handler, Handoff, HandoffResult
    from pytest_convergence._engine.run.session import Session
    from pytest_convergence._engine.sim.links import Link
    from pytest_convergence._engine.sim.mailbox import Mailbox
    from pytest_convergence._engine.sim.node import Node, Shown
    from pytest_convergence._engine.sim.rules import Rule

__all__ = ["AgentStorage", "SimulatedAgent"]

_ATOMS = frozenset({int, str, float, bool, type(None), bytes})
_kind_of = type  # where ``type`` is the type of a message


@final
class AgentStorage:
    """Durable storage of one agent. What was synced survives a crash; what was not may be lost or torn."""

    __slots__ = ("_agent",)

    def __init__(self, agent: SimulatedAgent) -> None:
        self._agent = agent

    def get(self, key: str, default: Any = None) -> Any:
        """Read a value, synced or not."""
        return self._agent._running("read storage").disk("user").get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Write a value; a crash before the next :meth:`sync` may lose it."""
        self._agent._alive("write to storage").disk("user").put(key, value)

    def delete(self, key: str) -> None:
        """Remove a key; a crash before the next :meth:`sync` may bring it back."""
        self._agent._alive("write to storage").disk("user").delete(key)

    async def sync(self) -> None:
        """Make every write so far durable. Takes a step, so that a crash may come just before."""
        await asyncio.sleep(0)
        self._agent._alive("sync storage").disk("user").sync()


@final
class SimulatedAgent:
    """A named participant of a session.

    A behaviour receives it as its argument; a scenario finds it in ``session.agents``. Virtual time and the network are
    those of the session that runs.

    Attributes:
        name: unique in the session.
        session: the session.
    """

    __slots__ = (
        "_cancel_at",
        "_mailbox",
        "_node",
        "_replica",
        "_routes",
        "_storage",
        "_view",
        "name",
        "session",
    )

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name
        self._replica: Replica | None = None  # made when somebody asks for it: most sessions share no state
        self._storage: AgentStorage | None = None
        self._node: Node | None = None
        self._mailbox: Mailbox | None = None
        self._cancel_at: int | None = None
        self._view: Callable[[], Any] | None = None
        self._routes: dict[Any, Link | Shown] = {}

    def _attach(self, node: Node) -> None:
        self._node = node
        self._routes = node.routes

    @property
    def state(self) -> Replica:
        """This agent's replica of the shared state."""
        replica = self._replica
        if replica is None:
            replica = self._replica = self.session._make_replica(self.name)
        return replica

    @property
    def storage(self) -> AgentStorage:
        """What survives a crash."""
        storage = self._storage
        if storage is None:
            storage = self._storage = AgentStorage(self)
        return storage

    @property
    def _version(self) -> int:
        """The version of its replica, 0 as long as there is none."""
        return 0 if self._replica is None else self._replica.version

    # -- guards --------------------------------------------------------------------------------------------------

    def _running(self, what: str) -> Node:
        node = self._node
        if node is None:
            raise ConvergenceUsageError(
                f"agent {self.name!r} cannot {what} before the session runs; do it in a behaviour or in the scenario "
                "that you pass to session.run(…)."
            )
        if node.fabric.closed:
            raise ConvergenceUsageError(f"agent {self.name!r} cannot {what}: the run is over.")
        return node

    def _alive(self, what: str) -> Node:
        node = self._node
        if node is None or node.fabric.closed:
            node = self._running(what)
        caller = OWNER.get()
        if caller is not None and not caller.alive:
            raise AgentCrashedError(
                f"code of agent {caller.node.name!r} wants agent {self.name!r} to {what}, but the life that it belongs to "
                "has crashed."
            )
        if not node.life.alive:
            raise AgentCrashedError(
                f"agent {self.name!r} has crashed and cannot {what}; call restart() first."
            )
        return node

    # -- messages ------------------------------------------------------------------------------------------------

    async def send(
        self,
        to: str | SimulatedAgent,
        payload: Any = None,
        *,
        type: str = "message",
        **options: Unpack[SendOptions],
    ) -> None:
        """Send a message. It is a snapshot: changing ``payload`` afterwards does not change what arrives.

        Args:
            type: a :class:`MessageKind`, or any text of your own.
            options: see :class:`SendOptions`: ``ack=True`` sends again until the delivery is acknowledged, ``ttl`` is how
                long the message is worth delivering, ``correlation_id`` and ``caused_by`` say what it belongs to.

        Raises:
            ConvergenceUsageError: there is no agent ``to``, or an option is wrong.
            AgentCrashedError: this agent has crashed.
            TimeoutError: the delivery was not acknowledged in time.
        """
        if options:
            await self.session.courier.send(self, to, payload, type, options)
            return
        # Routes are what send() may take without a further look: the node forgets them when it crashes, when it has
        # unsynced writes, and when the run is over.
        link = self._routes.get(to)
        if link is None:
            link = self._route(to)
        if _kind_of(payload) not in _ATOMS:
            payload = self._snapshot(payload)
        link.post(payload, type)

    def _route(self, to: str | SimulatedAgent) -> Link | Shown:
        if (node := self._node) is None or not node.life.fuse or OWNER.get() is not node.life:
            node = self._alive("send")
        name: Any = to if type(to) is str else getattr(to, "name", to)
        if name not in self.session.agents:
            raise unknown_name("agent", name, self.session.agents)
        return node.route(to, name)

    def _snapshot(self, payload: Any) -> Any:
        try:
            return snapshot(payload)
        except (TypeError, RecursionError) as error:
            raise ConvergenceUsageError(
                f"agent {self.name!r} cannot send {payload!r}: a message is a snapshot, and this cannot be copied "
                f"({error})."
            ) from error

    async def broadcast(self, payload: Any = None, *, type: str = "message") -> None:
        """Send the same message to every other agent, in the order of the session's agents."""
        for peer in self.peers:
            await self.send(peer, payload, type=type)

    async def receive(
        self,
        timeout: float | None = None,
        sender: str | SimulatedAgent | None = None,
        type: str | None = None,
    ) -> Message:
        """Wait for the oldest message, or the oldest from ``sender`` or of ``type``.

        Args:
            timeout: virtual seconds.

        Raises:
            TimeoutError: nothing came in time.
        """
        self._alive("receive")
        mailbox = self._box()
        if sender is not None and not isinstance(sender, str):
            sender = sender.name
        if sender is not None and sender not in self.session.agents:
            raise unknown_name("agent", sender, self.session.agents)
        if timeout is None:
            return await mailbox.receive(sender, type)
        to_ns(timeout, "timeout")
        try:
            async with asyncio.timeout(timeout):
                return await mailbox.receive(sender, type)
        except TimeoutError:
            what = "".join([f" from {sender!r}" if sender else "", f" of type {type!r}" if type else ""])
            raise TimeoutError(
                f"agent {self.name!r} received no message{what} within {timeout:g} s."
            ) from None

    async def request(
        self,
        to: str | SimulatedAgent,
        payload: Any = None,
        *,
        timeout: float | None = None,
        type: str = "request",
    ) -> Any:
        """Send a message and return the payload of the reply.

        Args:
            timeout: virtual seconds to wait for the reply, ``None`` for ever.

        Raises:
            TimeoutError: no reply came in time.
        """
        mailbox = self._box()
        link = self._routes.get(to) or self._route(to)
        uid = link.post(self._snapshot(payload), type)[6]
        if timeout is None:
            return (await mailbox.reply(uid)).payload
        to_ns(timeout, "timeout")
        try:
            async with asyncio.timeout(timeout):
                return (await mailbox.reply(uid)).payload
        except TimeoutError:
            asked = to if isinstance(to, str) else to.name
            raise TimeoutError(
                f"agent {self.name!r} had no reply from {asked!r} within {timeout:g} s."
            ) from None

    async def reply(self, message: Message, payload: Any = None) -> None:
        """Answer a message; a :meth:`request` that waits for it returns ``payload``."""
        if not isinstance(message, Message):
            raise ConvergenceUsageError(f"reply takes the message that is answered, not {message!r}.")
        self._route(message.sender).post(self._snapshot(payload), "reply", "user", message.uid)

    @property
    def inbox(self) -> AsyncIterator[Message]:
        """The messages as they come: ``async for message in agent.inbox``. Waiting here is no deadlock."""
        self._alive("receive")
        return self._box()

    def _close_box(self) -> None:
        """The run is over: nothing is received any more."""
        if self._mailbox is not None:
            self._mailbox.let_go()
            self._mailbox = None

    def _box(self) -> Mailbox:
        if self._mailbox is None:
            self._alive("receive")
            raise ConvergenceUsageError(f"agent {self.name!r} runs a machine, which receives for itself.")
        return self._mailbox

    # -- handing work over -------------------------------------------------------------------------------------------

    def offers(
        self, capabilities: Iterable[str] = (), *, capacity: int | None = None, priority: int = 0
    ) -> None:
        """Say that this agent takes work, what it can do, and how much at a time.

        Said by the agent's own behaviour it lasts for the present life; said by the test, for the session.

        Args:
            capabilities: names of your own, such as ``{"review"}``.
            capacity: how many works it takes at a time, ``None`` for any number.
            priority: of two equally loaded agents the one with more is asked first.

        Raises:
            ConvergenceUsageError: an argument is wrong.
        """
        self.session.handoffs.of(self).offers(capabilities, capacity, priority)

    def on_handoff(self, handler: Handler) -> Handler:
        """Have ``handler(handoff)``, plain or ``async``, do the work that is handed to this agent; also a decorator.

        What it returns is the result of the work. Each work is a task of its own. An agent without a handler takes work from
        :attr:`handoffs`. Declared by the behaviour it lasts for the present life, by the test for the session.
        """
        self.session.handoffs.of(self).on_handoff(handler)
        return handler

    @property
    def handoffs(self) -> AsyncIterator[Handoff]:
        """The works that are handed to this agent, the most urgent first: ``async for handoff in agent.handoffs``.

        Each must be ended by ``handoff.complete(result)``, or handed on. Waiting here is no deadlock.
        """
        return self.session.handoffs.of(self).incoming()

    async def hand_off(
        self,
        task: Any,
        *,
        to: str | SimulatedAgent | None = None,
        capabilities: Iterable[str] = (),
        reason: HandoffReason | str | None = None,
        state: Any = None,
        timeout: float = 30.0,
        priority: int = 0,
        max_hops: int | None = None,
        id: str | None = None,
    ) -> HandoffResult:
        """Hand a task over to another agent, and wait until it owns it, or nobody will.

        Args:
            task: plain data; or a :class:`Handoff` that this agent was given, to hand it on.
            to: who is to take it.
            capabilities: what the taker must offer. Without ``to`` the least loaded such agent is asked first, then by
                priority, then by name.
            reason: a :class:`HandoffReason`; by default ``CAPABILITY`` with capabilities, else ``DELEGATION``.
            state: plain data that the taker is to go on from. It travels whole, and its checksum is verified.
            timeout: virtual seconds until the offer expires.
            priority: which of several works is taken up first: the one with more.
            max_hops: how often the work may change hands, all in all: 16 by default; of a work that is handed on, what
                its giver said.
            id: names the work; the same id once more is the same work, not another one. Made up by default.

        Returns:
            How it ended: true if the work was transferred.

        Raises:
            ConvergenceUsageError: an argument is wrong, or ``task`` is a hand-off that does not belong to this agent.
            AgentCrashedError: this agent has crashed, or crashes meanwhile.
        """
        asked = {
            "to": to,
            "capabilities": capabilities,
            "reason": reason,
            "state": state,
            "timeout": timeout,
            "priority": priority,
            "max_hops": max_hops,
            "id": id,
        }
        return await self.session.handoffs.of(self).hand_off(task, asked)

    async def resume_handoff(self, continuation: str, *, timeout: float | None = None) -> Any:
        """Wait for the result of a work that this agent, in this life or an earlier one, has handed off.

        Args:
            continuation: the ``continuation`` of the :class:`HandoffResult`; text, to be kept in :attr:`storage`.
            timeout: virtual seconds, ``None`` for no bound.

        Raises:
            TimeoutError: it was not done in time.
            ConvergenceUsageError: that is no continuation token.
        """
        return await self.session.handoffs.of(self).resume(continuation, timeout)

    # -- the rest of the world --------------------------------------------------------------------------------------

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the other agents."""
        return tuple(name for name in self.session.agents if name != self.name)

    def now(self) -> float:
        """This agent's wall clock: virtual seconds since the run began, wrong by whatever skew it has."""
        node = self._running("tell the time")
        return node.clock.wall_ns(node.fabric.world.now_ns) / NS_PER_SECOND

    @property
    def random(self) -> random.Random:
        """This agent's private stream, derived from the seed and its name."""
        return self._running("draw random numbers").fabric.entropy(self.name)

    def observe(self, fact: str, **data: Any) -> None:
        """Write a fact to the trace, for properties to judge: ``agent.observe("leader", term=3)``."""
        node = self._alive("observe")
        node.fabric.note("observe", node, {"fact": fact, **snapshot(data)})

    def expose(self, view: Callable[[], Any]) -> None:
        """Say what this agent holds to be agreed, beside its :attr:`state`: agents converge when what they expose is equal.

        Args:
            view: called without arguments whenever the run compares agents; returns plain data, such as the text of a
                document. It lasts until the agent crashes, or calls this again.

        Raises:
            ConvergenceUsageError: ``view`` is not a function.
            AgentCrashedError: this agent has crashed.
        """
        self._alive("expose a view")
        if not callable(view):
            raise ConvergenceUsageError(
                f"agent {self.name!r} cannot expose {view!r}: give a function that returns what the agent holds now, such "
                "as lambda: dict(notes)."
            )
        self._view = view

    @property
    def exposed(self) -> Any:
        """What this agent exposes at present by :meth:`expose`, for criteria and properties; ``None`` if nothing."""
        return None if self._view is None else snapshot(self._view())

    @property
    def fencing_token(self) -> int | None:
        """The term in which this agent leads; ``None`` while it does not lead, and by bully, which has no terms.

        Take it when the work begins, and pass it on: ``session.resource("store").apply(…, token=token)`` refuses a leader
        that was replaced in the meantime.
        """
        return led_term(self.session, self.name)

    # -- faults ------------------------------------------------------------------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether the agent has not crashed; a paused agent is alive."""
        return self._node is None or self._node.is_alive

    def crash(self) -> None:
        """End this agent's life at once. No ``finally`` of it touches the world any more; unsynced writes may be lost.

        Raises:
            AgentCrashedError: it has crashed already.
        """
        self._alive("crash").crash()

    def restart(self) -> None:
        """Begin a new life: the behaviour starts again from the top, with what was durable.

        Raises:
            ConvergenceUsageError: the agent is alive.
        """
        node = self._running("restart")
        if node.life.alive:
            raise ConvergenceUsageError(f"agent {self.name!r} is alive; only a crashed agent can restart.")
        node.restart()

    def cancel_at(self, step: int) -> None:
        """Cancel this agent's behaviour while it waits for the ``step``-th time, in each life that begins from now on.

        Raises:
            ConvergenceUsageError: ``step`` is no whole number from 1.
        """
        if isinstance(step, bool) or not isinstance(step, int) or step < 1:
            raise ConvergenceUsageError(f"a step is a whole number from 1, not {step!r}.")
        self._cancel_at = step

    def pause(self) -> None:
        """Hold this agent: it takes no step until :meth:`resume`, while messages and timers wait for it."""
        self._alive("be paused").pause()

    def resume(self) -> None:
        """Let a paused agent go on."""
        self._alive("be resumed").resume()

    def isolate(self) -> Rule:
        """Cut this agent off from all others; a context manager with ``heal()``."""
        return self.session.network.partition([self])

    def skew_clock(self, offset: float = 0.0, drift: float = 0.0) -> None:
        """Set this agent's clock ``offset`` seconds ahead (negative: behind) and let it gain ``drift`` seconds a second."""
        node = self._running("have its clock skewed")
        world = node.fabric.world
        world.skewed = True
        node.clock.skew(world.now_ns, offset_seconds=offset, drift=drift)

    def __repr__(self) -> str:
        state = "" if self.is_alive else ", crashed"
        return f"<SimulatedAgent {self.name!r}{state}>"
