"""Cutting an agent off exactly at one of its steps: a partition that is addressed as a crash is.

Partitions at times begin on a grid, and what an agent sends when it changes its role has arrived long before the next one.
The rare failures of replication need the opposite: a leader that acts, and whom nobody hears. (In figure 8 of Ongaro and
Ousterhout, "In search of an understandable consensus algorithm", 2014, that happens three times in a row.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.choices import smaller
from pytest_convergence._engine.base.time import format_ns

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.rules import Rule

__all__ = ["Isolation", "Isolations"]

_MS: Final = 1_000_000
_LEAST_MS: Final = 50
_GREATEST_MS: Final = 4_000
_ALONE: Final = 0.7
"""Odds that nobody is cut off together with the agent."""
_LONGEST_OF: Final = 3
"""How long it lasts is distributed like the longest of so many times that are drawn: the next one ends it in any case."""


@final
class Isolation:
    """With whom an agent is cut off, and for how long: ``1 + companion + companions * milliseconds``.

    Args:
        others: whom it may be cut off with; one of them, or nobody.
    """

    def __init__(self, others: Sequence[str]) -> None:
        self._others = others
        self._ways = 1 + len(others)

    def decode(self, u: float) -> int:
        if u < _ALONE or len(self._others) < 2:  # the last one cannot be on both sides
            way, u = 0, u / (_ALONE if len(self._others) > 1 else 1)
        else:
            scaled = (u - _ALONE) / (1 - _ALONE) * len(self._others)
            way, u = 1 + int(scaled), scaled % 1
        return 1 + way + self._ways * int(_LEAST_MS * (_GREATEST_MS / _LEAST_MS) ** u ** (1 / _LONGEST_OF))

    @property
    def longest_ns(self) -> int:
        """Noise makes short ones; what is thought out may last as long as anybody wants."""
        return sys.maxsize

    def lasting(self, duration_ns: int) -> tuple[int, ...]:
        """Name the options of that length: alone, and with each of the others."""
        ways = range(self._ways if len(self._others) > 1 else 1)
        return tuple(1 + way + self._ways * max(1, duration_ns // _MS) for way in ways)

    def companions(self, option: int) -> list[str]:
        way = (option - 1) % self._ways
        return [self._others[way - 1]] if way else []

    def duration_ns(self, option: int) -> int:
        return max(1, (option - 1) // self._ways) * _MS

    def describe(self, option: int) -> str:
        together = "".join(f"and {name} " for name in self.companions(option))
        return f"{together}cut off for {format_ns(self.duration_ns(option))}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Alone, then for a shorter time."""
        length, way = divmod(option - 1, self._ways)
        alone = [1 + self._ways * length] if way else []
        shorter = [1 + way + self._ways * each for each in smaller(length)]
        return tuple(sorted({each for each in alone + shorter if each < option}))


@final
class Isolations:
    """Those of one run; a new one ends the one before, and whoever was cut off by that comes back.

    Args:
        names: of all agents.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._rule: Rule | None = None
        self._stopped = len(names) < 2

    def domain(self, agent: str) -> Isolation:
        """Return what may become of ``agent``."""
        return Isolation([name for name in self._names if name != agent])

    def begin(self, fabric: Fabric, agent: str, domain: Isolation, option: int) -> None:
        """Cut an agent off from now on."""
        if self._stopped:
            return
        from pytest_convergence._engine.sim.rules import NetworkControl

        self._end(self._rule)
        group = [agent, *domain.companions(option)]
        rule = NetworkControl(lambda: fabric, lambda: self._names).partition(group)
        self._rule = rule
        world = fabric.world
        world.inert += 1  # when nothing else is left to happen, its end changes nothing
        world.at_background(world.now_ns + domain.duration_ns(option), self._end_in_time, (fabric, rule))

    def _end_in_time(self, what: tuple[Fabric, Any]) -> None:
        fabric, rule = what
        fabric.world.inert -= 1
        self._end(rule)

    def _end(self, rule: Rule | None) -> None:
        if rule is not None and rule is self._rule:
            rule.heal()
            self._rule = None

    def stop(self) -> None:
        """No more of them; end the one that lasts."""
        self._end(self._rule)
        self._stopped = True
