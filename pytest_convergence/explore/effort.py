"""How much the reduction of a failure has cost, and which part of it may be spent on what.

Each pass of a reduction has its share. Were that a share of real time, a slow or busy machine would leave off earlier,
and come to another counterexample for the same seed. So what is counted is *simulated work*, which is the same everywhere:
the steps that agents took, and something for each run. A second stands for what even a slow machine does in one. Real time
is the outer bound, for programs that take long over a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

__all__ = ["Effort", "MayGoOn"]

MayGoOn = Callable[[], bool]
"""Tells whether there is something left of a share."""
_PER_SECOND: Final = 10_000
"""So many steps of agents stand for a second: a processor of a small virtual machine takes up to three times as many."""
_PER_RUN: Final = 100
"""So many stand for what a run takes to begin and to end."""

_SLOWER: Final = 1.5
"""A share may take so many times as long in real time, where steps take longer than is thought."""
_LATER: Final = 1.25
"""So many times as late as thought, what follows may begin."""
_BUT_THE_LAST: Final = 2 / 3
"""So much of the real time may be taken by all shares together; the rest is for what comes last."""


@final
class Effort:
    """What a reduction has cost so far, and may cost.

    Args:
        limit: real seconds for the whole of it.
        now: the real clock, in seconds.

    Attributes:
        runs: how many runs were made.
    """

    def __init__(self, limit: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._limit = limit
        self._now = now
        self._began = now()
        self._work = 0
        self.runs = 0

    @property
    def seconds(self) -> float:
        """Real seconds so far."""
        return self._now() - self._began

    @property
    def is_left(self) -> bool:
        """Whether the real time is not up."""
        return self.seconds < self._limit

    def ran(self, steps: int) -> None:
        """Count a run, of so many steps of agents."""
        self.runs += 1
        self._work += _PER_RUN + steps

    def part(self, share: float) -> MayGoOn:
        """Return what tells whether there is something left of that share of the whole, which begins now."""
        return self._bound(self._work + share * self._whole, self.seconds + _SLOWER * share * self._limit)

    def until(self, share: float) -> MayGoOn:
        """Return what tells whether less than that share of the whole was spent, from the very beginning on."""
        return self._bound(share * self._whole, _LATER * share * self._limit)

    def half_of_the_rest(self) -> MayGoOn:
        """Return what tells whether there is something left of half of what is left now."""
        work, seconds = (self._work + self._whole) / 2, (self.seconds + self._limit) / 2
        return lambda: self._work < work and self.seconds < seconds

    @property
    def _whole(self) -> float:
        return self._limit * _PER_SECOND

    def _bound(self, work: float, seconds: float) -> MayGoOn:
        seconds = min(seconds, _BUT_THE_LAST * self._limit)
        return lambda: self._work < work and self.seconds < seconds
