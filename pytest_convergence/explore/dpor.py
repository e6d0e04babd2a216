"""Dynamic partial-order reduction: from the runs so far to the next one, until each inequivalent order was run once.

Source: Abdulla, Aronis, Jonsson and Sagonas, *Optimal Dynamic Partial Order Reduction* (POPL 2014), algorithm 2: source
sets, sleep sets and wakeup trees. Mazurkiewicz, *Trace theory* (1986), for the equivalence.

Theory of operation
1. A *step* happens at a *place* (a recipient). Steps of different places commute, steps of one place do not. A step
   *happens before* another if it came earlier at the same place, or if what the other one delivers was sent in
   consequence of it, and by transitivity. Two runs are equivalent if they order the steps of each place equally.
2. Two steps that follow each other at one place are a *race* if the second could have come without the first: it was not
   sent in consequence of it, no rule (messages of one link keep their order) puts it second, and it was there in time.
3. After each run, every race is reversed in thought: to what came before the first step of the race, add all that does not
   depend on that step, then the second step. Unless an equivalent order was begun before (the *sleep set* of that prefix
   tells), the sequence joins the *wakeup tree* of the prefix: the runs to come.
4. The next run follows the deepest prefix that has something left in its tree down to a leaf, and is then free. Nothing
   sleeps any more at a leaf, so no run is begun in vain, and each equivalence class is run exactly once.

The searcher knows nothing of agents, time or networks: it is told the steps of each run.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, final

__all__ = ["OrderSearch", "Step"]

NOTHING: Final[Mapping[int, Step]] = MappingProxyType({})


class Step(NamedTuple):
    """One step of one run.

    Attributes:
        bit: names it, the same in every run: a power of two.
        place: where it happens.
        past: the sum of the bits of all that happened before it.
        cause: of these, what its sending is a consequence of.
        line: steps of one line keep their order.
        ready, shut: a step comes before another only if it is ``ready`` before the other one is ``shut``: some things happen
            at an instant, and what comes later cannot come before them.
    """

    bit: int
    place: Hashable
    past: int
    cause: int
    line: Hashable
    ready: float = 0
    shut: float = math.inf


@final
class _Branch:
    """A step to take, and what may follow; in the order in which it is to be tried."""

    __slots__ = ("branches", "step")

    def __init__(self, step: Step | None, branches: list[_Branch]) -> None:
        self.step = step
        self.branches = branches

    @property
    def leaves(self) -> int:
        return sum(branch.leaves for branch in self.branches) if self.branches else 1


@final
class _Level:
    """A prefix of the present run.

    Attributes:
        asleep: steps that were tried after this prefix and need not be tried again until something dependent happens.
        tree: the wakeup tree: the first of its branches is the one that the present run takes.
    """

    __slots__ = ("asleep", "tree")

    def __init__(self, asleep: list[Step], tree: _Branch) -> None:
        self.asleep = asleep
        self.tree = tree

    @property
    def step(self) -> Step:
        step = self.tree.branches[0].step
        assert step is not None
        return step

    def still_asleep(self) -> list[Step]:
        """What sleeps after the step."""
        place = self.step.place
        return [other for other in self.asleep if other.place != place]


def _without(step: Step, sequence: Sequence[Step]) -> list[Step] | None:
    """Return what remains of ``sequence`` if ``step`` comes first, or ``None`` if that would be another order.

    A step can come first if it is in the sequence and nothing there happens before it, or if it is not there and commutes
    with everything that is (it is a *weak initial*).
    """
    for number, other in enumerate(sequence):
        if other.bit == step.bit:
            if any(earlier.bit & other.past for earlier in sequence[:number]):
                return None
            return [*sequence[:number], *sequence[number + 1 :]]
    if any(other.place == step.place for other in sequence):
        return None
    return list(sequence)


def _insert(tree: _Branch, sequence: list[Step]) -> None:
    """Add a sequence to a wakeup tree, unless a leaf of it leads to an equivalent one."""
    at, rest = tree, sequence
    while True:
        for branch in at.branches:
            assert branch.step is not None
            remaining = _without(branch.step, rest)
            if remaining is not None:
                at, rest = branch, remaining
                break
        else:
            for step in rest:
                at.branches.append(_Branch(step, []))
                at = at.branches[-1]
            return
        if not at.branches:
            return


def _race(steps: Sequence[Step], earlier: Sequence[int], step: Step) -> int | None:
    """Return the latest of the earlier steps of its place that a step could have come before.

    That is the one just before it, if any. Where that one is shut too early, it may be so in consequence of one before, and
    would be later, too, or not be at all, if that one came after the step.
    """
    for number in reversed(earlier):
        before = steps[number]
        if before.bit & step.cause or before.line == step.line:
            return None
        if step.ready < before.shut:
            return number
    return None


@final
class OrderSearch:
    """Runs every inequivalent order once: ask :meth:`advance`, make a run that begins with :attr:`prefix`, tell :meth:`ran`.

    Attributes:
        prefix: the steps that the next run begins with, in order.
    """

    __slots__ = ("_levels", "_started", "prefix")

    def __init__(self) -> None:
        self._levels: list[_Level] = []
        self._started = False
        self.prefix: tuple[Step, ...] = ()

    @property
    def pending(self) -> int:
        """How many runs are known to be left; each may lead to more."""
        return sum(branch.leaves for level in self._levels for branch in level.tree.branches[1:])

    def advance(self) -> bool:
        """Go on to the next run; return whether there is one."""
        if not self._started:
            self._started = True
            return True
        levels = self._levels
        while levels:
            level = levels[-1]
            done = level.tree.branches.pop(0).step
            assert done is not None
            level.asleep.append(done)
            if level.tree.branches:
                self._descend(level)
                return True
            levels.pop()
        return False

    def _descend(self, level: _Level) -> None:
        """Take the first branches, down to a leaf."""
        while level.tree.branches[0].branches:
            level = _Level(level.still_asleep(), level.tree.branches[0])
            self._levels.append(level)
        self.prefix = tuple(each.step for each in self._levels)

    def ran(self, steps: Sequence[Step], instead: Mapping[int, Step] = NOTHING) -> bool:
        """Learn from a run; ``steps`` begins with :attr:`prefix`.

        Args:
            steps: all of its steps, in an order that it could have happened in.
            instead: the bit of a step -> another that could have come at its place before it, whether or not it came later
                (what happened may have made it impossible).

        Returns:
            Whether its order was a new one. It always is where :class:`Step` tells the truth about what depends on what.
        """
        levels = self._levels
        for step in steps[len(levels) :]:
            asleep = levels[-1].still_asleep() if levels else []
            if any(step.bit == other.bit for other in asleep):
                return False
            levels.append(_Level(asleep, _Branch(None, [_Branch(step, [])])))
        earlier: dict[Hashable, list[int]] = {}
        for number, step in enumerate(steps):
            before = earlier.setdefault(step.place, [])
            first = _race(steps, before, step)
            if first is not None:
                self._reverse(steps, first, step)
            if step.bit in instead:
                self._reverse(steps, number, instead[step.bit])
            before.append(number)
        return True

    def _reverse(self, steps: Sequence[Step], first: int, after: Step) -> None:
        """Let the second step of a race come before the first in a run to come."""
        before = steps[first]
        sequence = [step for step in steps[first + 1 :] if not before.bit & step.past]
        sequence.append(after)
        level = self._levels[first]
        if not any(_without(asleep, sequence) is not None for asleep in level.asleep):
            _insert(level.tree, sequence)
