"""Lets the replicas of a session's agents synchronise through messages over the simulated links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.state.delta_sync import DeltaSync

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Replication"]


@final
class Replication:
    """One synchronisation machine for each replica, hosted like any protocol on its agent's node."""

    __slots__ = ("_conduct", "_hosts")

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._hosts: dict[str, MachineHost] = {}
        session = conduct.session
        names = tuple(session.agents)
        for rank, (name, agent) in enumerate(session.agents.items()):
            peers = [other for other in names if other != name]
            host = self._hosts[name] = MachineHost(
                conduct.fabric.nodes[name],
                "sync",
                lambda replica=agent.state, peers=peers: DeltaSync(replica, peers),  # type: ignore[misc]
                rank=rank,
                failed=conduct.machine_failed,
                changed=conduct.views_changed,
            )
            agent.state.on_update = self._teller(name, host)
            agent.state.on_conflict = self._reporter(name)

    def _teller(self, name: str, host: MachineHost) -> Any:
        node = self._conduct.fabric.nodes[name]

        def tell(update: Any) -> None:
            node.fabric.note("state", node, {"update": str(update)})
            host.command("update", update)

        return tell

    def _reporter(self, name: str) -> Any:
        node = self._conduct.fabric.nodes[name]

        def report(conflict: Any) -> None:
            node.fabric.note("conflict", node, {"path": conflict.path, "conflict": str(conflict)})

        return report

    def start(self) -> None:
        """Begin: write the initial states, and tell the others what was written before the run."""
        session = self._conduct.session
        for name, host in self._hosts.items():
            host.start()
            initial = session.initial_states.get(name)
            if initial:
                session.agents[name].state.merge(initial)

    def is_busy(self) -> bool:
        """Whether some replica still waits for an acknowledgement of a peer that it can reach."""
        fabric = self._conduct.fabric
        for name, host in self._hosts.items():
            machine: Any = host.machine
            if machine is not None and any(
                fabric.nodes[peer].life.alive and fabric.connected(name, peer) for peer in machine.pending_peers()
            ):
                return True
        return False
