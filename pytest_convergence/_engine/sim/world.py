"""The kernel: virtual time and the events to come.

1. Time is an integer of nanoseconds. It moves only when nothing is ready, and then to the next event.
2. An event is ``(at_ns, sequence, function, argument)`` in one heap. Packets in flight, timers of protocols and timers
   of asyncio are the same thing here, so a crash of an agent deletes nothing that is already on its way.
3. Some events do not keep the world awake: periodic upkeep (heartbeats, gossip), packets of protocols, and timers
   that were cancelled. ``background`` counts them; when it equals the size of the heap, nothing is left to happen that
   a user would wait for, and the world is *idle*.
4. Everything is bounded: events, virtual time, steps without time moving. Going over is a finding, not a hang.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns
from pytest_convergence._engine.sim.owner import OWNER
from pytest_convergence._engine.sim.strands import current_strand, present_life
from pytest_convergence.errors import BudgetExceeded, DeadlockError, LivelockError

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.descriptors import Descriptors
    from pytest_convergence._engine.sim.net.endpoint import KernelSocket
    from pytest_convergence._engine.sim.net.keepalive import KeepAlive
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence.errors import SimulationEscapeError

__all__ = ["EPOCH_NS", "NEVER_NS", "OWNER", "World"]

EPOCH_NS: Final = 946_684_800 * NS_PER_SECOND
"""What ``time.time()`` says at virtual time 0: 2000-01-01T00:00:00Z."""

NEVER_NS: Final = 1 << 62
"""An instant that does not come."""

_FREE_POLLS: Final = 1_000
_POLL_COST_NS: Final = 1_000
_MOST_INERT: Final = 100
_LIVELOCK_STEPS: Final = 1_000_000
_NOBODY: Final = "the test"

Event = tuple[int, int, Callable[[Any], object], Any]


@final
class World:
    """Virtual time, the events to come, and the bounds of both.

    Attributes:
        now_ns: virtual nanoseconds since the run began.
        events: the heap of events to come.
        hot: sockets that are ready, and that somebody waits for, by descriptor.
        cancels: whether the program of some host has tasks that a schedule may cancel.
        descriptors: all open sockets, once there are any.
        numbers: numbers the events, in the order in which they were planned.
        background: how many of them do not keep the world awake.
        inert: how many of those will do nothing that anybody could notice: timers that were cancelled.
        max_events, timeout_ns: the budgets.
        idle: called when only background events are left; returns whether to go on with them.
        fail: called with what ended the run (a budget, a livelock); must make the run end.
        sessions, host: who shares this world at present, and what was there before them; the floor above keeps both.
        vigils: connections that ask now and then whether their other end is there.
        upkeep, closers: called now and then, and when the run is over.
        escaped: called with whose code was refused something that leads out of the world, and with the error.
        after_step: called after every step while somebody asked for it (properties that must always hold).
    """

    __slots__ = (
        "_entropy",
        "_poll_ns",
        "_polls",
        "_stuck_steps",
        "_stuck_time_ns",
        "after_step",
        "background",
        "cancels",
        "closed",
        "closers",
        "descriptors",
        "epoch_ns",
        "escaped",
        "events",
        "fail",
        "happened",
        "host",
        "hot",
        "idle",
        "inert",
        "max_events",
        "now_ns",
        "numbers",
        "seed",
        "sessions",
        "skewed",
        "suspended",
        "timeout_ns",
        "upkeep",
        "vigils",
    )

    def __init__(
        self, *, seed: int = 0, max_events: int = 10**7, timeout_ns: int = 86_400 * NS_PER_SECOND
    ) -> None:
        self.now_ns = 0
        self.epoch_ns = EPOCH_NS
        self.events: list[Event] = []
        self.hot: dict[int, KernelSocket] = {}
        self.descriptors: Descriptors | None = None
        self.numbers = count(1)
        self.background = 0
        self.inert = 0
        self.happened = 0
        self.max_events = max_events
        self.timeout_ns = timeout_ns
        self.idle: Callable[[], bool] = _nothing_left
        self.fail: Callable[[BaseException], None] = _raise
        self.escaped: Callable[[Life, SimulationEscapeError], None] | None = None
        self.after_step: Callable[[], None] | None = None
        self.sessions: list[Any] = []
        self.host: Any = None
        self.upkeep: list[Callable[[], None]] = []
        self.vigils: dict[KeepAlive, None] = {}
        self.cancels = False
        self.closed = False
        self.closers: list[Callable[[], None]] = []
        self.suspended = False
        self.skewed = False
        self.seed = seed
        self._entropy: dict[str, random.Random] = {}
        self._polls = 0
        self._poll_ns = -1
        self._stuck_steps = 0
        self._stuck_time_ns = -1

    def close(self) -> None:
        """The run is over: nothing of it can be touched any more."""
        self.closed = True
        closers, self.closers = self.closers, []
        for close in closers:
            close()

    def let_go(self) -> None:
        """The world is closed: forget whom it would have called."""
        self.upkeep.clear()
        self.host = None
        self.idle, self.fail = _nothing_left, _raise
        self.vigils.clear()

    # -- events --------------------------------------------------------------------------------------------------

    def at(self, at_ns: int, function: Callable[[Any], object], argument: Any) -> None:
        """Let ``function(argument)`` happen at ``at_ns``."""
        heapq.heappush(self.events, (at_ns, next(self.numbers), function, argument))

    def at_background(
        self, at_ns: int, function: Callable[[Any], object], argument: Any, *, first: bool = False
    ) -> None:
        """The same for an event that does not keep the world awake; ``first`` of all that happens at its instant."""
        self.background += 1
        number = -next(self.numbers) if first else next(self.numbers)
        heapq.heappush(self.events, (at_ns, number, self._run_background, (function, argument)))

    def _run_background(self, event: tuple[Callable[[Any], object], Any]) -> None:
        self.background -= 1
        function, argument = event
        function(argument)

    def goes_on(self) -> bool:
        """Only background events are left; return whether to go on with them.

        A connection whose other end is gone will end by that, although nothing else keeps the world awake.
        """
        return (bool(self.vigils) and any(vigil.matters() for vigil in list(self.vigils))) or self.idle()

    def timer_cancelled(self) -> None:
        """A timer was cancelled that kept the world awake: it stays in the heap, but is nothing to wait for.

        Cancelled timers are swept out when they are the larger part of the heap, as asyncio's own loop does.
        """
        self.background += 1
        self.inert += 1
        if self.inert > _MOST_INERT and self.inert * 2 > len(self.events):
            live = [event for event in self.events if not _is_cancelled(event)]
            swept = len(self.events) - len(live)
            self.background -= swept
            self.inert -= swept
            self.events[:] = live
            heapq.heapify(self.events)

    def timer_discarded(self) -> None:
        """A cancelled timer came up and was thrown away."""
        self.background -= 1
        self.inert -= 1

    def forget_timers(self, life: Life) -> None:
        """Nothing waits any more for the timers that a life has set: it is over, and they would never do anything."""
        timers = [event[3] for event in self.events if getattr(event[3], "_callback", None) is not None]
        for timer in timers:
            if timer._context.get(OWNER) is life:
                timer.cancel()

    # -- clocks --------------------------------------------------------------------------------------------------

    def _poll(self) -> int:
        """Read the clock. Code that reads it in a loop makes it move, or virtual time would stand still for ever."""
        if self.now_ns != self._poll_ns:
            self._poll_ns = self.now_ns
            self._polls = 0
        self._polls += 1
        if self._polls > _FREE_POLLS:
            self.now_ns += _POLL_COST_NS
            self._poll_ns = self.now_ns
        return self.now_ns

    def poll_monotonic(self) -> int:
        """Read the monotonic clock of whoever runs, in nanoseconds."""
        now_ns = self._poll()
        if self.skewed:
            life = present_life()
            if life is not None:
                return life.node.clock.monotonic_ns(now_ns)
        return now_ns

    def poll_clock(self) -> int:
        """Read the wall clock of whoever runs, in nanoseconds since 1970."""
        now_ns = self._poll()
        if self.skewed:
            life = present_life()
            if life is not None:
                return self.epoch_ns + life.node.clock.wall_ns(now_ns)
        return self.epoch_ns + now_ns

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Let somebody look at the world who is no part of it: what they read of the clock costs nothing."""
        before = self.now_ns, self._poll_ns, self._polls
        try:
            yield
        finally:
            self.now_ns, self._poll_ns, self._polls = before

    def sleep_blocking(self, duration_ns: int) -> None:
        """``time.sleep``: the whole world waits, as one thread would; a process with its own thread waits alone."""
        strand = current_strand()
        if strand is None:
            self.now_ns += duration_ns
        else:
            strand.sleep(duration_ns)

    def entropy(self) -> random.Random:
        """Return the private random stream of whoever runs, derived from the seed and the agent's name."""
        life = present_life()
        return self.stream(_NOBODY) if life is None else life.node.fabric.entropy(life.node.name)

    def stream(self, name: str) -> random.Random:
        """Return the random stream of ``name``, which is no agent."""
        stream = self._entropy.get(name)
        if stream is None:
            # A string seed is hashed with SHA-512 by random itself: independent of PYTHONHASHSEED.
            stream = self._entropy[name] = random.Random(f"{self.seed}/{name}")
        return stream

    # -- bounds --------------------------------------------------------------------------------------------------

    def account(self, steps: int) -> None:
        """Count ``steps`` that happened, pack the traces, and fail the run if it went over a bound."""
        self.happened += steps
        for tidy in self.upkeep:
            tidy()
        if self.happened > self.max_events:
            self.fail(
                BudgetExceeded(
                    f"the run went over its budget of max_events={self.max_events:,} at virtual time "
                    f"{format_ns(self.now_ns)}. If it should take that many, raise max_events."
                )
            )
        elif self.now_ns > self.timeout_ns:
            self.time_is_up()
        if self.now_ns != self._stuck_time_ns:
            self._stuck_time_ns = self.now_ns
            self._stuck_steps = 0
            return
        self._stuck_steps += steps
        if self._stuck_steps > _LIVELOCK_STEPS:
            self._stuck_steps = 0
            self.fail(
                LivelockError(
                    f"livelock: {_LIVELOCK_STEPS:,} steps ran at virtual time {format_ns(self.now_ns)} and time did not "
                    "move. Some agent wakes itself, or agents wake each other, without ever waiting."
                )
            )

    def time_is_up(self) -> bool:
        """Fail the run: the budget of virtual time is used up. Said once; what ends the run may still take its time.

        Return whether to go on with this turn: no.
        """
        limit_ns = self.timeout_ns
        self.now_ns = max(self.now_ns, limit_ns)
        self.fail(
            BudgetExceeded(
                f"the run went over its virtual time budget of timeout={limit_ns / NS_PER_SECOND:g} seconds. "
                "If it should take that long, raise timeout."
            )
        )
        if self.timeout_ns == limit_ns:
            self.timeout_ns = NEVER_NS
        return False


def _is_cancelled(event: Event) -> bool:
    # Timers are the only arguments with these attributes, of asyncio and of machines.
    timer = event[3]
    return getattr(timer, "_callback", event) is None or not getattr(timer, "armed", True)


def _nothing_left() -> bool:
    raise DeadlockError(
        "nothing is runnable, no timer is set, and the loop was told to run until something happens."
    )


def _raise(error: BaseException) -> None:
    raise error
