"""Hosts a protocol state machine on a node: feeds it events, carries out its effects.

A host is the only place where a machine meets the world: sends become messages of the host's channel, timers become
events, ``Persist`` and ``Sync`` go to the node's disk. A machine is made anew for each life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush
from typing import Any, Final, Protocol, final

from pytest_convergence._engine.base.choices import Span
from pytest_convergence._engine.base.effects import (
    Call,
    CancelCall,
    CancelTimer,
    Decide,
    Effect,
    Machine,
    Observe,
    Persist,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.base.messages import ATOMS, InFlight, Message, snapshot
from pytest_convergence._engine.base.trace import AGENT_SHIFT, RECEIVE
from pytest_convergence._engine.sim.links import Link
from pytest_convergence._engine.sim.node import Life, Node

__all__ = ["Calls", "MachineHost"]

_STEPS_OF_SPREAD: Final = 64
"""Into how many instants a timer's spread is divided; the calm schedule spaces the ranks evenly among them."""

_PARTS_OF_SEND: Final = len(Send._fields)


class Calls(Protocol):
    """Runs functions for a machine."""

    def start(self, call: Call, answer: Callable[[str, Any], None]) -> None:
        """Run a function; ``answer`` is what came of it: ``RETURNED`` or ``RAISED`` and its argument."""

    def cancel(self, id: str) -> None:
        """Cancel a call."""


@final
class _Timer:
    """A timer that was set.

    One that is set anew before it is due, as each heartbeat does with that of an election, moves and leaves its event where
    it is: that goes back into the heap when it comes up, to its place among what is due at the same time.
    """

    __slots__ = ("armed", "background", "due_ns", "event_ns", "life", "name", "number", "scheduled")

    def __init__(self, name: str, life: Life, background: bool, due_ns: int, number: int) -> None:
        self.name = name
        self.life = life
        self.background = background
        self.due_ns = self.event_ns = due_ns
        self.number = number
        self.armed = True
        self.scheduled = True


