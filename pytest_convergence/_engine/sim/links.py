"""A link carries the messages of one agent to another. This is the hot path: posting and arriving.

Every message asks the schedule for its fate once. A link without rules, with a message that is on time, costs one draw,
one heap push and one trace record. Everything else happens in the slow paths below.
"""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import InFlight, Message, snapshot
from pytest_convergence._engine.base.trace import AGENT_SHIFT, DUPLICATE, HELD, LOST, SEND
from pytest_convergence._engine.sim.conditions import DUPLICATED, OVERTAKEN
from pytest_convergence._engine.sim.conditions import LOST as FATE_LOST

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.node import Node
    from pytest_convergence._engine.sim.rules import Rule

__all__ = ["Link"]

@final
class Link:
    """From ``source`` to ``target``.

    Attributes:
        number: how many messages were posted.
        cut: whether a partition lies across the link.
        rules: the rules that apply to it, oldest first.
    """

    __slots__ = (
        "_arrive",
        "_arrive_background",
        "_base_ns",
        "_fabric",
        "_fate",
        "_last_ns",
        "_next_sequence",
        "_sent",
        "_source",
        "_target",
        "_world",
        "cut",
        "number",
        "rules",
        "source",
        "target",
    )

    def __init__(self, fabric: Fabric, source: Node, target: Node) -> None:
        self._fabric = fabric
        self._world = fabric.world
        self._next_sequence = fabric.world.sequence
        self.source = source
        self.target = target
        self._source = source.name
        self._target = target.name
        self.number = 0
        self._last_ns = 0
        self._base_ns = fabric.base_ns
        self._fate = fabric.choices.every(f"deliver {source.name}→{target.name}", fabric.fates)
        self._sent = SEND | source.index << AGENT_SHIFT
        self._arrive = self.arrive  # bound once
        self._arrive_background = self.arrive_background
        self.cut = False
        self.rules: tuple[Rule, ...] = ()

    def calm_down(self) -> None:
        """From now on every message of this link is on time."""
        self._fate = _on_time

    # -- sending -------------------------------------------------------------------------------------------------

    def post(self, payload: Any, kind: str, channel: str = "user", reply_to: int | None = None) -> InFlight:
        """Send a message; ``payload`` must already be a snapshot."""
        fabric, world = self._fabric, self._world
        self.number = number = self.number + 1
        fabric.uid = uid = fabric.uid + 1
        now_ns = world.now_ns
        message: InFlight = (self._source, self._target, payload, kind, number, now_ns, uid, reply_to, channel)
        record = fabric.record
        if record is not None:
            record((now_ns, self._sent, uid))
            fabric.keep(message)
        fate = self._fate()
        if fate & 3 or self.rules or channel != "user":
            self._post_slowly(Message._make(message), fate)
            return message
        at_ns = now_ns + self._base_ns + (fate >> 2)
        if at_ns < self._last_ns:
            at_ns = self._last_ns  # in order: a message that was not held up does not overtake
        else:
            self._last_ns = at_ns
        heappush(world.events, (at_ns, self._next_sequence(), self._arrive, message))
        return message

    def _post_slowly(self, message: Message, fate: int) -> None:
        fabric = self._fabric
        if message.channel != "user":
            fabric.protocol_sent += 1
        delay_ns = 0
        copies = 1
        for rule in self.rules:
            verdict = rule.judge(message)
            if verdict is None:
                continue
            if verdict == "drop":
                fabric.lose(self, message)
                return
            if verdict == "hold":
                rule.keep(self, message, fate)
                fabric.mark(HELD, self.source, message)
                return
            delay_ns += rule.delay_ns
            copies += rule.copies
        self.launch(message, fate, delay_ns, copies)

    def launch(self, message: Message, fate: int, delay_ns: int = 0, copies: int = 1) -> None:
        """Put a message on its way with a fate; also what releasing a held message does."""
        kind, extra_ns = fate & 3, fate >> 2
        fabric, world = self._fabric, self._world
        if kind == FATE_LOST:
            fabric.lose(self, message)
            return
        at_ns = world.now_ns + self._base_ns + delay_ns
        if kind == OVERTAKEN:
            at_ns += extra_ns
        else:
            if kind != DUPLICATED:
                at_ns += extra_ns
            if at_ns < self._last_ns and not delay_ns:
                at_ns = self._last_ns
            elif not delay_ns:
                self._last_ns = at_ns
        self._push(at_ns, message)
        if kind == DUPLICATED:
            self._duplicate(at_ns + extra_ns, message)
        for copy in range(1, copies):
            self._duplicate(at_ns + copy * max(self._base_ns, 1), message)

    def _duplicate(self, at_ns: int, message: Message) -> None:
        self._fabric.duplicated += 1
        self._fabric.mark(DUPLICATE, self.source, message)
        # The recipient may change the payload that it is given: a copy is a snapshot of its own.
        self._push(at_ns, message._replace(payload=snapshot(message.payload)))

    def _push(self, at_ns: int, message: Message) -> None:
        if message.channel == "user":
            self._world.at(at_ns, self._arrive, message)
        else:
            self._world.background += 1
            self._world.at(at_ns, self._arrive_background, message)

    # -- arriving ------------------------------------------------------------------------------------------------

    def arrive(self, message: InFlight) -> None:
        """Hand a message to its recipient, if there is a way and somebody to take it."""
        target = self.target
        if target.life.fuse and not self.cut:
            target.receivers[message[8]](message)
        else:
            self._arrive_slowly(message)

    def _arrive_slowly(self, message: InFlight) -> None:
        """The fuse of a life that is dead or paused is 0."""
        target = self.target
        if self.cut or not target.life.alive:
            self._fabric.lose(self, message)
        else:
            target.deferred.append((self._arrive, message))

    def arrive_background(self, message: InFlight) -> None:
        """The same for a message of a protocol, which does not keep the world awake."""
        self._world.background -= 1
        self.arrive(message)


def _on_time() -> int:
    return 0
