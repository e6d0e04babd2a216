"""Random priorities for agents, after PCT.

Burckhardt, Kothari, Musuvathi, Nagarakatti: "A randomized scheduler with probabilistic guarantees of finding bugs" (ASPLOS
2010) runs the thread with the highest priority that can run, and lowers priorities at a few random steps. In virtual time
an agent of low priority is one that *lags*: before each of its steps it lets everything go first that happens within its
lag. A priority change point gives an agent another lag from a random step on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from pytest_convergence._engine.base.choices import Domain, Next, SeededChoices, Stream

__all__ = ["PriorityChoices"]

_SITE: Final = "stall "
_UNHURRIED: Final = 0.35
"""Odds that an agent has the highest priority."""
_CHANGES: Final = 0.5
"""Odds that an agent has a change point."""
_GREATEST_STEP: Final = 2_000
_GREATEST_LAG_US: Final = 500_000


@final
class PriorityChoices:
    """Draws like :class:`SeededChoices`, but agents are held by priorities and not by odds."""

    __slots__ = ("_inner", "_random", "shared")

    def __init__(self, stream: Stream) -> None:
        self._inner = SeededChoices(stream)
        self._random = stream.random
        self.shared: Callable[[Domain], Callable[[], int]] = self._inner.shared

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Draw afresh at each occurrence."""
        return self._inner.every(stem, domain)

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Hold an agent before each step for its lag; all else is drawn."""
        if not stem.startswith(_SITE):
            return self._inner.rare(stem, rate, domain)
        random = self._random
        first = 0 if random() < _UNHURRIED else self._lag()
        change = int(_GREATEST_STEP ** random()) if random() < _CHANGES else 0
        second = self._lag()

        def following(after: int) -> tuple[int, int] | None:
            step = after + 1
            lag = second if change and step >= change else first
            if lag:
                return step, lag
            return (max(step, change), second) if change else None

        return following

    def _lag(self) -> int:
        """An option of a stall: 1 lets everything ready go first, n waits for n - 1 microseconds."""
        return int(_GREATEST_LAG_US ** self._random())

    def struck(self, stem: str, number: int, option: int, domain: Domain) -> None:
        """Nobody wants to know what has come about."""