@final
class MachineHost:
    """One machine on one node.

    Attributes:
        machine: the machine of the present life.
        decision: what it decided last, or ``None``; ``decided`` tells the two apart.
        failed: called when the machine raises.
        calls: runs the functions that the machine calls; ``None`` if it has none to call.
    """

    __slots__ = (
        "_channel",
        "_disk",
        "_fabric",
        "_factory",
        "_links",
        "_node",
        "_rank",
        "_ranks",
        "_received",
        "_spreads",
        "_timers",
        "_unsynced",
        "calls",
        "changed",
        "decided",
        "decision",
        "failed",
        "machine",
    )

    def __init__(
        self,
        node: Node,
        channel: str,
        factory: Callable[[], Machine],
        *,
        rank: int = 0,
        ranks: int = 1,
        failed: Callable[[Node, BaseException], None],
        changed: Callable[[], None],
    ) -> None:
        self._node = node
        self._fabric = node.fabric
        self._channel = channel
        self._factory = factory
        self._rank = rank
        self._ranks = ranks
        self._disk = node.disk(channel)
        self._links: dict[str, Link] = node.links
        self._received = RECEIVE | node.index << AGENT_SHIFT
        self._unsynced = self._disk._unsynced
        self._timers: dict[str, _Timer] = {}
        self._spreads: dict[str, Callable[[], int]] = {}
        self.calls: Calls | None = None
        self.failed = failed
        self.changed = changed
        self.decided = False
        self.decision: Any = None
        self.machine: Machine = None  # type: ignore[assignment]  # until it starts, and while it is crashed
        node.receivers[channel] = self.on_message
        if channel == "user":
            node.take = self.take
        node.on_crash += (self._crashed,)
        node.on_restart += (self.start,)

    def start(self) -> None:
        """Begin a life with what is durable."""
        try:
            self.machine = self._factory()
            self.carry_out(self.machine.on_start(self._disk.snapshot()))
        except Exception as error:
            self.failed(self._node, error)

    def _crashed(self) -> None:
        for name in list(self._timers):
            self._disarm(name)
        self.decided, self.decision = False, None
        self.machine = None  # type: ignore[assignment]  # volatile: gone with the life

    # -- events in -----------------------------------------------------------------------------------------------

    def on_message(self, message: InFlight) -> None:
        """A message of this channel arrived."""
        node = self._node
        life = node.life
        life.steps = step = life.steps + 1
        if step >= life.fuse and not node.may_react(self.on_message, message):
            return
        fabric = self._fabric
        record = fabric.record
        if record is not None:
            record((fabric.world.now_ns, self._received, message[6]))
        try:
            effects = self.machine.on_message(message[0], message[3], message[2])
            if effects:
                self.carry_out(effects)
        except Exception as error:
            self.failed(node, error)

    def take(self, message: InFlight) -> None:
        """A message arrives from the network, for a machine that is the agent's behaviour: the short way.

        The same as :meth:`on_message`, and what lies between it and the network on both sides, in one call.
        """
        node, fabric = self._node, self._fabric
        life = node.life
        step = life.steps + 1
        if step >= life.fuse or fabric.cuts:
            node.arrive(message)
            return
        life.steps = step
        world, record = fabric.world, fabric.record
        if record is not None:
            record((world.now_ns, self._received, message[6]))
        try:
            effects: Any = self.machine.on_message(message[0], message[3], message[2])
            for effect in () if effects is None else effects:
                form = type(effect)
                sends = len(effect) == _PARTS_OF_SEND if form is tuple else form is Send
                if not sends or self._unsynced:
                    self.carry_out((effect,))
                    continue
                to, kind, payload = effect
                link = self._links.get(to)
                if link is None:
                    link = fabric.link(node, to)
                if link.rules or type(payload) not in ATOMS:
                    link.post(payload if type(payload) in ATOMS else snapshot(payload), kind)
                    continue
                # From here on it is what Link.post does, without a call.
                target, now_ns = link.target, world.now_ns
                link.number = number = link.number + 1
                fabric.uid = uid = fabric.uid + 1
                sent = (node.name, target.name, payload, kind, number, now_ns, uid, None, "user")
                if record is not None:
                    keep = fabric.keep
                    record((now_ns, node.sent_code, uid))
                    keep(sent)
                fate = next(link._fates)
                if fate & 3:
                    link.judge(Message._make(sent), fate, ())
                    continue
                at_ns = now_ns + fabric.base_ns + (fate >> 2)
                if at_ns < link._last_ns:
                    at_ns = link._last_ns
                else:
                    link._last_ns = at_ns
                heappush(world.events, (at_ns, next(world.numbers), target.take, sent))
        except Exception as error:
            self.failed(node, error)
        if fabric.views_watched:
            self.changed()

    def _on_timer(self, timer: _Timer) -> None:
        if timer.life is not self._node.life or not timer.armed or self._fabric.closed:
            return
        node = self._node
        life = node.life
        life.steps = step = life.steps + 1
        if step >= life.fuse and not node.may_react(self._on_timer, timer):
            return
        timer.armed = False
        if self._timers.get(timer.name) is timer:
            del self._timers[timer.name]
        node.fabric.note("timer", node, timer.name)
        self._react(self.machine.on_timer, timer.name)

    def command(self, name: str, argument: Any = None) -> None:
        """Let the agent's own side ask the machine for something."""
        if self._node.life.alive:
            try:
                self.carry_out(self.machine.on_command(name, argument))
            except Exception as error:
                self.failed(self._node, error)

    def _react(self, handle: Callable[[Any], Iterable[Effect]], argument: Any) -> None:
        try:
            self.carry_out(handle(argument))
        except Exception as error:
            self.failed(self._node, error)

    # -- effects out ---------------------------------------------------------------------------------------------

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Carry out effects, in order."""
        links = self._links
        channel = self._channel
        effect: Any
        for effect in effects or ():  # None is as good as nothing
            if type(effect) is Send or (type(effect) is tuple and len(effect) == _PARTS_OF_SEND):
                to, kind, payload = effect
                link = links.get(to)
                if link is None:
                    link = self._node.fabric.link(self._node, to)
                if self._unsynced:
                    self._unsynced_send(to, kind)
                link.post(payload if type(payload) in ATOMS else snapshot(payload), kind, channel)
            elif type(effect) is SetTimer:
                self._arm(effect)
            else:
                self._carry_out_slowly(effect)
        if self._fabric.views_watched:
            self.changed()

    def _carry_out_slowly(self, effect: Effect) -> None:
        node = self._node
        if isinstance(effect, CancelTimer):
            self._disarm(effect.name)
        elif isinstance(effect, Persist):
            self._disk.put(effect.key, effect.value)
        elif isinstance(effect, Sync):
            self._disk.sync()
        elif isinstance(effect, Decide):
            self.decided, self.decision = True, effect.value
            node.fabric.note("decide", node, {"value": snapshot(effect.value)})
        elif isinstance(effect, Observe):
            node.fabric.note("observe", node, {"fact": effect.fact, **effect.data})
        elif isinstance(effect, Call) and self.calls is not None:
            self.calls.start(effect, self.command)
        elif isinstance(effect, CancelCall) and self.calls is not None:
            self.calls.cancel(effect.id)
        else:
            raise TypeError(
                f"the machine of {node.name} returned {effect!r}, which is no effect; effects are Send (or a plain "
                "tuple of its three parts, to, kind and payload), SetTimer, CancelTimer, Persist, Sync, Decide and Observe, "
                "and Call and CancelCall in a pattern that has functions."
            )

    def _unsynced_send(self, to: str, kind: str) -> None:
        node = self._node
        node.fabric.note(
            "observe", node, {"fact": "unsynced_send", "to": to, "kind": kind, "channel": self._channel}
        )

    def _arm(self, effect: SetTimer) -> None:
        name, delay_ns, spread_ns, background = effect
        fabric = self._fabric
        world = fabric.world
        if delay_ns + spread_ns > fabric.longest_timer_ns:
            fabric.longest_timer_ns = delay_ns + spread_ns
        if spread_ns:
            delay_ns += self._spread_ns(name, spread_ns)
        if world.skewed:
            delay_ns = self._node.clock.true_delay_ns(delay_ns)
        due_ns, number = world.now_ns + delay_ns, next(world.numbers)
        timer = self._timers.get(name)
        if timer is not None:
            # Timers of a life that is over are disarmed with it: this one is of the present life.
            if timer.scheduled and timer.event_ns < due_ns and timer.background is background:
                timer.due_ns, timer.number = due_ns, number
                return
            self._disarm(name)
        timer = self._timers[name] = _Timer(name, self._node.life, background, due_ns, number)
        if background:
            world.background += 1
        heappush(world.events, (due_ns, number, self._fired, timer))

    def _spread_ns(self, name: str, spread_ns: int) -> int:
        """Choose inside the spread: calm is rank x step, so that equal agents do not stay in step for ever."""
        draw = self._spreads.get(name)
        if draw is None:
            stem = f"timer {self._node.name}/{name}"
            draw = self._spreads[name] = self._node.fabric.choices.every(stem, Span(_STEPS_OF_SPREAD - 1))
        part = (self._rank * _STEPS_OF_SPREAD // self._ranks + draw()) % _STEPS_OF_SPREAD
        return spread_ns * part // _STEPS_OF_SPREAD

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is None:
            return
        timer.armed = False
        if timer.scheduled:  # otherwise it is due, and waits for its paused node
            world = self._fabric.world
            if timer.background:
                world.background -= 1  # it counts again as a cancelled one
            world.timer_cancelled()

    def _fired(self, timer: _Timer) -> None:
        timer.scheduled = False
        if not timer.armed:
            self._fabric.world.timer_discarded()
            return
        if timer.due_ns > timer.event_ns:
            timer.scheduled, timer.event_ns = True, timer.due_ns
            heappush(self._fabric.world.events, (timer.due_ns, timer.number, self._fired, timer))
            return
        if timer.background:
            self._fabric.world.background -= 1
        self._on_timer(timer)
