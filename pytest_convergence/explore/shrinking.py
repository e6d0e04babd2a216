"""Reduces a failing run to a minimal set of deviations from calm.

0. *Drop groups*: all deviations of one kind (crashes, timers, deliveries), then all that concern one agent or link, as long
   as the failure stays. Most of what a long run departs in has nothing to do with the failure, and goes in a few runs. Then
   several in a row, the latest first: what happened before them stays as it was, while without the first ones everything
   may come differently.
1. *Drop*: delta debugging (Zeller & Hildebrandt, "Simplifying and isolating failure-inducing input", 2002, figure 5:
   ddmin) over the set of deviations. What is left is 1-minimal: without any one of them the failure is gone.
2. *Weaken*: each deviation that is left is made smaller (a shorter delay, a shorter outage) as far as the failure stays.
   What its domain names as smaller is tried in order, the calmest first, then halving.

3. *Move*: a fault at a step is tried at the steps around it, and the fate of a message at earlier messages of its link. Much
   of what is left may only have shifted that step to where the fault does harm; then the fault alone, or with one other
   deviation, is enough at another step.

Every candidate is a real run. The reduction may be stopped at any time: the best so far is a counterexample already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, final

__all__ = ["Deviation", "Shrinker"]

_MOST_HALVINGS: Final = 12
_MOST_MOVES: Final = 2_000
_NEAREST: Final = 6
_MANY: Final = 12
_FIRST_ROW: Final = 4
"""The latest part of so many is tried first."""


class Deviation(NamedTuple):
    """One departure from calm: which session of the test (counted from 0), the label of the choice, and its option."""

    session: int
    label: str
    option: int


Deviations = tuple[Deviation, ...]


@final
class Shrinker:
    """Minimises the deviations of one failure.

    Args:
        fails: runs with the given deviations only, and says whether the same failure comes about.
        weaker: names smaller options of a deviation, the calmest first.
        may_go_on: whether there is time left; asked before each run.
        elsewhere: names the same fault at other steps, the nearest first; nothing where that makes no sense.
        earlier: names the same deviation at earlier steps, or of earlier messages of its link, and itself, the earliest
            first.
        may_move: whether there is time left to look elsewhere.

    Attributes:
        runs: how many candidates were run.
    """

    def __init__(
        self,
        fails: Callable[[Deviations], bool],
        weaker: Callable[[Deviation], Sequence[int]],
        may_go_on: Callable[[], bool],
        *,
        elsewhere: Callable[[Deviation], Sequence[Deviation]] = lambda _: (),
        earlier: Callable[[Deviation], Sequence[Deviation]] = lambda _: (),
        may_move: Callable[[], bool] = lambda: True,
    ) -> None:
        self._fails = fails
        self._weaker = weaker
        self._may_go_on = may_go_on
        self._elsewhere = elsewhere
        self._earlier = earlier
        self._may_move = may_move
        self._moves = 0
        self._known: dict[Deviations, bool] = {}
        self.runs = 0

    def shrink(self, found: Sequence[Deviation]) -> Deviations:
        """Return a minimal part of ``found``, in its order, with each deviation as weak as it may be, or fewer elsewhere."""
        least = self.reduce(found)
        moved = self._move(least)
        return least if moved == least else self._weaken(self._drop(moved))

    def reduce(self, found: Sequence[Deviation]) -> Deviations:
        """Drop and weaken, and look nowhere else."""
        least = self.drop(found)
        weakened = self._weaken(least)
        # What is weaker may need less company.
        return weakened if weakened == least else self._drop(weakened)

    def drop(self, found: Sequence[Deviation]) -> Deviations:
        """Return a part of ``found`` of which nothing can be left out."""
        if not found or self._try(()):
            return ()
        return self._drop(self._drop_latest_first(self._drop_groups(tuple(found))))

    def _drop_groups(self, found: Deviations) -> Deviations:
        """Take away whole groups, the largest first; worth it only where there are many deviations."""
        if len(found) < _MANY:
            return found
        for part in (_kind, _place):
            names = Counter(part(one) for one in found)
            for name, _ in names.most_common():
                rest = tuple(one for one in found if part(one) != name)
                if 0 < len(rest) < len(found) and self._try(rest):
                    found = rest
        return found

    def _drop_latest_first(self, found: Deviations) -> Deviations:
        """Take away some in a row, from the end to the beginning, more at once as long as that works."""
        end = len(found) if len(found) >= _MANY else 0
        size = max(1, end // _FIRST_ROW)
        while end:
            start = max(0, end - size)
            rest = found[:start] + found[end:]
            if rest and self._try(rest):
                found, end, size = rest, start, 2 * size
            elif size > 1:
                size = max(1, size // 4)
            else:
                end = start
        return found

    def _move(self, found: Deviations) -> Deviations:
        """Return fewer deviations, one of them at another step; ``found`` if there are none."""
        if not self._may_move():
            return found
        for deviation in reversed(found if len(found) > 1 else ()):
            for other in dict.fromkeys((*self._elsewhere(deviation), *self._earlier(deviation))):
                if self._try_move((other,)):
                    return (other,)
        pair = self._pair(found) if len(found) > 3 else None
        if pair is not None:
            return self._move(pair)
        for place, deviation in enumerate(found if len(found) > 2 else ()):
            for gone in found[:place] + found[place + 1 :]:
                for other in self._elsewhere(deviation)[:_NEAREST]:
                    rest = tuple(other if one == deviation else one for one in found if one != gone)
                    if self._try_move(rest):
                        return self._move(rest)
        return found

    def _pair(self, found: Deviations) -> Deviations | None:
        """Return a fault and one other deviation, both perhaps earlier than they were found, that are enough together.

        Without the rest everything happens earlier. The last fault is the likeliest one to do the harm, so it comes first.
        """
        for fault in reversed(found):
            for moved in reversed(self._earlier(fault)) if self._elsewhere(fault) else ():
                for kept in found:
                    if kept != fault and self._try_move(_in_order(found, fault, moved, kept)):
                        return _in_order(found, fault, moved, kept)
            for kept in found if self._elsewhere(fault) else ():
                for moved in self._earlier(fault):
                    for other in self._earlier(kept) if kept != fault else ():
                        if self._try_move((other, moved)):
                            return other, moved
        return None

    def _try_move(self, candidate: Deviations) -> bool:
        if self._moves >= _MOST_MOVES or not self._may_move():
            return False
        self._moves += 1
        return self._try(candidate)

    def _try(self, candidate: Deviations) -> bool:
        known = self._known.get(candidate)
        if known is None:
            if not self._may_go_on():
                return False
            self.runs += 1
            known = self._known[candidate] = self._fails(candidate)
        return known

    def _drop(self, found: Deviations) -> Deviations:
        """Delta debugging: try each part, then each complement, with parts that get smaller."""
        if not found or self._try(()):
            return ()
        parts = 2
        while len(found) > 1 and self._may_go_on():
            pieces = _split(len(found), parts)
            smaller = None
            if parts > 2 or len(found) > 2:
                smaller = self._first_failing(found[start:end] for start, end in pieces)
            if smaller is None:
                smaller = self._first_failing(found[:start] + found[end:] for start, end in pieces)
                if smaller is not None:
                    parts = max(parts - 1, 2)
            else:
                parts = 2
            if smaller is not None:
                found = smaller
            elif parts < len(found):
                parts = min(2 * parts, len(found))
            else:
                break
        return found

    def _first_failing(self, candidates: Iterable[Deviations]) -> Deviations | None:
        return next((each for each in candidates if each and self._try(each)), None)

    def _weaken(self, found: Deviations) -> Deviations:
        for place, deviation in enumerate(found):
            for option in self._weaker(deviation):
                if self._try(_with(found, place, option)):
                    found = _with(found, place, option)
                    break
            else:
                continue
            found = self._halve(found, place)
        return found

    def _halve(self, found: Deviations, place: int) -> Deviations:
        """Go on to ask for what is weaker than that."""
        for _ in range(_MOST_HALVINGS):
            for option in self._weaker(found[place]):
                if self._try(_with(found, place, option)):
                    found = _with(found, place, option)
                    break
            else:
                break
        return found


def _kind(deviation: Deviation) -> str:
    """What kind of choice it is: the first word of its label."""
    return deviation.label.partition(" ")[0]


def _place(deviation: Deviation) -> str:
    """Whom it concerns: the agent, or the link."""
    return f"{deviation.session} {deviation.label.partition(' ')[2].rpartition(' #')[0].partition('/')[0]}"


def _in_order(found: Deviations, gone: Deviation, moved: Deviation, kept: Deviation) -> Deviations:
    """Two deviations: ``moved`` instead of ``gone``, and another one."""
    return (moved, kept) if found.index(gone) < found.index(kept) else (kept, moved)


def _with(found: Deviations, place: int, option: int) -> Deviations:
    return (*found[:place], found[place]._replace(option=option), *found[place + 1 :])


def _split(length: int, parts: int) -> list[tuple[int, int]]:
    """Where each part of so many begins and ends."""
    size, rest = divmod(length, parts)
    pieces, start = [], 0
    for number in range(parts):
        end = start + size + (number < rest)
        pieces.append((start, end))
        start = end
    return pieces
