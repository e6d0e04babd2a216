"""Which agents stay down when the faults stop: the others, a live quorum, must make progress without them.

A protocol that comes to its result only because everybody was healed in the end may still wait, in truth, for an agent that
never comes back. So a schedule may freeze a minority for good (the "liveness mode" of TigerBeetle's simulator: pick a core,
heal only that, freeze the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final, final

__all__ = ["Freeze"]

_MOST_NAMES: Final = 12
"""Groups are formed among the first so many agents."""


@final
class Freeze:
    """A domain: 0 for nobody, n for the n-th group of at most ``most`` of the agents, the smaller ones first.

    Args:
        odds: that somebody stays down.
    """

    def __init__(self, names: Sequence[str], most: int, odds: float) -> None:
        self._odds = odds
        self._groups = [
            group for size in range(1, most + 1) for group in combinations(names[:_MOST_NAMES], size)
        ]

    def decode(self, u: float) -> int:
        """Map ``u`` to a group."""
        if u < 1 - self._odds:
            return 0
        return 1 + int((u - (1 - self._odds)) / self._odds * len(self._groups)) % len(self._groups)

    def group(self, option: int) -> tuple[str, ...]:
        """Who stays down."""
        return self._groups[(option - 1) % len(self._groups)] if option else ()

    def describe(self, option: int) -> str:
        """Say it in words."""
        return f"{', '.join(self.group(option))} down for good when the faults stop"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Each single member of the group alone."""
        group = self.group(option)
        alone = [self._groups.index((name,)) + 1 for name in group]
        return tuple(alone) if len(group) > 1 else ()
