"""A node: what the kernel knows of one agent. Lives, steps, crashes, pauses, mailboxes and machines.

1. A node has one *life* at a time. Code belongs to the life that started it; when a life ends, its steps are never run
   again. Its coroutines are parked, not closed, until the run is over: a crash is not a cancellation, no ``finally`` runs.
2. A life counts its steps. ``fuse`` is the number of the first step at which the schedule wants something; for a life
   that is dead or paused it is 0, so that every step is looked at.
3. What arrives goes to the *receiver* of the message's channel: the mailbox of a behaviour, or the host of a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.choices import smaller
from pytest_convergence._engine.base.messages import InFlight, Message
from pytest_convergence._engine.base.trace import AGENT_SHIFT, SEND, TraceEvent
from pytest_convergence._engine.sim.clock import NodeClock
from pytest_convergence._engine.sim.storage import Disk

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_convergence._engine.sim.cancelling import Cancelling
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.faults import StepPlan
    from pytest_convergence._engine.sim.files import HostFiles
    from pytest_convergence._engine.sim.handles import Ready
    from pytest_convergence._engine.sim.links import Link
    from pytest_convergence._engine.sim.net.stack import Stack
    from pytest_convergence._engine.sim.processes import Process
    from pytest_convergence._engine.sim.signals import Signals
    from pytest_convergence._engine.sim.strands import Strand

__all__ = ["NEVER", "OUTAGE", "PAUSE", "STALL", "Life", "Node"]

NEVER: Final = (1 << 30) - 1
"""A step that is not reached: as large as a number can be that CPython compares the short way. Beyond it each step asks."""

_CROWD: Final = 256
"""So many nodes have so many pairs that most exchange no second message: what was looked up once is not kept."""

PAUSE: Final = 1
OUTAGE: Final = 2
STALL: Final = 4
"""Why a life is held: the test paused it, or the schedule did, for long or for a moment. One hold does not end another."""


@final
class _ThreadDomain:
    """For how many microseconds a thread that may go on lets the others go first."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Two of three go on at once; the others within a millisecond."""
        return 0 if u < 2 / 3 else 1 + int((3 * u - 2) ** 2 * 1_000)

    def describe(self, option: int) -> str:
        """Say it in words."""
        return f"let the others go first for {option} us"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Shorter."""
        return smaller(option)


THREAD: Final = _ThreadDomain()

_BEFORE_EVERYTHING_NS: Final = -1
_number_of: Final = attrgetter("number")


@final
class Life:
    """One life of a node, from a start to a crash.

    Attributes:
        alive: whether its code runs. is_over: whether that ended with the run, and not by a crash.
        steps: how many steps the node has taken, over all its lives.
        fuse: the step before which the node wants to be asked.
        strands: the threads of its program, once there are any. thread_numbers: by which these are named.
        executor: runs the functions that its program wants to run on threads, once there are any.
        holds: why it takes no step at present, as a sum of ``PAUSE``, ``OUTAGE``, ``STALL``; 0 for nothing.
        process: what its program has to itself, if it has a thread of its own.
        parked: steps that will not run: of a dead life for ever, of a held one until it goes on; ``None`` before the first.
    """

    __slots__ = (
        "alive",
        "executor",
        "fuse",
        "holds",
        "is_over",
        "node",
        "parked",
        "process",
        "steps",
        "strands",
        "thread_numbers",
    )

    def __init__(self, node: Node, steps: int, fuse: int) -> None:
        self.node = node
        self.steps = steps
        self.fuse = fuse
        self.alive, self.is_over = True, False
        self.holds = 0
        self.executor: Executor | None = None
        self.strands: list[Strand] | None = None
        self.thread_numbers: dict[str, Iterator[int]] | None = None
        self.process: Process | None = None
        self.parked: list[Ready] | None = None

    def park(self, step: Ready) -> None:
        """Keep a step that may not run now."""
        if self.parked is None:
            self.parked = []
        self.parked.append(step)


@final
class Shown:
    """A link while its sender has unsynced writes: properties see what is sent meanwhile."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    def post(self, payload: Any, kind: str, channel: str = "user", reply_to: int | None = None) -> InFlight:
        """Send a message, and show it."""
        message = self._link.post(payload, kind, channel, reply_to)
        source = self._link.source
        event = TraceEvent(-1, source.fabric.world.now_ns, "send", source.name, Message._make(message))
        for watch in source.fabric.watchers["send"]:
            watch(event)
        return message


