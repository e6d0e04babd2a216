"""Noise that aims: whoever says that it leads, or owns something, is crashed, paused or cut off soon after.

What an agent says of itself are the facts that it observes (``agent.observe("leader", term=3)``). The agents that may act
alone are the ones whose sudden absence, or return, a protocol has to survive, and a uniform choice among agents and instants
hardly ever hits them at the right moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from pytest_convergence._engine.base.choices import Stream
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence._engine.sim.faults import Partitions

__all__ = ["ACTS_ALONE", "Targeting"]

ACTS_ALONE: Final = frozenset({"leader", "own", "taken", "award", "ballot"})
"""Facts by which an agent says that it may act for others: it leads, owns a work, awards one, or proposes in a ballot."""

_ODDS: Final = 0.7
_MOST_STRIKES: Final = 12
_LONGEST_STEPS: Final = 200
_LONGEST_TICKS: Final = 20
_LONGEST_CUT_NS: Final = 4_000_000_000
_WITH_A_FRIEND: Final = 0.3
_MS: Final = 1_000_000


@final
class Targeting:
    """Watches for agents that may act alone, and plans a fault for each."""

    __slots__ = ("_fabric", "_left", "_names", "_partitions", "_random", "_ways")

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
        self._random = stream.random
        self._left = _MOST_STRIKES
        self._ways: list[str] = [kind for kind in ("crash", "pause") if kind in kinds]
        if partitions is not None and len(names) > 1:
            self._ways += ["partition"] * 2  # the way that finds most: it goes on acting, and comes back
        if self._ways:
            fabric.watchers.setdefault("observe", []).append(self._watch)

    def _watch(self, event: TraceEvent) -> None:
        detail = event.detail
        if not isinstance(detail, Mapping) or detail.get("fact") not in ACTS_ALONE:
            return
        random = self._random
        if not self._left or random() > _ODDS:
            return
        self._left -= 1
        way = self._ways[int(random() * len(self._ways))]
        if way == "partition":
            self._cut_off(event.agent)
            return
        node = self._fabric.nodes[event.agent]
        if node.plan is not None:
            node.plan.strike(node.life, way, random(), int(_LONGEST_STEPS ** random()) - 1)

    def _cut_off(self, agent: str) -> None:
        random = self._random
        group = [agent]
        others = [name for name in self._names if name != agent]
        if len(others) > 1 and random() < _WITH_A_FRIEND:
            group.append(others[int(random() * len(others))])
        duration_ns = int(50 * _MS * (_LONGEST_CUT_NS / (50 * _MS)) ** random())
        assert self._partitions is not None
        self._partitions.strike(group, int(_LONGEST_TICKS ** random()), duration_ns)
