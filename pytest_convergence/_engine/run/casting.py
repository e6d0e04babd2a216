"""Who plays which part: gives each agent its behaviour, and its protocol, the pattern's own or the user's instead.

1. A *behaviour* (``agents={name: behaviour}``) is what an agent does by itself. It runs beside the pattern's protocol.
2. A *protocol* of the user's (``protocol=…``) takes the place of the pattern's reference protocol. A machine class is
   hosted as the reference machine would be, and hears the same messages. A coroutine function is a behaviour; what it
   holds to be agreed is read from the facts that it observes. Where others have machines, what these say to it comes into
   its inbox, and what it sends them goes to the machines.
3. The functions of the user's that a machine calls are tasks of the agent's present life.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.run.calling import AgentCalls
from pytest_convergence._engine.run.options import is_machine_class
from pytest_convergence._engine.sim.cancelling import cancelling_of
from pytest_convergence._engine.sim.driving import Driver
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.sim.mailbox import Mailbox
from pytest_convergence._engine.sim.node import Node

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Cast"]

_WITH_INPUTS = 3
_GONE: Any = None


def _into_inbox(node: Node, message: InFlight) -> None:
    """What a machine says to an agent that speaks the protocol by a coroutine comes into its inbox."""
    node.receivers["user"](message)


@final
class Cast:
    """The parts of one run.

    Attributes:
        hosts: the protocols of the pattern, by agent.
        user_hosts: machines that are behaviours, by agent.
        tasks: behaviours that are coroutines, by agent; those of the present lives.
        calls: the calls of the pattern's machines, by agent.
    """

    __slots__ = ("_conduct", "_observed", "calls", "hosts", "tasks", "user_hosts")

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._observed: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        self.hosts: dict[str, MachineHost] = {}
        self.user_hosts: dict[str, MachineHost] = {}
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.calls: dict[str, AgentCalls] = {}

    # -- protocols -----------------------------------------------------------------------------------------------------

    def host_pattern(self) -> None:
        """Give each agent the pattern's reference protocol, or the user's machine in its place."""
        conduct = self._conduct
        session = conduct.session
        pattern = session.pattern
        if pattern is None:
            return
        names = tuple(session.agents)
        for name in names:
            own = session.protocols.get(name)
            if own is None:
                host = self._host(name, "pattern", partial(pattern.machine, name, names, conduct.inputs))
            elif is_machine_class(own):
                host = self._host(name, "pattern", self._own_machine(own, name, names))
            else:
                self._observed[name] = []
                node = conduct.fabric.nodes[name]
                node.receivers["pattern"] = partial(_into_inbox, node)
                continue
            self.hosts[name] = host
            functions = pattern.functions(name, names, conduct.inputs)
            if functions:
                calls = self.calls[name] = AgentCalls(conduct, session.agents[name], functions)
                host.calls = calls
                conduct.fabric.nodes[name].on_crash += (calls.forget,)
        if self._observed:
            conduct.fabric.watch(("observe", "crash"), self._watch)

    def _own_machine(self, own: Any, name: str, names: tuple[str, ...]) -> Callable[[], Machine]:
        """Make machines of the user's; a class that takes three arguments is given the inputs of the run too."""
        takes = [
            each
            for each in inspect.signature(own).parameters.values()
            if each.default is each.empty
            and each.kind is not each.VAR_KEYWORD
            and each.kind is not each.VAR_POSITIONAL
        ]
        inputs = (self._conduct.inputs,) if len(takes) == _WITH_INPUTS else ()
        return partial(own, name, names, *inputs)

    def _host(self, name: str, channel: str, factory: Callable[[], Machine]) -> MachineHost:
        conduct = self._conduct
        names = tuple(conduct.session.agents)
        return MachineHost(
            conduct.fabric.nodes[name],
            channel,
            factory,
            rank=names.index(name),
            ranks=len(names),
            failed=conduct.machine_failed,
            changed=conduct.views_changed,
        )

    def _watch(self, event: TraceEvent) -> None:
        facts = self._observed.get(event.agent)
        if facts is None:
            return
        if event.kind == "crash":
            facts.clear()
        else:
            data = dict(event.detail)
            facts.append((str(data.pop("fact", "")), data))
        self._conduct.views_changed()

    @property
    def has_machines(self) -> bool:
        """Whether some agent speaks a protocol, or is a machine."""
        return bool(self.hosts or self.user_hosts or self._observed)

    def protocol_view(self, name: str) -> tuple[Any] | None:
        """What the protocol of an agent holds to be agreed, as ``(view,)``; ``None`` where there is no protocol."""
        facts = self._observed.get(name)
        if facts is not None:
            pattern = self._conduct.session.pattern
            return None if pattern is None else (pattern.observed(name, facts),)
        host = self.hosts.get(name)
        shows = None if host is None or host.machine is None else getattr(host.machine, "view", None)
        return None if shows is None else (shows(),)

    def start(self) -> None:
        """Start all machines."""
        for host in (*self.hosts.values(), *self.user_hosts.values()):
            host.start()

    # -- behaviours ----------------------------------------------------------------------------------------------------

    def start_behaviour(self, agent: SimulatedAgent, behaviour: Any) -> None:
        """Set an agent's behaviour going, and again after each restart."""
        if is_machine_class(behaviour):
            names = tuple(self._conduct.session.agents)
            self.user_hosts[agent.name] = self._host(
                agent.name, "user", partial(behaviour, agent.name, names)
            )
            return
        node = self._conduct.fabric.nodes[agent.name]
        node.on_restart += (lambda: self._begin_life(agent, behaviour),)
        self._begin_life(agent, behaviour)

    def _begin_life(self, agent: SimulatedAgent, behaviour: Any) -> None:
        conduct = self._conduct
        node = conduct.fabric.nodes[agent.name]
        agent._view = None
        agent._mailbox = Mailbox(node, conduct.loop)  # what the life before had not received is gone with it
        conduct.results.pop(agent.name, None)
        if self._observed and agent.name in self.hosts:
            node.receivers["user"] = partial(self._to_whom_it_is_for, agent._mailbox, self.hosts[agent.name])
            node.take = node.arrive
        if behaviour is not None:  # without one the agent does what the scenario tells it
            self.tasks[agent.name] = conduct.spawn(
                node, self._behave(agent, behaviour, agent._mailbox), agent.name
            )

    def _to_whom_it_is_for(self, mailbox: Mailbox, host: MachineHost, message: InFlight) -> None:
        """What an agent that speaks the protocol by a coroutine says to a machine is for the machine."""
        if message[0] in self._observed:
            host.on_message(message)
        else:
            mailbox.deliver(message)

    async def _behave(self, agent: SimulatedAgent, behaviour: Any, mailbox: Mailbox) -> None:
        conduct = self._conduct
        node = conduct.fabric.nodes[agent.name]
        life = node.life
        conduct.fabric.note("start", node, None)
        work = behaviour(agent)
        if agent._cancel_at is not None or conduct.may_cancel:
            work = cancelling_of(node).drive(work, "", agent._cancel_at)
        else:
            work = Driver(mailbox.sleeper).drive(work)
        try:
            result = await work
        except asyncio.CancelledError:
            conduct.fabric.note("stop", node, None)
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if life.alive:  # what comes of code that crashed its own agent concerns nobody
                conduct.fabric.note("error", node, f"{type(error).__name__}: {error}")
                conduct.agent_failed(agent.name, error)
            return
        if conduct.is_over:
            conduct.fabric.note("stop", node, None)  # it was stopped, and took that for a reason to return
        elif life.alive:
            conduct.results[agent.name] = result
            conduct.fabric.note("return", node, canonical(result))
            conduct.check_finished()

    def let_go(self) -> None:
        """The run is over: who had a task is still known, and no more."""
        self.tasks = dict.fromkeys(self.tasks, _GONE)
        for agent in self._conduct.session.participants.values():
            agent._close_box()

    # -- what the conduct asks -----------------------------------------------------------------------------------------

    def all_returned(self) -> bool:
        """Whether every behaviour has returned or crashed."""
        conduct = self._conduct
        return all(
            task is _GONE  # the run is over: a host that ended with it asks once more
            or task.done()
            or name in conduct.results
            or not conduct.fabric.nodes[name].life.alive
            or (name in conduct.session._hosts and conduct.session._hosts[name].rests)
            for name, task in self.tasks.items()
        )

    def rests(self) -> bool:
        """Whether every behaviour has returned, crashed, or waits in its inbox, and no function is under way."""
        conduct = self._conduct
        if any(calls.tasks for calls in self.calls.values()):
            return False
        for name, task in self.tasks.items():
            if not task.done() and conduct.fabric.nodes[name].life.alive:
                host = conduct.session._hosts.get(name)
                if host is not None:
                    if not host.rests:
                        return False
                    continue
                mailbox = conduct.session.agents[name]._mailbox
                waits = mailbox is not None and mailbox.is_idle
                handoffs = conduct.session._handoffs
                if not waits and not (handoffs is not None and handoffs.is_idle(name)):
                    return False
        return True

    def works(self) -> bool:
        """Whether the protocol of an agent that has not come to rest waits for a function of the user's."""
        return any(
            calls.tasks and name in self.hosts and not self.hosts[name].decided
            for name, calls in self.calls.items()
        )

    def live_hosts(self) -> list[MachineHost]:
        """The hosts of the pattern on agents that are alive."""
        nodes = self._conduct.fabric.nodes
        return [host for name, host in self.hosts.items() if nodes[name].life.alive]
