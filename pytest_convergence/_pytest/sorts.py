"""Which kinds of deviations other schedules may draw, when a smaller one is looked for that fails in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, final

from pytest_convergence._engine.base.sparse import kind_of_label
from pytest_convergence.explore.shrinking import Deviation

__all__ = ["Sorts"]

_WORTH: Final = 20
"""Of kinds of deviations that bring about the failure alone, so many more schedules are looked at."""
_MOST_IN_A_ROW: Final = 10
_PER_LOOK: Final = 4
"""Kinds of which there are few are looked at first, one look for so many deviations less: what they bring about is small."""


class _Sort(NamedTuple):
    """Which kinds of choices may deviate, all if empty, and by which noise, that of the schedule if empty."""

    only: tuple[str, ...]
    noise: str


@final
class Sorts:
    """Which kinds of choices may deviate in schedules that are looked at: each kind alone, all of these, and any at all.

    They are drawn as in the schedule that has failed, and those of one kind also by noise that aims.

    Args:
        deviations: those of a schedule that fails; their kinds are the ones that may matter.
    """

    def __init__(self, deviations: Sequence[Deviation]) -> None:
        self._costs: dict[_Sort, int] = {}
        self.learn(deviations)
        self._last = _Sort((), "")
        self._costs[self._last] = min(len(deviations) // _PER_LOOK, _WORTH)

    def learn(self, deviations: Sequence[Deviation]) -> None:
        """Try the kinds of these deviations too."""
        kinds = Counter(kind_of_label(one.label) for one in deviations)
        for kind, number in kinds.items():
            for noise in ("", "leader-target"):
                self._costs.setdefault(_Sort((kind,), noise), min(number // _PER_LOOK, _WORTH))
        self._costs.setdefault(_Sort(tuple(kinds), ""), min(len(deviations) // _PER_LOOK, _WORTH))

    def next(self) -> _Sort:
        """Return the one that has been tried least, for what it has brought."""
        self._last = min(self._costs, key=self._costs.__getitem__)
        self._costs[self._last] += 1
        return self._last

    def fails(self) -> None:
        """Hear that the schedule has failed: more of these are worth a look, but not so many that no others have one."""
        least = min(self._costs.values())
        self._costs[self._last] = max(self._costs[self._last] - _WORTH, least - _MOST_IN_A_ROW)
