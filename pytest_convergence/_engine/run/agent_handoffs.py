"""The hand-offs of one agent: hosts its machine, runs its handler, and lets its code wait for what comes of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.base.time import NS_PER_SECOND, to_ns
from pytest_convergence._engine.patterns.handoff import (
    FencingToken,
    HandoffReason,
    HandoffState,
    Work,
    parse_continuation,
)
from pytest_convergence._engine.patterns.handoff_machine import HandoffMachine
from pytest_convergence._engine.run.calling import AgentCalls
from pytest_convergence._engine.run.handing import Handler, Handoff, HandoffQueue, HandoffResult
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence._engine.state.values import freeze
from pytest_convergence.errors import AgentCrashedError, ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.base.effects import Call
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.run.handoffs import Handoffs

__all__ = ["AgentHandoffs"]

_CHANNEL: Final = "handoff"


@final
class AgentHandoffs:
    """The hand-offs of one agent: its machine, its handler, what waits for it.

    What the agent's own code declares lasts for its present life; what the test declares lasts for the session.
    """

    __slots__ = (
        "_agent",
        "_calls",
        "_handler",
        "_handoffs",
        "_lasting",
        "_lasting_handler",
        "_offers",
        "_owned",
        "_tickets",
        "_waiters",
        "host",
        "queue",
    )

    def __init__(self, handoffs: Handoffs, agent: SimulatedAgent) -> None:
        self._handoffs = handoffs
        self._agent = agent
        self._lasting: dict[str, Any] | None = None
        self._lasting_handler: Handler | None = None
        self._offers: dict[str, Any] | None = None
        self._handler: Handler | None = None
        self._tickets: dict[str, asyncio.Future[Any]] = {}
        self._waiters: dict[str, list[asyncio.Future[Any]]] = {}
        self._owned: dict[str, Handoff] = {}
        self._calls: AgentCalls | None = None
        self.queue = HandoffQueue()
        self.host: MachineHost | None = None

    # -- the machine ---------------------------------------------------------------------------------------------------

    def begin(self, conduct: Conduct) -> None:
        """Host the machine of this agent."""
        name = self._agent.name
        node = conduct.fabric.nodes[name]
        names = tuple(conduct.session.agents)
        world = conduct.world
        timing = self._handoffs.timing
        self._calls = AgentCalls(conduct, self._agent, {"work": self._work})
        host = self.host = MachineHost(
            node,
            _CHANNEL,
            lambda: HandoffMachine(name, names, lambda: node.clock.monotonic_ns(world.now_ns), timing),
            rank=names.index(name),
            ranks=len(names),
            failed=conduct.machine_failed,
            changed=conduct.views_changed,
        )
        host.calls = self
        conduct.cast.calls[f"{name}/handoff"] = self._calls
        node.on_crash += (self._crashed,)
        node.on_restart += (self._declare,)
        if node.life.alive:
            host.start()
            self._declare()

    def machine(self) -> HandoffMachine | None:
        """Return the machine of the present life."""
        machine: Any = None if self.host is None else self.host.machine
        return machine if isinstance(machine, HandoffMachine) else None

    def _declare(self) -> None:
        offers = self._offers or self._lasting
        if offers is not None and self.host is not None:
            self.host.command("offers", offers)

    def _crashed(self) -> None:
        if self._calls is not None:
            self._calls.forget()
        self._handler, self._offers = None, None
        self._owned.clear()
        self.queue = HandoffQueue()
        futures = [*self._tickets.values(), *(each for waiters in self._waiters.values() for each in waiters)]
        self._tickets.clear()
        self._waiters.clear()
        for future in futures:
            if not future.done():
                future.set_exception(
                    AgentCrashedError(f"agent {self._agent.name!r} crashed while it waited for a hand-off.")
                )
                future._log_traceback = False  # its own code never hears of it

    @property
    def is_waiting(self) -> bool:
        """Whether code waits for a hand-off to end."""
        return bool(self._tickets or self._waiters)

    # -- declarations --------------------------------------------------------------------------------------------------

    def offers(self, capabilities: Iterable[str], capacity: int | None, priority: int) -> None:
        """Say what the agent can do; see :meth:`SimulatedAgent.offers`."""
        offers = {"capabilities": _names(capabilities), "capacity": capacity, "priority": priority}
        if capacity is not None and (
            isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1
        ):
            raise ConvergenceUsageError(
                f"capacity must be a whole number >= 1, or None for any number of works at a time, not {capacity!r}."
            )
        _check_whole("priority", priority)
        if self._is_own_code():
            self._offers = offers
        else:
            self._lasting = offers
        if self.host is None:
            self._handoffs.wake()
        elif self._agent.is_alive:
            self._declare()

    def on_handoff(self, handler: Handler) -> None:
        """Have ``handler`` do what is handed to the agent."""
        if not callable(handler):
            raise ConvergenceUsageError(
                f"on_handoff takes a function such as `async def review(handoff): …`, not {handler!r}."
            )
        if self._is_own_code():
            self._handler = handler
        else:
            self._lasting_handler = handler
        if self._offers is None and self._lasting is None:
            self.offers((), None, 0)
        self._handoffs.wake()
        for handoff in self.queue.take_all():
            self._begin_work(handoff)

    def _is_own_code(self) -> bool:
        life = OWNER.get()
        return life is not None and life.node is self._agent._node

    def incoming(self) -> AsyncIterator[Handoff]:
        """Return the queue, and say that the agent takes work."""
        self._agent._alive("take work")
        if self._offers is None and self._lasting is None:
            self.offers((), None, 0)
        self._handoffs.wake()
        return self.queue

    # -- what the machine calls ----------------------------------------------------------------------------------------

    def start(self, call: Call, answer: Callable[[str, Any], None]) -> None:
        """The machine calls: a work may begin, a hand-off has ended, a work is done."""
        if call.function == "work":
            work = Work.read(call.arguments[0])
            handoff = self._owned[work.id] = Handoff(self._agent, self, work, call, answer)
            self._begin_work(handoff)
        elif call.function == "concluded":
            said = call.arguments[0]
            for ticket in said["tickets"]:
                future = self._tickets.pop(ticket, None)
                if future is not None and not future.done():
                    future.set_result(said)
        else:
            id, value = call.arguments
            for future in self._waiters.pop(id, []):
                if not future.done():
                    future.set_result(value)

    def _begin_work(self, handoff: Handoff) -> None:
        if (self._handler or self._lasting_handler) is None:
            self.queue.put(handoff)
        elif self._calls is not None:
            call = handoff._call._replace(arguments=(handoff.id,))
            self._calls.start(call, handoff._answer)

    async def _work(self, id: str) -> Any:
        handler = self._handler or self._lasting_handler
        handoff = self._owned[id]
        assert handler is not None
        try:
            result = handler(handoff)
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._handoffs.conduct.agent_failed(self._agent.name, error)
            raise

    def cancel(self, id: str) -> None:
        """The machine takes a work away: somebody else owns it."""
        handoff = self._owned.pop(id.removeprefix("work "), None)
        if handoff is not None:
            self.queue.remove(handoff)
        if self._calls is not None:
            self._calls.cancel(id)

    def command(self, name: str, argument: Any) -> None:
        """Ask the machine for something."""
        self._handoffs.wake()
        if self.host is not None:
            self.host.command(name, argument)

    # -- handing off ---------------------------------------------------------------------------------------------------

    async def hand_off(self, task: Any, asked: dict[str, Any]) -> HandoffResult:
        """Hand a task off, and wait for the end of that; see :meth:`SimulatedAgent.hand_off`."""
        conduct = self._handoffs.begun("hand off")
        self._agent._alive("hand off")
        argument = self._checked(task, asked)
        self._handoffs.wake()
        ticket = f"{self._agent.name} {self._handoffs.next_ticket()}"
        future = self._tickets[ticket] = conduct.loop.create_future()
        begun_ns = conduct.world.now_ns
        self.command("hand_off", {**argument, "ticket": ticket})
        try:
            said = await future
        finally:
            self._tickets.pop(ticket, None)
        return HandoffResult(
            id=argument["id"],
            outcome=HandoffState(said["state"]),
            owner=said["owner"],
            token=FencingToken(said["token"][0], said["token"][1], argument["id"]),
            reason=HandoffReason(argument["reason"]),
            why=said["why"],
            duration=(conduct.world.now_ns - begun_ns) / NS_PER_SECOND,
            continuation=said["continuation"],
            checksum=said["checksum"],
            _agent=self._agent,
        )

    def _checked(self, task: Any, asked: dict[str, Any]) -> dict[str, Any]:
        agent, session = self._agent, self._agent.session
        to = asked["to"]
        name = to if to is None or isinstance(to, str) else getattr(to, "name", to)
        capabilities = _names(asked["capabilities"])
        if name is None and not capabilities and asked["reason"] != HandoffReason.ESCALATION:
            raise ConvergenceUsageError(
                "hand_off needs to know who is to take the task: name an agent (to='reviewer') or what it must be able to "
                "do (capabilities={'review'})."
            )
        if name is not None and (not isinstance(name, str) or name not in session.agents):
            raise unknown_name("agent", name, session.agents)
        if name == agent.name:
            raise ConvergenceUsageError(f"agent {agent.name!r} cannot hand a task off to itself.")
        if len(session.agents) < 2:
            raise ConvergenceUsageError(f"agent {agent.name!r} is alone: there is nobody to hand a task to.")
        _check_whole("priority", asked["priority"])
        if asked["max_hops"] is not None:
            _check_whole("max_hops", asked["max_hops"], least=1)
        timeout_ns = to_ns(asked["timeout"], "timeout")
        if timeout_ns == 0:
            raise ConvergenceUsageError(f"timeout must be greater than 0 seconds, not {asked['timeout']!r}.")
        forwarded = isinstance(task, Handoff)
        if forwarded and not task.is_owned:
            raise ConvergenceUsageError(f"{task!r} does not belong to agent {agent.name!r} (any more).")
        state = asked["state"]
        return {
            "id": task.id if forwarded else self._id(asked["id"]),
            "task": None if forwarded else freeze(task, "the task"),
            "state": freeze(state, "the state"),
            "has_state": state is not None,
            "to": name,
            "capabilities": capabilities,
            "reason": _reason(asked["reason"], bool(capabilities)),
            "priority": asked["priority"],
            "max_hops": asked["max_hops"],
            "timeout_ns": timeout_ns,
        }

    def _id(self, given: str | None) -> str:
        if given is None:
            return f"{self._agent.name}-{self._handoffs.next_work()}"
        if not isinstance(given, str) or not given:
            raise ConvergenceUsageError(f"the id of a work must be a non-empty string, not {given!r}.")
        return given

    async def finished(self, id: str, timeout: float | None) -> Any:
        """Wait for the result of a work that this agent owned once."""
        conduct = self._handoffs.begun("wait for a work")
        self._agent._alive("wait for a work")
        self._handoffs.wake()
        machine = self.machine()
        result = None if machine is None else machine.result_of(id)
        if result is not None:
            return snapshot(result[0])
        future: asyncio.Future[Any] = conduct.loop.create_future()
        self._waiters.setdefault(id, []).append(future)
        try:
            async with asyncio.timeout(timeout):
                return snapshot(await future)
        except TimeoutError:
            raise TimeoutError(
                f"the work {id!r} that agent {self._agent.name!r} handed off was not done within {timeout:g} s."
            ) from None
        finally:
            waiters = self._waiters.get(id, [])
            if future in waiters:
                waiters.remove(future)
            if not waiters:
                self._waiters.pop(id, None)

    async def resume(self, continuation: str, timeout: float | None) -> Any:
        """Go on waiting, by a continuation token."""
        return await self.finished(parse_continuation(continuation), timeout)


def _names(capabilities: Any) -> list[str]:
    if isinstance(capabilities, str) or not isinstance(capabilities, Iterable):
        raise ConvergenceUsageError(
            f"capabilities must be a set of names such as {{'review'}}, not {capabilities!r}."
        )
    names = list(capabilities)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConvergenceUsageError(f"a capability is a non-empty string such as 'review', not {name!r}.")
    return sorted(set(names))


def _reason(reason: Any, by_capability: bool) -> str:
    if reason is None:
        return (HandoffReason.CAPABILITY if by_capability else HandoffReason.DELEGATION).value
    known = [each.value for each in HandoffReason]
    if reason not in known:
        raise unknown_name("reason of a hand-off", reason, known)
    return HandoffReason(reason).value


def _check_whole(what: str, value: Any, least: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        bound = "" if least is None else f" >= {least}"
        raise ConvergenceUsageError(f"{what} must be a whole number{bound}, not {value!r}.")
