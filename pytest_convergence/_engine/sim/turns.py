"""Holds back what the network delivers until it is its turn: carries out the orders of a director.

1. A *turnstile* stands where a node stands, for the links that lead to it. Runs without a director have none.
2. What arrives before its turn waits. When its turn comes it passes a nanosecond after what went before it, so that the
   recipient has done all that it does at once about a message before the next one comes. So the order of deliveries
   says everything: nothing depends on what arrived at one and the same instant.
3. Timers of the recipient that a message may be held back past, for all that the network's latency allows, are in the
   order, too: "this one after the timer". Timers that no message could pass are not; they fire at their instants.
4. A message that waits keeps the world awake by an alarm. If the alarm goes off and the message whose turn it is has not
   come, the rest passes as it came, and the director is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.directing import Delivery, Director, Passing
from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.conditions import ON_TIME, OVERTAKEN
from pytest_convergence._engine.sim.handles import TimerStep
from pytest_convergence._engine.sim.world import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Sequencer", "Turnstile"]

_PATIENCE_NS: Final = NS_PER_SECOND
"""How much longer a turnstile waits than it took in the run that its orders were taken from."""


@final
class Sequencer:
    """The turnstiles of one fabric.

    Attributes:
        slack_ns: how much later than it came a message may be, for the network to be as good as it says.
    """

    __slots__ = ("_fabric", "_turnstiles", "director", "slack_ns")

    def __init__(self, fabric: Fabric, director: Director) -> None:
        self._fabric = fabric
        self._turnstiles: dict[str, Turnstile] = {}
        self.director = director
        director.overtaking = fabric.conditions.reorder > 0
        self.slack_ns = fabric.conditions.greatest_ns - fabric.conditions.least_ns

    def before(self, node: Node) -> Turnstile:
        """Return the turnstile of a node."""
        turnstile = self._turnstiles.get(node.name)
        if turnstile is None:
            turnstile = self._turnstiles[node.name] = Turnstile(
                self._fabric, self.director, node, self.slack_ns
            )
        return turnstile

    def note_steps(self) -> None:
        """No more is chosen: tell the director how many steps there were to choose from."""
        for node in self._fabric.nodes.values():
            if node.plan is not None:
                self.director.took(node.name, node.life.steps)

    def close(self) -> None:
        """The run is over: what still waits is later than its end."""
        self.note_steps()
        for turnstile in self._turnstiles.values():
            turnstile.close()

    @property
    def holds(self) -> bool:
        """Whether some message waits for its turn."""
        return any(turnstile.waiting for turnstile in self._turnstiles.values())


@final
class _Alarm:
    __slots__ = ("armed",)

    def __init__(self) -> None:
        self.armed = True


@final
class Turnstile:
    """Stands before one node.

    Attributes:
        name, index: those of the node.
        waiting: label -> the message, when it came, whether it is upkeep and a further copy; in the order of arrival.
    """

    __slots__ = (
        "_alarm",
        "_copies",
        "_director",
        "_fabric",
        "_is_due",
        "_last_ns",
        "_latest",
        "_mourned",
        "_node",
        "_order",
        "_place",
        "_slack_ns",
        "_watched",
        "index",
        "name",
        "waiting",
    )

    def __init__(self, fabric: Fabric, director: Director, node: Node, slack_ns: int) -> None:
        self._fabric = fabric
        self._director = director
        self._node = node
        self._order: tuple[str, ...] = director.orders.get(node.name, ())
        self._place = 0
        self._slack_ns = slack_ns
        self._watched: dict[int, tuple[int, list[Any]]] = {}  # due -> deliveries before it was seen, timers
        self._last_ns = -1
        self._mourned: Any = None  # the last life that was seen to have ended
        self._is_due = False
        self._alarm: _Alarm | None = None
        self._copies: dict[str, int] = {}
        self._latest: dict[str, int] = {}  # of each sender, the greatest number that was delivered
        self.name = node.name
        self.index = node.index
        self.waiting: dict[str, tuple[InFlight, int, bool, bool]] = {}

    # -- what the network calls ----------------------------------------------------------------------------------------

    def take(self, message: InFlight) -> None:
        """A message of the user's agents arrives."""
        self._arrive(message, is_upkeep=False)

    def arrive(self, message: InFlight) -> None:
        """A packet for the recipient's sockets arrives."""
        self._arrive(message, is_upkeep=False)

    def take_upkeep(self, message: InFlight) -> None:
        """A message of a protocol arrives, which does not keep the world awake."""
        self._arrive(message, is_upkeep=True)

    def _arrive(self, message: InFlight, *, is_upkeep: bool) -> None:
        fabric = self._fabric
        label = f"deliver {message[0]}→{message[1]} #{message[4]}"
        if fabric.closed or self._director.known_to(label) is None:
            # The session is over, or settles: nothing is chosen any more.
            self._pass(message, is_upkeep)
            return
        if is_upkeep:
            fabric.world.background -= 1  # it has come; while it waits its turn it is awaited
        copy = self._copies[label] = self._copies.get(label, 0) + 1
        if copy > 1:
            label = f"{label} copy {copy}"
        self.waiting[label] = (message, fabric.world.now_ns, is_upkeep, copy > 1)
        self._watch_timers(fabric.world.now_ns)
        self._let_through()

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _let_through(self) -> None:
        """Let the next one pass if it is there, now or a nanosecond after the one before; see that none waits for ever."""
        label, world = self._next(), self._fabric.world
        if self._node.life is not self._mourned and not self._node.life.alive:
            # A crash that is laid down is over at once, and comes between two deliveries: none of them is lost by it.
            self._mourned = self._node.life
            self._last_ns = max(self._last_ns, world.now_ns + self._director.outage_ns(self.name) - 1)
        if label is not None and world.now_ns > self._last_ns:
            self._deliver(label)
        if self.waiting and not self._is_due and world.now_ns <= self._last_ns:
            self._is_due = True
            world.at(self._last_ns + 1, self._due, None)
        self._set_alarm()

    def _due(self, _: object) -> None:
        """The recipient has reacted to what came last, and may have set other timers."""
        self._is_due = False
        if not self._fabric.closed:
            self._watch_timers(max((came_ns for _, came_ns, _, _ in self.waiting.values()), default=0))
            self._let_through()

    def _next(self) -> str | None:
        if self._place < len(self._order):
            wanted = self._order[self._place]
            return wanted if wanted in self.waiting else None
        return next(iter(self.waiting), None)

    def _deliver(self, label: str) -> None:
        message, came_ns, is_upkeep, is_copy = self.waiting.pop(label)
        self._place += 1
        fabric, director = self._fabric, self._director
        now_ns = self._last_ns = fabric.world.now_ns
        sender, recipient, number = message[0], message[1], message[4]
        if not is_copy:
            self._note_delay(message, now_ns - came_ns)
        self._latest[sender] = max(number, self._latest.get(sender, 0))
        known = director.known_to(f"deliver {sender}→{recipient} #{number}") or 0
        passing = self._watch_timers(came_ns)
        director.deliver(Delivery(label, sender, recipient, known, came_ns, now_ns, passing))
        if is_upkeep:
            fabric.world.background += 1
        self._pass(message, is_upkeep)

    def _note_delay(self, message: InFlight, delay_ns: int) -> None:
        if delay_ns:
            kind = OVERTAKEN if message[4] < self._latest.get(message[0], 0) else ON_TIME
            stem = f"deliver {message[0]}→{message[1]}"
            self._director.delay(stem, message[4], kind | delay_ns << 2, self._fabric.fates)

    def close(self) -> None:
        """Note of what still waits that it is later than the end."""
        later_ns = self._fabric.world.now_ns + 1
        for message, came_ns, _, is_copy in self.waiting.values():
            if not is_copy:
                self._note_delay(message, later_ns - came_ns)
                later_ns += 1

    def _pass(self, message: InFlight, is_upkeep: bool) -> None:
        node = self._node
        if is_upkeep:
            node.take_upkeep(message)
        elif message[8] == "net":
            node.arrive(message)
        else:
            node.take(message)

    # -- timers --------------------------------------------------------------------------------------------------------

    def _watch_timers(self, came_ns: int) -> Passing | None:
        """See to it that the timers are noted that a message which came then might pass; return the first."""
        if not self._slack_ns:
            return None
        world, limit_ns = self._fabric.world, came_ns + self._slack_ns
        found: dict[int, list[Any]] = {}
        for at_ns, _, _, timer in world.events:
            if at_ns <= limit_ns and _is_timer_of(timer, self._node):
                found.setdefault(at_ns, []).append(timer)
        for at_ns, timers in found.items():
            if at_ns not in self._watched:
                self._watched[at_ns] = len(self._director.log), timers
                world.at_background(at_ns, self._timer_due, at_ns)
        first_ns = min(found, default=None)
        return None if first_ns is None else Passing(self._timer_label(first_ns), first_ns)

    def _timer_label(self, at_ns: int) -> str:
        return f"timer {self.name} at {at_ns}"

    def _timer_due(self, at_ns: int) -> None:
        """Timers were due just now: if one has fired, note it, unless another delivery was to come before."""
        known, timers = self._watched.pop(at_ns)
        label = self._timer_label(at_ns)
        wanted = self._order[self._place] if self._place < len(self._order) else label
        if self._fabric.closed or not any(map(_has_fired, timers)):
            return
        self._last_ns = at_ns
        if wanted == label:
            self._place += 1
            self._director.deliver(Delivery(label, self.name, self.name, known, at_ns, at_ns))
        self._let_through()

    # -- patience ------------------------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """See to it that there is an alarm while something waits for what has not come, and none otherwise."""
        blocked = bool(self.waiting) and self._next() is None
        world = self._fabric.world
        if blocked and self._alarm is None:
            self._alarm = _Alarm()
            world.at(max(world.now_ns, self._director.until_ns) + _PATIENCE_NS, self._give_up, self._alarm)
        elif not blocked and self._alarm is not None:
            self._alarm.armed = False
            self._alarm = None
            world.timer_cancelled()

    def _give_up(self, alarm: _Alarm) -> None:
        if not alarm.armed:
            self._fabric.world.timer_discarded()
            return
        self._alarm = None
        self._director.stray(f"{self._order[self._place]} never came")
        self._order = ()
        self._let_through()


def _is_timer_of(timer: Any, node: Node) -> bool:
    """Whether something in the heap is an armed timer of a node's present life, of asyncio or of a machine."""
    if isinstance(timer, TimerStep):
        return timer._callback is not None and timer._context.get(OWNER) is node.life
    return getattr(timer, "life", None) is node.life and bool(getattr(timer, "armed", False))


def _has_fired(timer: Any) -> bool:
    """Whether a timer that was due has fired, and was not cancelled before."""
    return not (timer._scheduled if isinstance(timer, TimerStep) else timer.scheduled)
