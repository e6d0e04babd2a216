"""Lets the replicas of a session's agents synchronise through messages over the simulated links.

1. A replica's machine is made when the replica is first written to, or first hears from another. Sessions that share no
   state pay nothing, and their traces hold nothing of it.
2. Which machine that is, the strategy decides (``sync=``). What its messages weigh and how long they take is counted here,
   and so is how long replicas do not hold the same updates.
3. When a replica learns that another holds the same updates, it says so as a fact (``replica``), with a fingerprint of its
   document: equal updates must mean equal documents. What nobody can compare need not be said. When it is sent what it has
   it says so again: nothing may have changed. After a restart it says what it comes back with.
4. Whatever the way, it says what it takes in (``joined``, with what it had seen before), whom it tells of a write
   (``told``), and, once it waits for nobody any more, what those have acknowledged (``acked``). What is special to a way of
   synchronising (logs, siblings) the machine says itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import Effect, Observe, Send
from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.sizes import Sizes
from pytest_convergence._engine.state.sync import as_sync
from pytest_convergence._engine.state.updates import Update

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Replication"]

_CHANNEL: Final = "sync"
_NOTHING: Final = VectorClock()


@final
class _Traffic:
    """What the replicas of a session have sent each other, and since when they differ."""

    __slots__ = ("_level", "_newest", "_since_ns", "conduct", "names", "sizes")

    def __init__(self, conduct: Conduct, names: tuple[str, ...]) -> None:
        self.conduct = conduct
        self.names = names
        self.sizes = Sizes()
        self._newest = VectorClock()
        self._level: set[str] = set(names)
        self._since_ns: int | None = None

    def sent(self, payload: Any) -> None:
        """A message was sent."""
        counting = self.conduct.judge.counting
        counting.add("sync_operations")
        counting.add("sync_bytes", self.sizes.of(payload))

    def arrived(self, message: InFlight) -> None:
        """A message arrived: how long it took."""
        counting = self.conduct.judge.counting
        counting.add("sync_delivered")
        counting.add("sync_seconds", (self.conduct.world.now_ns - message[5]) / 1e9)

    def changed(self, name: str, clock: VectorClock) -> None:
        """A replica holds more than before."""
        if not clock <= self._newest:
            self._newest |= clock
            self._level.clear()
        if clock == self._newest:
            self._level.add(name)
        now_ns = self.conduct.world.now_ns
        if len(self._level) == len(self.names):
            if self._since_ns is not None:
                self.conduct.judge.counting.add("divergence_seconds", (now_ns - self._since_ns) / 1e9)
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns


@final
class _Watched:
    """A synchronisation machine, with its messages counted and its facts observed."""

    __slots__ = ("_machine", "_observed", "_replica", "_traffic", "_waits", "_way")

    def __init__(self, machine: Any, replica: Replica, traffic: _Traffic, way: str) -> None:
        self._machine = machine
        self._replica = replica
        self._traffic = traffic
        self._way = way
        self._observed: VectorClock | None = None
        self._waits = False

    def on_start(self, durable: Mapping[str, Any]) -> list[Effect]:
        effects = self._counted(self._machine.on_start(durable))
        return [Observe("replica", self._replica.facts()), *effects] if durable else effects

    def on_command(self, name: str, argument: Any) -> list[Effect]:
        effects = self._counted(self._machine.on_command(name, argument))
        to = [effect.to for effect in effects if type(effect) is Send]
        return [Observe("told", {"to": to, "upto": self._replica.clock}), *effects] if to else effects

    def on_timer(self, name: str) -> list[Effect]:
        return self._counted(self._machine.on_timer(name))

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        before = self._replica.clock
        effects = self._counted(self._machine.on_message(sender, kind, payload))
        clock = self._replica.clock
        packed = getattr(payload, "delta", None)
        resent = clock == before and packed is not None
        if packed is not None and not resent:
            effects.insert(0, Observe("joined", self._joined(packed, before)))
        if (resent or clock != self._observed) and getattr(payload, "clock", None) == clock:
            self._observed = clock
            effects.append(Observe("replica", self._replica.facts()))
        return effects

    def _joined(self, packed: Any, before: VectorClock) -> dict[str, Any]:
        """What is said of what was taken in; a snapshot of what lies before its start begins at nothing."""
        start = getattr(packed, "start", _NOTHING)
        if getattr(packed, "snapshot", None) is not None and not start <= before:
            start = _NOTHING
        return {
            "way": self._way,
            "start": start,
            "end": getattr(packed, "end", self._replica.clock),
            "seen": before,
        }

    def view(self) -> Any:
        return self._machine.view()

    def pending_peers(self) -> Iterable[str]:
        """Whom the machine still waits for."""
        peers: Iterable[str] = self._machine.pending_peers()
        return peers

    def _counted(self, effects: Iterable[Effect] | None) -> list[Effect]:
        carried = list(effects or ())
        for effect in carried:
            if type(effect) is Send:
                self._traffic.sent(effect.payload)
        self._traffic.changed(self._replica.agent, self._replica.clock)
        answered_for = getattr(self._machine, "answered_for", None)
        if answered_for is not None:
            waited, self._waits = self._waits, self._machine.pending
            if waited and not self._waits:
                carried.append(Observe("acked", {"by": answered_for, "upto": self._replica.clock}))
        return carried


@final
class Replication:
    """One synchronisation machine for each replica in use, hosted like any protocol on its agent's node."""

    __slots__ = ("_conduct", "_hosts", "_in_use", "_names", "_strategy", "_traffic")

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        nodes = conduct.fabric.nodes
        for name in conduct.session.agents:
            nodes[name].receivers[_CHANNEL] = partial(self._first_message, name)
        self._hosts: dict[str, MachineHost] = {}
        self._in_use = False
        self._names = tuple(conduct.session.agents)
        self._strategy = as_sync(conduct.session.options.get("sync"))
        self._traffic = _Traffic(conduct, self._names)

    def start(self) -> None:
        """Begin: tell the others what was written before the run, and write the initial states."""
        session = self._conduct.session
        for name, agent in session.agents.items():
            replica = agent._replica
            if replica is not None:
                self.follow(name, replica)
                if replica.version:
                    self._host(name)
            initial = session.initial_states.get(name)
            if initial:
                agent.state.merge(initial)

    def follow(self, name: str, replica: Replica) -> None:
        """Tell the others from now on what is written to this replica."""
        replica.on_update = partial(self._tell, name)
        replica.on_conflict = partial(self._conduct.resolving.met, name)

    def _host(self, name: str) -> MachineHost:
        host = self._hosts.get(name)
        if host is None:
            conduct = self._conduct
            node = conduct.fabric.nodes[name]
            host = self._hosts[name] = MachineHost(
                node,
                _CHANNEL,
                partial(self._machine, name),
                rank=self._names.index(name),
                ranks=len(self._names),
                failed=conduct.machine_failed,
                changed=conduct.views_changed,
            )
            node.receivers[_CHANNEL] = partial(self._take, host)
            host.start()  # announces everything that the replica holds
        return host

    def _machine(self, name: str) -> _Watched:
        replica = self._conduct.session.agents[name].state
        peers = [other for other in self._names if other != name]
        return _Watched(self._strategy.machine(replica, peers), replica, self._traffic, self._strategy.name)

    def _first_message(self, name: str, message: InFlight) -> None:
        self._take(self._host(name), message)

    def _take(self, host: MachineHost, message: InFlight) -> None:
        self._traffic.arrived(message)
        host.on_message(message)

    def _tell(self, name: str, update: Update) -> None:
        node = self._conduct.fabric.nodes[name]
        if not self._in_use:
            self._in_use = True
            self._conduct.judge.replicas_are_used()
        node.fabric.note("state", node, {"update": str(update), "write": update})
        if name in self._hosts:
            self._hosts[name].command("update", update)
        else:
            self._host(name)

    def is_busy(self) -> bool:
        """Whether some replica still waits for an acknowledgement of a peer that it can reach."""
        fabric = self._conduct.fabric
        for name, host in self._hosts.items():
            machine: Any = host.machine
            if machine is not None and any(
                fabric.nodes[peer].life.alive and fabric.connected(name, peer)
                for peer in machine.pending_peers()
            ):
                return True
        return False
