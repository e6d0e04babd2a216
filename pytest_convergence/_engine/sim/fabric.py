"""The fabric of one session: its nodes, its links, its trace, and the choices that decide their fates."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from pytest_convergence._engine.base.choices import Choices
from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.base.noise import STEADY, Noise
from pytest_convergence._engine.base.trace import (
    AGENT_SHIFT,
    CODE,
    DEFAULT_WINDOW,
    LOST,
    Aside,
    Trace,
    TraceEvent,
)
from pytest_convergence._engine.sim.conditions import FateDomain, Network
from pytest_convergence._engine.sim.links import ON_TIME, Link, answers
from pytest_convergence._engine.sim.node import NEVER, Node
from pytest_convergence._engine.sim.turns import Sequencer, Turnstile
from pytest_convergence._engine.sim.world import World

if TYPE_CHECKING:
    from pytest_convergence._engine.base.directing import Director
    from pytest_convergence._engine.sim.faults import StepPlan
    from pytest_convergence._engine.sim.loop import WorldLoop
    from pytest_convergence._engine.sim.net.directory import Directory
    from pytest_convergence._engine.sim.rules import Rule
    from pytest_convergence._engine.sim.tasks import WorldTask

__all__ = ["Fabric"]

_ON_TIME: Final = FateDomain(Network())
"""The fates of a network that has calmed down: there is but one."""

_event: Final = tuple.__new__
"""``_event(TraceEvent, parts)`` is ``TraceEvent(*parts)`` without a call of Python's in between."""

Watch: TypeAlias = "Callable[[TraceEvent], None]"