@final
class Node:
    """One agent, to the kernel.

    Attributes:
        take, take_upkeep: what the network calls with a message that arrives; the first is for those of the user's agents.
        receivers: channel -> what takes a message of that channel.
        routes: the links that the behaviour may use without a further look.
        deferred: messages and timers that came while the node was paused.
        stack: its sockets, once it has any. signals: those of its process.
        is_host: whether it is a host of the user's, and no agent.
        powerless: whether its machine is off, and not only its process.
        files: the directory of a host, if it has one.
        cancelling: what cancels its tasks, where a schedule may.
        on_crash, on_restart: what the floor above does when a life ends or begins.
    """

    __slots__ = (
        "_thread_choice",
        "cancelling",
        "clock",
        "deferred",
        "disks",
        "fabric",
        "files",
        "index",
        "is_host",
        "life",
        "links",
        "lives",
        "name",
        "on_crash",
        "on_restart",
        "plan",
        "powerless",
        "receivers",
        "routes",
        "sent_code",
        "signals",
        "stack",
        "take",
        "take_upkeep",
    )

    def __init__(self, fabric: Fabric, name: str, index: int, plan: StepPlan | None) -> None:
        self.fabric = fabric
        self.name = name
        self.index = index
        self.plan = plan
        self.clock = NodeClock()
        self.links: dict[str, Link] = {}
        self.routes: dict[Any, Link | Shown] = {}
        self.sent_code = SEND | index << AGENT_SHIFT
        self.take: Callable[[InFlight], object] = self.arrive  # bound once, and not for each message
        self.take_upkeep = self._arrive_upkeep
        self.disks: dict[str, Disk] = {}
        self.receivers: dict[str, Callable[[InFlight], object]] = {}
        self.deferred: list[tuple[Callable[[Any], object], Any]] = []
        self.on_crash: tuple[Callable[[], None], ...] = ()
        self.on_restart: tuple[Callable[[], None], ...] = ()
        self.lives = 1
        self.stack: Stack | None = None
        self.signals: Signals | None = None
        self.is_host = False
        self.files: HostFiles | None = None
        self._thread_choice: Callable[[], int] | None = None
        self.cancelling: Cancelling | None = None
        self.powerless = False
        self.life = Life(self, 0, NEVER if plan is None else plan.next_step)

    @property
    def is_alive(self) -> bool:
        """Whether the node runs (a paused one does), or ran when the run ended."""
        return self.life.alive or self.life.is_over

    @property
    def is_paused(self) -> bool:
        """Whether the node is alive but held."""
        return self.life.alive and self.life.holds != 0

    def posted(self) -> int:
        """How many messages it has sent so far."""
        return sum(map(_number_of, self.links.values()))

    def disk(self, channel: str) -> Disk:
        """Return the durable storage of one channel's machine or behaviour."""
        disk = self.disks.get(channel)
        if disk is None:
            disk = self.disks[channel] = Disk(self, channel)
        return disk

    # -- messages ------------------------------------------------------------------------------------------------

    def arrive(self, message: InFlight) -> None:
        """Take a message from the network, if there is a way and somebody to take it."""
        if self.life.fuse and not self.fabric.cuts:
            self.receivers[message[8]](message)
        else:
            self._arrive_slowly(message)

    def _arrive_slowly(self, message: InFlight) -> None:
        """There is a partition somewhere, or this life is dead or held: then its fuse is 0."""
        link = self.fabric.nodes[message[0]].links[self.name]
        if link.cut or not self.life.alive:
            stack = self.stack if message[8] == "net" and not link.cut else None
            if stack is None or not stack.answer_for_the_dead(message[2]):
                self.fabric.lose(link, message)
        elif self.life.holds:
            self.deferred.append((self.arrive, message))
        else:
            self.receivers[message[8]](message)

    def _arrive_upkeep(self, message: InFlight) -> None:
        """The same for a message of a protocol, which does not keep the world awake."""
        fabric = self.fabric
        fabric.world.background -= 1
        if self.life.fuse and not fabric.cuts:  # as arrive(), without a call
            self.receivers[message[8]](message)
        else:
            self._arrive_slowly(message)

    def route(self, key: Any, name: str) -> Link | Shown:
        """Return what posts a message of the behaviour to ``name``, and remember it under ``key`` while that is safe."""
        link = self.links.get(name) or self.fabric.new_link(self, name)
        if self.disks:
            disk = self.disks.get("user")
            if disk is not None and disk.dirty and self.fabric.watchers.get("send"):
                return Shown(link)
        if link.number or len(self.fabric.nodes) < _CROWD:
            self.routes[key] = link
        return link

    def choose_thread(self) -> int:
        """Choose for how many microseconds a thread of the node's program, which may go on, lets the others go first."""
        if self.fabric.is_calm:
            return 0
        choose = self._thread_choice
        if choose is None:
            choose = self._thread_choice = self.fabric.choices.every(f"thread {self.name}", THREAD)
        return choose()

    # -- steps ---------------------------------------------------------------------------------------------------

    def may_step(self, life: Life, step: Ready) -> bool:
        """Decide whether a step may run now; if not, it is parked."""
        if not life.alive or life.holds:
            life.steps -= 1
            life.park(step)
            return False
        if self.plan is not None and self.plan.disturb(self, life):
            life.steps -= 1
            life.park(step)
            return False
        return True

    def may_react(self, function: Callable[[Any], object], argument: Any) -> bool:
        """The same for a machine's reaction to a message or timer."""
        life = self.life
        if not life.alive:
            return False
        if life.holds or (self.plan is not None and self.plan.disturb(self, life)):
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
        self.fabric.world.forget_timers(life)
        for disk in self.disks.values():
            disk.crash()
        for call in self.on_crash:
            call()

    def end(self) -> None:
        """End the life without a word: the run is over for it, and nobody is to hear of it."""
        life = self.life
        life.alive, life.is_over, life.fuse = False, True, 0
        self.routes.clear()
        self.deferred.clear()
        self.fabric.world.forget_timers(life)
        if self.stack is not None:
            self.stack.close()

    def restart(self) -> None:
        """Begin a new life; the behaviour starts again from the top, with what was durable."""
        if self.life.alive or self.fabric.closed:
            return
        steps = self.life.steps
        self.lives += 1
        self.powerless = False
        self.life = Life(self, steps, NEVER if self.plan is None else self.plan.next_step)
        self.fabric.note("restart", self, {"life": self.lives})
        for call in self.on_restart:
            call()

    def pause(self, why: int = PAUSE) -> None:
        """Hold the node: it takes no step, while messages and timers wait for it."""
        if self.life.alive and not self.life.holds & why:
            self.fabric.note("pause", self, None)
            self.hold(why)

    def resume(self, why: int = PAUSE) -> None:
        """Let a paused node go on with what has come in the meantime, if nothing else holds it."""
        if self.life.alive and self.life.holds & why:
            self.fabric.note("resume", self, None)
            self.release(why)

    def hold(self, why: int) -> None:
        """Hold the node without a word in the trace."""
        self.life.holds |= why
        self.life.fuse = 0

    def release(self, why: int = PAUSE | OUTAGE | STALL) -> None:
        """Undo :meth:`hold`."""
        life = self.life
        if not life.alive or not life.holds & why:
            return
        life.holds &= ~why
        if life.holds:
            return
        life.fuse = NEVER if self.plan is None else self.plan.next_step
        # Parked steps come first: they became ready before what is ready now.
        if life.parked:
            parked, life.parked = life.parked, None
            self.fabric.loop.run_first(parked)
        if self.stack is not None:
            self.stack.wake()
        deferred, self.deferred = self.deferred, []
        world = self.fabric.world
        for function, argument in deferred:
            # What came while the node was held comes before anything that comes at this instant, or links lost their order.
            world.at(_BEFORE_EVERYTHING_NS, function, argument)
