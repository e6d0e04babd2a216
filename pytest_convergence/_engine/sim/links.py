"""A link carries the messages of one agent to another. This is the hot path: posting (arriving is the node's part).

Every message asks the schedule for its fate once. A link without rules, with a message that is on time, costs one draw,
one heap push and one trace record. Everything else happens in the slow paths below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappush
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, final

from pytest_convergence._engine.base.messages import ATOMS, InFlight, Message, snapshot
from pytest_convergence._engine.base.trace import DUPLICATE, HELD
from pytest_convergence._engine.sim.conditions import DUPLICATED, OVERTAKEN
from pytest_convergence._engine.sim.conditions import LOST as FATE_LOST

if TYPE_CHECKING:
    from pytest_convergence._engine.base.packets import Packet
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.node import Node
    from pytest_convergence._engine.sim.rules import Rule
    from pytest_convergence._engine.sim.turns import Turnstile

__all__ = ["ON_TIME", "Held", "Link", "answers"]


class Held(NamedTuple):
    """A message that a rule keeps, its fate, and what the rules before have changed."""

    message: Message
    fate: int
    delay_ns: int
    copies: int


@final
class Link:
    """From ``source`` to ``target``.

    Attributes:
        number: how many messages were posted.
        cut: whether a partition lies across the link.
        rules: the rules that apply to it, oldest first.
    """

    # As small as can be: a session of a hundred agents has ten thousand links, and they are met at random.
    __slots__ = ("_fabric", "_fates", "_last_ns", "cut", "number", "rules", "source", "target")

    def __init__(self, fabric: Fabric, source: Node, target: Node | Turnstile) -> None:
        self._fabric = fabric
        shared = fabric.shared_fate
        self._fates: Iterator[int] = (
            answers(fabric.choices.every(f"deliver {source.name}→{target.name}", fabric.fates))
            if shared is None
            else shared
        )
        self._last_ns = 0
        self.source = source
        self.target = target
        self.number = 0
        self.cut = False
        self.rules: tuple[Rule, ...] = ()

    def calm_down(self) -> None:
        """From now on every message of this link is on time."""
        self._fates = ON_TIME

    # -- sending -------------------------------------------------------------------------------------------------

    def post(self, payload: Any, kind: str, channel: str = "user", reply_to: int | None = None) -> InFlight:
        """Send a message; ``payload`` must already be a snapshot."""
        fabric, target = self._fabric, self.target
        source, world = self.source, fabric.world
        self.number = number = self.number + 1
        fabric.uid = uid = fabric.uid + 1
        now_ns = world.now_ns
        message: InFlight = (source.name, target.name, payload, kind, number, now_ns, uid, reply_to, channel)
        record = fabric.record
        if record is not None:
            record((now_ns, source.sent_code, uid))
            # The recipient may change what it is given; the trace keeps what was sent.
            keep = fabric.keep  # a call straight from a slot is looked up like a method, each time anew
            keep(message if type(payload) in ATOMS else (*message[:2], snapshot(payload), *message[3:]))
        fate = next(self._fates)
        if fate & 3 or self.rules:
            self._post_slowly(Message._make(message), fate)
            return message
        at_ns = now_ns + fabric.base_ns + (fate >> 2)
        if at_ns < self._last_ns:
            at_ns = self._last_ns  # in order: a message that was not held up does not overtake
        else:
            self._last_ns = at_ns
        if channel == "user":
            take = target.take
        else:
            fabric.protocol_sent += 1
            world.background += 1
            take = target.take_upkeep
        heappush(world.events, (at_ns, next(world.numbers), take, message))
        return message

    def carry(self, packet: Packet, kind: str) -> None:
        """Send a packet of the sockets: as :meth:`post` does, without what packets have no need of."""
        fabric, target = self._fabric, self.target
        source, world = self.source, fabric.world
        self.number = number = self.number + 1
        fabric.uid = uid = fabric.uid + 1
        now_ns = world.now_ns
        message: InFlight = (source.name, target.name, packet, kind, number, now_ns, uid, None, "net")
        record = fabric.record
        if record is not None:
            record((now_ns, source.sent_code, uid))
            keep = fabric.keep  # as in post(); a packet never changes
            keep(message)
        fate = next(self._fates)
        if fate & 3 or self.rules:
            self.judge(Message._make(message), fate, self.rules)
            return
        at_ns = now_ns + fabric.base_ns + (fate >> 2)
        if at_ns < self._last_ns:
            at_ns = self._last_ns
        else:
            self._last_ns = at_ns
        heappush(world.events, (at_ns, next(world.numbers), target.arrive, message))

    def _post_slowly(self, message: Message, fate: int) -> None:
        fabric = self._fabric
        if message.channel != "user":
            fabric.protocol_sent += 1
        self.judge(message, fate, self.rules)

    def judge(
        self, message: Message, fate: int, rules: Iterable[Rule], delay_ns: int = 0, copies: int = 1
    ) -> None:
        """Let rules decide about a message, one after another; if none stops it, put it on its way.

        A message that a rule has held goes on here when the rule is healed: with what the rules before have changed, and
        those still to come.
        """
        fabric = self._fabric
        for rule in rules:
            verdict = rule.judge(message)
            if verdict is None:
                continue
            if verdict == "drop":
                fabric.lose(self, message)
                return
            if verdict == "hold":
                rule.keep(self, Held(message, fate, delay_ns, copies))
                fabric.mark(HELD, self.source, message)
                return
            delay_ns += rule.delay_ns
            copies += rule.copies
        self._launch(message, fate, delay_ns, copies)

    def _launch(self, message: Message, fate: int, delay_ns: int, copies: int) -> None:
        """Put a message on its way with a fate."""
        kind, extra_ns = fate & 3, fate >> 2
        fabric = self._fabric
        if kind == FATE_LOST:
            fabric.lose(self, message)
            return
        at_ns = fabric.world.now_ns + fabric.base_ns
        if kind == OVERTAKEN:
            at_ns += extra_ns
        else:
            if kind != DUPLICATED:
                at_ns += extra_ns
            at_ns = self._last_ns = max(at_ns, self._last_ns)
        # A rule's delay comes on top: what it delays by the same keeps its order, what it does not delay may overtake.
        at_ns += delay_ns
        self._push(at_ns, message)
        if kind == DUPLICATED:
            self._duplicate(at_ns + extra_ns, message)
        for copy in range(1, copies):
            self._duplicate(at_ns + copy * max(fabric.base_ns, 1), message)

    def _duplicate(self, at_ns: int, message: Message) -> None:
        self._fabric.duplicated += 1
        self._fabric.mark(DUPLICATE, self.source, message)
        # The recipient may change the payload that it is given: a copy is a snapshot of its own.
        self._push(at_ns, message._replace(payload=snapshot(message.payload)))

    def _push(self, at_ns: int, message: Message) -> None:
        world = self._fabric.world
        if message.channel == "user":
            world.at(at_ns, self.target.take, message)
        elif message.channel == "net":
            world.at(at_ns, self.target.arrive, message)
        else:
            world.background += 1
            world.at(at_ns, self.target.take_upkeep, message)


ON_TIME: Final = repeat(0)
"""The fates of a network that has calmed down."""


def answers(site: Callable[[], int]) -> Iterator[int]:
    """Return the answers of a site of choice as an iterator: to ask it costs half of what a call does."""
    own = getattr(site, "__self__", None)
    if own is not None and site == getattr(own, "__next__", None):
        return cast("Iterator[int]", own)
    return iter(site, None)