@final
class Fabric:
    """Nodes and what connects them.

    Attributes:
        record: appends an event to the trace; ``None`` while the trace is off.
        keep: appends a message to the trace.
        uid: how many messages were sent.
        lost, duplicated, protocol_sent: counters of messages.
        longest_timer_ns: the longest timer that a machine has armed so far.
        seed: what the private entropy of its agents derives from.
        closed: whether the session is over: nothing of it moves or is recorded any more.
        cuts: whether a partition is in force.
        directory: who has which address, once somebody has opened a socket.
        is_calm: whether the schedule has stopped to inject faults.
        sequencer: what carries out an order of deliveries that is laid down; ``None`` where the network decides.
        shared_fate: what decides the fate of a message where links need no labels of their own.
        views_watched: whether somebody waits for a machine's view to change.
        watchers: called with each event that has a detail, by kind; what properties are fed from.
    """

    __slots__ = (
        "_entropy",
        "asides",
        "base_ns",
        "choices",
        "closed",
        "conditions",
        "cuts",
        "directory",
        "duplicated",
        "fates",
        "hear_cancel",
        "is_calm",
        "keep",
        "longest_timer_ns",
        "loop",
        "lost",
        "may_try",
        "names",
        "nodes",
        "protocol_sent",
        "record",
        "rules",
        "seed",
        "sequencer",
        "shared_fate",
        "trace",
        "tracing",
        "uid",
        "views_watched",
        "watchers",
        "world",
    )

    loop: WorldLoop

    def __init__(
        self,
        world: World,
        choices: Choices,
        conditions: Network,
        *,
        seed: int = 0,
        noise: Noise = STEADY,
        trace: bool = True,
        window: int = DEFAULT_WINDOW,
    ) -> None:
        self.world = world
        self.choices = choices
        self.conditions = conditions
        self.base_ns = conditions.least_ns
        self.fates = FateDomain(conditions, noise)
        shared: Callable[[FateDomain], Callable[[], int]] | None = getattr(choices, "shared", None)
        self.shared_fate: Iterator[int] | None = None if shared is None else answers(shared(self.fates))
        director: Director | None = getattr(choices, "director", None)
        self.sequencer = None if director is None else Sequencer(self, director)
        self.nodes: dict[str, Node] = {}
        self.rules: list[Rule] = []
        self.seed = seed
        self._entropy: dict[str, random.Random] = {}
        self.names: list[str] = []
        self.trace = Trace(self.names, window=window)
        self.uid = 0
        self.lost = 0
        self.duplicated = 0
        self.protocol_sent = 0
        self.closed = False
        self.cuts = False
        self.is_calm = False
        self.directory: Directory | None = None
        self.views_watched = False
        self.longest_timer_ns = 0
        self.watchers: dict[str, list[Watch]] = {}
        self.may_try: dict[str, frozenset[str]] = {}  # whose program, "" for all -> refused calls
        self.asides: list[Aside] | None = None
        self.hear_cancel: Callable[[WorldTask, Any], bool] | None = None
        self.tracing = trace
        self.record: Callable[[tuple[int, int, int]], None] | None = self.trace._log.extend if trace else None
        self.keep: Callable[[InFlight], None] = self.trace._messages.append
        world.closers.append(self.close)
        if trace:
            world.upkeep.append(self.trace.flush)

    def add_node(self, name: str, plan: StepPlan | None = None) -> Node:
        """Add a node; names are unique."""
        node = Node(self, name, len(self.names), plan)
        self.names.append(name)
        self.nodes[name] = node
        return node

    def entropy(self, name: str) -> random.Random:
        """Return the private random stream of an agent, derived from the session's seed and its name."""
        stream = self._entropy.get(name)
        if stream is None:
            # A string seed is hashed with SHA-512 by random itself: independent of PYTHONHASHSEED.
            stream = self._entropy[name] = random.Random(f"{self.seed}/{name}")
        return stream

    def close(self) -> None:
        """The session is over: what is left of its agents' code can do nothing, what is under way arrives nowhere.

        Another session may go on in the same world, so events of this one may still come up.
        """
        self.closed = True
        if self.sequencer is not None:
            self.sequencer.close()
        self.record = None
        self.tracing = False
        self.watchers.clear()
        for node in self.nodes.values():
            node.routes.clear()
            node.deferred.clear()
            node.plan = None
            node.on_crash = node.on_restart = ()
            node.take = _arrive_nowhere
            node.life.fuse = 0  # no short ways: what still arrives is looked at, and goes nowhere
            node.receivers = dict.fromkeys(node.receivers, _arrive_nowhere)
        world = self.world
        if self.close in world.closers:
            world.closers.remove(self.close)
        if self.trace.flush in world.upkeep:
            world.upkeep.remove(self.trace.flush)

    def link(self, source: Node, target_name: str) -> Link:
        """Return the link from ``source`` to the node ``target_name``, made at its first use."""
        return source.links.get(target_name) or self.new_link(source, target_name)

    def new_link(self, source: Node, target_name: str) -> Link:
        """Make that link."""
        target = self.nodes[target_name]
        link = source.links[target_name] = Link(
            self, source, target if self.sequencer is None else self.sequencer.before(target)
        )
        if self.rules:
            self._apply(link)
        return link

    def links(self) -> Iterable[Link]:
        """Every link that was used."""
        for node in self.nodes.values():
            yield from node.links.values()

    # -- rules ---------------------------------------------------------------------------------------------------

    def rules_changed(self) -> None:
        """Tell every link which rules apply to it now."""
        self.cuts = any(rule.cuts for rule in self.rules)
        for link in self.links():
            self._apply(link)

    def _apply(self, link: Link) -> None:
        matching = [rule for rule in self.rules if rule.covers(link.source.name, link.target.name)]
        link.cut = any(rule.cuts for rule in matching)
        link.rules = tuple(rule for rule in matching if not rule.cuts)

    def connected(self, one: str, other: str) -> bool:
        """Whether messages can go both ways between two nodes, as far as partitions and full drops are concerned."""
        return not any(
            rule.severs and (rule.covers(one, other) or rule.covers(other, one)) for rule in self.rules
        )

    def calm_down(self) -> None:
        """No more faults of the schedule's own: links that exist and links to come deliver on time."""
        self.is_calm = True
        if self.sequencer is not None:
            self.sequencer.note_steps()
        if self.shared_fate is None:
            for link in self.links():
                link.calm_down()
        else:
            self.fates.calm_down()  # all links have theirs from there, and there may be a million
        self.fates = _ON_TIME
        self.shared_fate = ON_TIME
        for node in self.nodes.values():
            if node.plan is not None:
                node.plan = None
                if node.life.alive and not node.life.holds:
                    node.life.fuse = NEVER

    # -- the trace -----------------------------------------------------------------------------------------------

    def watch(self, kinds: Iterable[str], watch: Watch) -> None:
        """Call ``watch`` with each event of these kinds from now on, after those who watch already."""
        watchers = self.watchers
        for kind in kinds:
            watchers.setdefault(kind, []).append(watch)

    def note(self, kind: str, node: Node, detail: Any) -> None:
        """Record an event with a detail, and show it to whoever watches this kind."""
        if self.tracing:
            self.trace.add(self.world.now_ns, CODE[kind], node.index, detail)
        watchers = self.watchers.get(kind)
        if watchers:
            event = _event(TraceEvent, (-1, self.world.now_ns, kind, node.name, None, detail))
            for watch in watchers:
                watch(event)

    def mark(self, code: int, node: Node | Turnstile, message: InFlight) -> None:
        """Record an event about a message."""
        if self.record is not None:
            self.record((self.world.now_ns, code | node.index << AGENT_SHIFT, message[6]))

    def lets_try(self, name: str, call: str) -> bool:
        """Whether the program of ``name`` may try a refused call: it fails, and the session does not."""
        return any(call in self.may_try.get(whose, ()) for whose in ("", name))

    def under_way(self) -> int:
        """How many messages of this session, copies included, have neither arrived nor been lost."""
        # Events are (instant, number, function, argument), and a message is the argument of its arrival at something of
        # the fabric on whose links it is. Other sessions of the same world may have agents of the same names.
        arrivals = [
            take for _, _, take, each in self.world.events if isinstance(each, tuple) and len(each) == 9
        ]
        held = sum([rule.holding for rule in self.rules])
        return held + len([take for take in arrivals if self.owns(take)])

    def owns(self, function: Callable[[Any], object]) -> bool:
        """Whether what an event calls is something of this fabric, and not of another session in the same world."""
        where = getattr(function, "__self__", None)
        return (getattr(where, "fabric", None) or getattr(where, "_fabric", None)) is self

    def lose(self, link: Link, message: InFlight) -> None:
        """A message will not arrive."""
        self.lost += 1
        self.mark(LOST, link.target, message)
        if message[8] == "net" and link.source.stack is not None:
            link.source.stack.lost(message[2])


def _arrive_nowhere(_: InFlight) -> None:
    """The session is over."""
