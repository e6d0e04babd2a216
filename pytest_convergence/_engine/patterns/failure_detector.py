"""Has an agent failed, or is it only slow? Two detectors without a clock: the time is an argument.

* :class:`PhiAccrual` turns the silence since the last heartbeat into a suspicion level that keeps growing (Hayashibara,
  Défago, Yared, Katayama, "The φ accrual failure detector", SRDS 2004): φ = -log10 of the odds that a heartbeat comes
  later still, if intervals are normally distributed.
* :class:`Suspicion` is how long a suspect has to answer (Dadgar, Phillips, Currey, "Lifeguard: local health awareness
  for more accurate failure detection", DSN-W 2018, section IV.B; after SWIM, Das et al., DSN 2002): long while only
  one agent suspects, short when several do independently.

Times are in one unit of the caller's choice, the same for all of them.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, final

__all__ = ["PhiAccrual", "Suspicion", "normal_cdf", "phi"]

_NEVER: Final = 350.0
"""What φ is when the odds are too small for a float."""


def phi(elapsed: float, mean: float, deviation: float) -> float:
    """Return -log10 of the odds that a normally distributed interval is longer than ``elapsed``.

    The tail is approximated by a logistic function (error below 0.0003 of the probability), in a form that is exact to
    the last digits far out: the odds themselves would be 0 there.
    """
    y = (elapsed - mean) / deviation
    exponent = y * (1.5976 + 0.070566 * y * y)  # the odds are 1 / (1 + e^exponent)
    if exponent > 0:
        value = (exponent + math.log1p(math.exp(-exponent))) / math.log(10)
    elif exponent > -_NEVER:
        value = math.log1p(math.exp(exponent)) / math.log(10)
    else:
        value = 0.0
    return min(value, _NEVER)


def normal_cdf(value: float, mean: float, deviation: float) -> float:
    """Return the odds that a normally distributed number is at most ``value``, by the same approximation."""
    return float(1.0 - 10.0 ** -phi(value, mean, deviation))


@final
class PhiAccrual:
    """Suspicion of one agent from the times of its heartbeats.

    Args:
        threshold: the agent is available while φ is below it. 8 errs once in 10⁸ intervals, if they are normal.
        window: how many of the latest intervals count.
        first_estimate: the interval that is expected before any was seen; a quarter of it is the deviation.
        least_deviation: the smallest deviation that is believed in, so that regular heartbeats do not make it nervous.
        acceptable_pause: how much longer than usual a silence may be without any suspicion.
    """

    __slots__ = (
        "_intervals",
        "_last",
        "_pause",
        "_squares",
        "_sum",
        "_threshold",
        "_window",
        "least_deviation",
    )

    def __init__(
        self,
        *,
        threshold: float = 8.0,
        window: int = 100,
        first_estimate: float,
        least_deviation: float,
        acceptable_pause: float = 0.0,
    ) -> None:
        self._threshold = threshold
        self._pause = acceptable_pause
        self._window = window
        self.least_deviation = least_deviation
        self._last: float | None = None
        self._intervals: deque[float] = deque()
        self._sum = 0.0
        self._squares = 0.0
        spread = first_estimate / 4
        self.sample(first_estimate - spread)
        self.sample(first_estimate + spread)

    def sample(self, interval: float) -> None:
        """Take an interval into account; the oldest goes where the window is full."""
        if len(self._intervals) >= self._window:
            oldest = self._intervals.popleft()
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._intervals.append(interval)
        self._sum += interval
        self._squares += interval * interval

    def forget(self) -> None:
        """Forget all intervals."""
        self._intervals.clear()
        self._sum = self._squares = 0.0

    @property
    def mean(self) -> float:
        """The mean interval of the window."""
        return self._sum / len(self._intervals)

    @property
    def variance(self) -> float:
        """The variance of the intervals of the window."""
        return max(0.0, self._squares / len(self._intervals) - self.mean**2)

    def heartbeat(self, now: float) -> None:
        """The agent was heard. An interval in which it had been suspected is not taken for usual."""
        if self._last is not None and self.is_available(now):
            self.sample(now - self._last)
        self._last = now

    def phi(self, now: float) -> float:
        """Return the suspicion at ``now``: 0 before the first heartbeat."""
        if self._last is None:
            return 0.0
        deviation = max(math.sqrt(self.variance), self.least_deviation)
        return phi(now - self._last, self.mean + self._pause, deviation)

    def is_available(self, now: float) -> bool:
        """Whether the agent is not suspected."""
        return self.phi(now) < self._threshold


@final
class Suspicion:
    """How long a suspect has to answer.

    Args:
        since: when the suspicion began.
        expected: how many others are expected to confirm it, if it is true.
        shortest, longest: the time that it has when that many have, and when nobody has.
    """

    __slots__ = ("_confirmed", "_expected", "_longest", "_shortest", "_since")

    def __init__(self, since: float, *, expected: int, shortest: float, longest: float) -> None:
        self._since = since
        self._expected = expected
        self._shortest = shortest
        self._longest = longest if expected > 0 else shortest
        self._confirmed: set[str] = set()

    def confirm(self, agent: str) -> None:
        """Another agent suspects it too; each counts once."""
        self._confirmed.add(agent)

    @property
    def confirmations(self) -> int:
        """How many others suspect it."""
        return len(self._confirmed)

    def remaining(self, now: float) -> float:
        """Return how long the suspect still has; negative when its time is over."""
        if self._expected > 0:
            share = math.log(self.confirmations + 1) / math.log(self._expected + 1)
        else:
            share = 1.0
        given = max(self._shortest, self._longest - (self._longest - self._shortest) * share)
        return given - (now - self._since)
