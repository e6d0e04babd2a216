"""Lets the replicas of a session's agents synchronise through messages over the simulated links.

A replica's machine is made when the replica is first written to, or first hears from another. Sessions that share no
state pay nothing, and their traces hold nothing of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.state.conflicts import Conflict
from pytest_convergence._engine.state.delta_sync import DeltaSync
from pytest_convergence._engine.state.updates import Update

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Replication"]

_CHANNEL = "sync"


@final
class Replication:
    """One synchronisation machine for each replica in use, hosted like any protocol on its agent's node."""

    __slots__ = ("_conduct", "_hosts", "_names")

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._hosts: dict[str, MachineHost] = {}
        self._names = tuple(conduct.session.agents)

    def start(self) -> None:
        """Begin: tell the others what was written before the run, and write the initial states."""
        session, nodes = self._conduct.session, self._conduct.fabric.nodes
        for name, agent in session.agents.items():
            nodes[name].receivers[_CHANNEL] = partial(self._first_message, name)
            replica = agent.state
            replica.on_update = partial(self._tell, name)
            replica.on_conflict = partial(self._report, name)
            if replica.version:
                self._host(name)
            initial = session.initial_states.get(name)
            if initial:
                replica.merge(initial)

    def _host(self, name: str) -> MachineHost:
        host = self._hosts.get(name)
        if host is None:
            conduct = self._conduct
            replica = conduct.session.agents[name].state
            peers = [other for other in self._names if other != name]
            host = self._hosts[name] = MachineHost(
                conduct.fabric.nodes[name],
                _CHANNEL,
                lambda: DeltaSync(replica, peers),
                rank=self._names.index(name),
                ranks=len(self._names),
                failed=conduct.machine_failed,
                changed=conduct.views_changed,
            )
            host.start()  # announces everything that the replica holds
        return host

    def _first_message(self, name: str, message: InFlight) -> None:
        self._host(name).on_message(message)

    def _tell(self, name: str, update: Update) -> None:
        node = self._conduct.fabric.nodes[name]
        node.fabric.note("state", node, {"update": str(update)})
        if name in self._hosts:
            self._hosts[name].command("update", update)
        else:
            self._host(name)

    def _report(self, name: str, conflict: Conflict) -> None:
        node = self._conduct.fabric.nodes[name]
        node.fabric.note("conflict", node, {"path": conflict.path, "conflict": str(conflict)})

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
