"""Noise that aims: whoever says that it leads, or owns something, is crashed, paused or cut off soon after.

What an agent says of itself are the facts that it observes (``agent.observe("leader", term=3)``). The agents that may act
alone are the ones whose sudden absence, or return, a protocol has to survive, and a uniform choice among agents and instants
hardly ever hits them at the right moment.

Each run has a *manner* of its own (as in swarm testing, Groce et al. 2012): in which ways it strikes, how soon, and whether
an agent that is cut off crashes too. What takes the same thing several times in a row is hardly ever met where every strike
is drawn by itself. Figure 8 of the Raft paper is three leaders in a row: one is cut off when some have its entry, one before
anybody has, one when it has just committed; and the second comes back as the third goes. So half of the runs *hunt*:

1. They only cut off, and whoever takes up a role is the next one, so each is cut off while the one before comes back.
2. That happens at once, a few steps later, or right after something that it says in that role: that is when it has done what
   others do not know of yet.
3. It lasts long, because the next one ends it (see :mod:`.isolating`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from pytest_convergence._engine.base.choices import Stream
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence._engine.sim.faults import ISOLATE, Partitions

__all__ = ["ACTS_ALONE", "Targeting"]

ACTS_ALONE: Final = frozenset({"leader", "own", "taken", "award", "ballot"})
"""Facts by which an agent says that it may act for others: it leads, owns a work, awards one, or proposes in a ballot."""

_ACTS_NO_MORE: Final = frozenset({"follow", "step_down", "release", "finished"})

_ODDS: Final = 0.7
_ODDS_LATER: Final = 0.1
_ODDS_OF_ISOLATION: Final = 0.5
_MOST_STRIKES: Final = 20
_LONGEST_STEPS: Final = 200
_LONGEST_TICKS: Final = 20
_LONGEST_CUT_NS: Final = 4_000_000_000
_WITH_A_FRIEND: Final = 0.3
_SOON_STEPS: Final = 6
_CRASHES_TOO: Final = (0.0, 0.5, 1.0)
_AT_ONCE: Final = 1 / 3
_SOON: Final = 1 / 3
_ODDS_AT_A_FACT: Final = 0.5
_MS: Final = 1_000_000


@final
class Targeting:
    """Watches for agents that may act alone, and plans a fault for each."""

    __slots__ = (
        "_acting",
        "_crashes_too",
        "_fabric",
        "_hunts",
        "_left",
        "_longest",
        "_names",
        "_partitions",
        "_random",
        "_ways",
    )

    def __init__(
        self,
        fabric: Fabric,
        names: list[str],
        kinds: frozenset[str],
        partitions: Partitions | None,
        stream: Stream,
    ) -> None:
        self._fabric = fabric
        self._names = names
        self._partitions = partitions
        self._random = random = stream.random
        self._left = _MOST_STRIKES
        self._ways: list[str] = [kind for kind in ("crash", "pause") if kind in kinds]
        cuts = partitions is not None and len(names) > 1
        if cuts:
            self._ways += ["partition"] * 2  # the way that finds most: it goes on acting, and comes back
        self._longest = _LONGEST_STEPS
        self._crashes_too = 0.0
        self._hunts = False
        self._acting: set[str] = set()
        if cuts and random() < _ODDS_OF_ISOLATION:
            self._ways, self._hunts = [ISOLATE], True
            self._longest = _SOON_STEPS
            self._crashes_too = _CRASHES_TOO[int(random() * len(_CRASHES_TOO))]
        if self._ways:
            fabric.watchers.setdefault("observe", []).append(self._watch)

    def _watch(self, event: TraceEvent) -> None:
        detail = event.detail
        if not isinstance(detail, Mapping) or not self._left:
            return
        agent, fact = event.agent, detail.get("fact")
        takes_over = fact in ACTS_ALONE
        if takes_over:
            self._acting.add(agent)
        elif agent not in self._acting:
            return
        if fact in _ACTS_NO_MORE:
            self._acting.discard(agent)
        if self._hunts:
            self._hunt(agent, fact, takes_over)
        elif self._random() < (_ODDS if takes_over else _ODDS_LATER):
            # Later ones while it acts, at whatever it says: it has written, it has heard from others.
            self._strike(agent)

    def _hunt(self, agent: str, fact: Any, takes_over: bool) -> None:
        """Cut an agent off for what it has just said, or wait for what it says next."""
        u = self._random()
        if takes_over and u < _AT_ONCE:
            self._strike(agent, 0)
        elif takes_over and u < _AT_ONCE + _SOON:
            self._strike(agent)
        elif not takes_over and fact not in _ACTS_NO_MORE and u < _ODDS_AT_A_FACT:
            self._strike(agent, 0)

    def _strike(self, agent: str, steps: int | None = None) -> None:
        random = self._random
        self._left -= 1
        way = self._ways[int(random() * len(self._ways))]
        if way == "partition":
            self._cut_off(agent)
            return
        node = self._fabric.nodes[agent]
        if node.plan is None:
            return
        steps = self._steps() if steps is None else steps
        node.plan.strike(node.life, way, random(), steps)
        if not self._hunts:
            return
        self._acting.discard(agent)
        if random() < self._crashes_too:
            # What it has written then is known to nobody, and it comes back as one who wants to lead again.
            node.plan.strike(node.life, "crash", random(), steps + 1 + self._steps())

    def _steps(self) -> int:
        """How many steps a fault waits: few are likelier than many."""
        return int(self._longest ** self._random()) - 1

    def _cut_off(self, agent: str) -> None:
        random = self._random
        group = [agent]
        others = [name for name in self._names if name != agent]
        if len(others) > 1 and random() < _WITH_A_FRIEND:
            group.append(others[int(random() * len(others))])
        duration_ns = int(50 * _MS * (_LONGEST_CUT_NS / (50 * _MS)) ** random())
        assert self._partitions is not None
        self._partitions.strike(group, int(_LONGEST_TICKS ** random()), duration_ns)
