"""The end of a run: agents are stopped, hosts just end.

1. What agents still do is cancelled, and has a few turns to clean up.
2. A host ends as machines do that lose power: none of its code runs again in the world, so no handler is cancelled that
   nobody has asked for, and nothing is said on the network. Its coroutines are closed when the world is
   (:func:`.hosting.run_in_world`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_convergence._engine.run.orphans import left_behind
from pytest_convergence._engine.sim.tasks import cancel

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["stop"]


async def stop(conduct: Conduct) -> None:
    """Stop what still runs of a session."""
    nodes = conduct.fabric.nodes.values()
    if conduct.session._hosts:
        _end_hosts(conduct)
    own = {node.life for node in nodes if node.life.alive}
    left = [task for task in conduct.loop.live_tasks() if task.life in own]
    for node in nodes:
        if node.is_paused:
            node.release()
    for task in left:
        cancel(task)
    for _ in range(100):
        if all(task.done() for task in left):
            break
        await asyncio.sleep(0)


def _end_hosts(conduct: Conduct) -> None:
    """End the hosts; the trace says so of those whose program had not returned."""
    nodes = conduct.fabric.nodes
    ends = [host for host in conduct.session._hosts.values() if host.name in nodes and host.is_alive]
    left_behind(conduct, {nodes[host.name].life for host in ends})
    for host in ends:
        task = conduct.cast.tasks.get(host.name)
        if task is not None and not task.done():
            conduct.fabric.note("stop", nodes[host.name], None)
        host.end()
