"""Holds back what the network delivers until it is its turn: carries out the orders of a director.

1. A *turnstile* stands where a node stands, for the links that lead to it. Runs without a director have none.
2. What arrives before its turn waits. When its turn comes it passes a nanosecond after what went before it, so that the
   recipient has done all that it does at once about a message before the next one comes. So the order of deliveries
   says everything: nothing depends on what arrived at one and the same instant.
3. A message that waits keeps the world awake by an alarm. If the alarm goes off and the message whose turn it is has not
   come, the rest passes as it came, and the director is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.base.directing import Delivery, Director
from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.conditions import ON_TIME, OVERTAKEN

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Sequencer", "Turnstile"]

_PATIENCE_NS: Final = NS_PER_SECOND
"""How much longer a turnstile waits than it took in the run that its orders were taken from."""


@final
class Sequencer:
    """The turnstiles of one fabric."""

    __slots__ = ("_fabric", "_turnstiles", "director")

    def __init__(self, fabric: Fabric, director: Director) -> None:
        self._fabric = fabric
        self._turnstiles: dict[str, Turnstile] = {}
        self.director = director
        director.overtaking = fabric.conditions.reorder > 0

    def before(self, node: Node) -> Turnstile:
        """Return the turnstile of a node."""
        turnstile = self._turnstiles.get(node.name)
        if turnstile is None:
            turnstile = self._turnstiles[node.name] = Turnstile(self._fabric, self.director, node)
        return turnstile

    def close(self) -> None:
        """The run is over: what still waits is later than its end."""
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
        "_node",
        "_order",
        "_place",
        "index",
        "name",
        "waiting",
    )

    def __init__(self, fabric: Fabric, director: Director, node: Node) -> None:
        self._fabric = fabric
        self._director = director
        self._node = node
        self._order: tuple[str, ...] = director.orders.get(node.name, ())
        self._place = 0
        self._last_ns = -1
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
        self._let_through()

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _let_through(self) -> None:
        """Let the next one pass if it is there, now or a nanosecond after the one before; see that none waits for ever."""
        label = self._next()
        if label is None:
            self._set_alarm()
            return
        world = self._fabric.world
        if world.now_ns > self._last_ns:
            self._deliver(label)
            label = self._next()
        if label is not None and not self._is_due:
            self._is_due = True
            world.at(self._last_ns + 1, self._due, None)
        self._set_alarm()

    def _due(self, _: object) -> None:
        self._is_due = False
        if not self._fabric.closed:
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
        director.deliver(Delivery(label, sender, recipient, known, now_ns))
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
        else:
            node.take(message)

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
