"""A node: what the kernel knows of one agent. Lives, steps, crashes, pauses, mailboxes and machines.

1. A node has one *life* at a time. Code belongs to the life that started it; when a life ends, its steps are never run
   again. Its coroutines are parked, not closed, until the run is over: a crash is not a cancellation, no ``finally`` runs.
2. A life counts its steps. ``fuse`` is the number of the first step at which the schedule wants something; for a life
   that is dead or paused it is 0, so that every step is looked at.
3. What arrives goes to the *receiver* of the message's channel: the mailbox of a behaviour, or the host of a machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import InFlight, Message
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.sim.clock import NodeClock
from pytest_convergence._engine.sim.storage import Disk

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.faults import StepPlan
    from pytest_convergence._engine.sim.links import Link

__all__ = ["NEVER", "Life", "Node"]

NEVER: Final = 1 << 62


@final
class Life:
    """One life of a node, from a start to a crash.

    Attributes:
        steps: how many steps the node has taken, over all its lives.
        fuse: the step before which the node wants to be asked.
        parked: steps that will not run: of a dead life for ever, of a paused one until it goes on.
    """

    __slots__ = ("alive", "fuse", "node", "parked", "paused", "steps")

    def __init__(self, node: Node, steps: int, fuse: int) -> None:
        self.node = node
        self.steps = steps
        self.fuse = fuse
        self.alive = True
        self.paused = False
        self.parked: list[asyncio.Handle] = []


@final
class Node:
    """One agent, to the kernel.

    Attributes:
        receivers: channel -> what takes a message of that channel.
        routes: the links that the behaviour may use without a further look.
        deferred: messages and timers that came while the node was paused.
        on_crash, on_restart: what the floor above does when a life ends or begins.
    """

    __slots__ = (
        "clock",
        "deferred",
        "disks",
        "fabric",
        "index",
        "life",
        "lives",
        "links",
        "name",
        "on_crash",
        "on_restart",
        "plan",
        "receivers",
        "routes",
    )

    def __init__(self, fabric: Fabric, name: str, index: int, plan: StepPlan | None) -> None:
        self.fabric = fabric
        self.name = name
        self.index = index
        self.plan = plan
        self.clock = NodeClock()
        self.links: dict[str, Link] = {}
        self.routes: dict[Any, Callable[..., InFlight]] = {}
        self.disks: dict[str, Disk] = {}
        self.receivers: dict[str, Callable[[InFlight], object]] = {}
        self.deferred: list[tuple[Callable[[Any], object], Any]] = []
        self.on_crash: list[Callable[[], None]] = []
        self.on_restart: list[Callable[[], None]] = []
        self.lives = 1
        self.life = Life(self, 0, NEVER if plan is None else plan.next_step)

    @property
    def is_alive(self) -> bool:
        """Whether the node runs (a paused one does)."""
        return self.life.alive

    @property
    def is_paused(self) -> bool:
        """Whether the node is alive but held."""
        return self.life.alive and self.life.paused

    def disk(self, channel: str) -> Disk:
        """Return the durable storage of one channel's machine or behaviour."""
        disk = self.disks.get(channel)
        if disk is None:
            disk = self.disks[channel] = Disk(self, channel)
        return disk

    def route(self, key: Any, name: str) -> Callable[..., InFlight]:
        """Return what posts a message of the behaviour to ``name``, and remember it under ``key`` while that is safe."""
        link = self.fabric.link(self, name)
        disk = self.disks.get("user")
        if disk is not None and disk.dirty and self.fabric.watchers.get("send"):
            return lambda *message: self._show(link.post(*message))
        self.routes[key] = link.post
        return link.post

    def _show(self, message: InFlight) -> InFlight:
        """Let properties see what is sent while writes are not durable."""
        fabric = self.fabric
        event = TraceEvent(-1, fabric.world.now_ns, "send", self.name, Message._make(message))
        for watch in fabric.watchers["send"]:
            watch(event)
        return message

    # -- steps ---------------------------------------------------------------------------------------------------

    def may_step(self, life: Life, handle: asyncio.Handle) -> bool:
        """Decide whether a step may run now; if not, it is parked."""
        if not life.alive or life.paused:
            life.steps -= 1
            life.parked.append(handle)
            return False
        if self.plan is not None and self.plan.disturb(self, life):
            life.steps -= 1
            life.parked.append(handle)
            return False
        return True

    def may_react(self, function: Callable[[Any], object], argument: Any) -> bool:
        """The same for a machine's reaction to a message or timer."""
        life = self.life
        if not life.alive:
            return False
        if life.paused or (self.plan is not None and self.plan.disturb(self, life)):
            life.steps -= 1
            if life.alive:
                self.deferred.append((function, argument))
            return False
        return True

    # -- lives ---------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """End the life at once. What was not synced may be lost; what is in flight stays in flight."""
        life = self.life
        if not life.alive:
            return
        life.alive = False
        life.fuse = 0
        self.routes.clear()
        self.fabric.note("crash", self, {"step": life.steps})
        self.deferred.clear()
        for disk in self.disks.values():
            disk.crash()
        for call in self.on_crash:
            call()

    def restart(self) -> None:
        """Begin a new life; the behaviour starts again from the top, with what was durable."""
        if self.life.alive:
            return
        steps = self.life.steps
        self.lives += 1
        self.life = Life(self, steps, NEVER if self.plan is None else self.plan.next_step)
        self.fabric.note("restart", self, {"life": self.lives})
        for call in self.on_restart:
            call()

    def pause(self) -> None:
        """Hold the node: it takes no step, while messages and timers wait for it."""
        life = self.life
        if life.alive and not life.paused:
            life.paused = True
            life.fuse = 0
            self.fabric.note("pause", self, None)

    def resume(self) -> None:
        """Let a paused node go on with what has come in the meantime."""
        if self.is_paused:
            self.fabric.note("resume", self, None)
            self.release()

    def hold(self) -> None:
        """Hold the node without a word in the trace: a stall that the schedule chose."""
        self.life.paused = True
        self.life.fuse = 0

    def release(self) -> None:
        """Undo :meth:`hold`."""
        life = self.life
        if not life.alive or not life.paused:
            return
        life.paused = False
        life.fuse = NEVER if self.plan is None else self.plan.next_step
        # Parked steps come first: they became ready before what is ready now.
        ready = self.fabric.loop._ready
        ready.extendleft(reversed(life.parked))
        life.parked = []
        deferred, self.deferred = self.deferred, []
        world = self.fabric.world
        for function, argument in deferred:
            world.at(world.now_ns, function, argument)
