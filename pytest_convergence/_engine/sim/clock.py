"""The clock of one agent, which may be wrong: ahead or behind by an offset, fast or slow by a drift."""

from __future__ import annotations

import math
from typing import final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["NodeClock"]


@final
class NodeClock:
    """Maps true virtual time to what one agent reads.

    Attributes:
        offset_ns: how far the wall clock is ahead (negative: behind).
        drift: how much faster it runs; 0.001 gains a millisecond each second.
    """

    __slots__ = ("_anchor_local_ns", "_anchor_true_ns", "drift", "offset_ns")

    def __init__(self) -> None:
        self.offset_ns = 0
        self.drift = 0.0
        self._anchor_true_ns = 0
        self._anchor_local_ns = 0

    def skew(self, now_ns: int, *, offset_seconds: float, drift: float) -> None:
        """Set offset and drift from ``now_ns`` on; the monotonic clock stays continuous.

        Raises:
            ConvergenceUsageError: ``drift`` would stop the clock or turn it back, or ``offset_seconds`` is not finite.
        """
        if not math.isfinite(offset_seconds):
            raise ConvergenceUsageError(f"offset must be a finite number of seconds, not {offset_seconds!r}.")
        if not -1 < drift < 1000:
            raise ConvergenceUsageError(
                f"drift must be greater than -1 (a clock that stands still), not {drift!r}."
            )
        self._anchor_local_ns = self.monotonic_ns(now_ns)
        self._anchor_true_ns = now_ns
        self.offset_ns = round(offset_seconds * NS_PER_SECOND)
        self.drift = drift

    def monotonic_ns(self, now_ns: int) -> int:
        """What the agent's monotonic clock reads at true time ``now_ns``: drifting, never set."""
        elapsed_ns = now_ns - self._anchor_true_ns
        return self._anchor_local_ns + elapsed_ns + int(elapsed_ns * self.drift)

    def wall_ns(self, now_ns: int) -> int:
        """What the agent's wall clock reads at true time ``now_ns``, in nanoseconds since the run began."""
        return self.monotonic_ns(now_ns) + self.offset_ns

    def true_ns(self, local_ns: int) -> int:
        """When, in true time, the monotonic clock will read ``local_ns``."""
        return self._anchor_true_ns + round((local_ns - self._anchor_local_ns) / (1 + self.drift))

    def true_delay_ns(self, delay_ns: int) -> int:
        """How long, in true time, a delay of ``delay_ns`` on this clock takes."""
        return delay_ns if not self.drift else round(delay_ns / (1 + self.drift))
