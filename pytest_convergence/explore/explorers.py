"""How a search chooses its schedules: what each run of a test's body is to follow.

An explorer is asked for the approach of run 0, 1, 2, … and told what came of it. The first run is the one that the test
would have without a search. Later ones of a random search take turns:

* among the profiles of noise (:data:`pytest_convergence._engine.base.noise.ROTATION`), each with a seed of its own;
* every third one, once enough is known, *branches*: it follows an earlier run up to the instant at which that run was in a
  state that few runs have met, and draws from another seed from there on. Rare states are thus tried more often than they
  come about by chance, as in rare-event simulation by splitting (Kahn & Harris, 1951) and in coverage-guided fuzzing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, final

from pytest_convergence._engine.base.noise import ROTATION
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence.explore.novelty import StateWatch

__all__ = ["Approach", "Explorer", "RandomExplorer"]


class Approach(NamedTuple):
    """What the sessions of one run follow.

    Attributes:
        seed: their seed, ``None`` if each finds its own.
        noise: the profile of noise; ``None`` for what the test says, or uniform.
        branches: instants from which on another seed is drawn from.
        schedules: of the sessions in the order in which they are made, instead of a seed.
    """

    seed: int | None
    noise: str | None = None
    branches: tuple[tuple[int, int], ...] = ()
    schedules: Sequence[Schedule] | None = None


class Explorer(Protocol):
    """Chooses what the runs of a search follow."""

    def approach(self, index: int) -> Approach | None:
        """Return what run ``index`` follows; ``None`` if there is nothing left to try.

        Not every index need be asked for: several workers share those of one test.
        """
        ...

    @property
    def watches(self) -> bool:
        """Whether it wants to know which states a run passed through."""
        ...

    def ran(self, approach: Approach, seen: Sequence[StateWatch]) -> None:
        """Hear that a run has passed, and what its sessions went through."""
        ...

    @property
    def summary(self) -> str:
        """How far the search got, in words, if there is something to say of it."""
        ...


_LEARN_FROM: Final = 24
"""After so many runs the first one branches."""
_BRANCH_EVERY: Final = 3
_MOST_ENTRIES: Final = 4_096
_MOST_PER_RUN: Final = 6
_MOST_BRANCHES: Final = 6
_CANDIDATES: Final = 6


class _Entry:
    """Where a run was in a state for the first time."""

    __slots__ = ("approach", "at_ns", "picked", "state")

    def __init__(self, approach: Approach, at_ns: int, state: int) -> None:
        self.approach = approach
        self.at_ns = at_ns
        self.state = state
        self.picked = 0


@final
class RandomExplorer:
    """Random schedules in turns of profiles, and branches off from rare states.

    Args:
        seed_of: the seed of run ``index``.
        noise: the one profile to take; ``None`` for all in turn.
        learns: whether to branch.
        name: what its own random choices derive from.
        turn: at which profile it begins.
    """

    def __init__(
        self,
        seed_of: Callable[[int], int | None],
        *,
        noise: str | None = None,
        learns: bool,
        name: str,
        turn: int = 0,
    ) -> None:
        self._seed_of = seed_of
        self._noise = noise
        self._learns = learns
        self._random = random.Random(f"explore/{name}")
        self._met: dict[int, int] = {}
        self._entries: list[_Entry] = []
        self._runs = 0
        self._turn = turn - 1

    @property
    def watches(self) -> bool:
        """Whether it learns."""
        return self._learns

    def approach(self, index: int) -> Approach:
        """Return what run ``index`` follows."""
        seed = self._seed_of(index)
        self._turn += 1
        if index == 0 or seed is None:
            return Approach(seed, self._noise)
        if self._runs >= _LEARN_FROM and self._turn % _BRANCH_EVERY == 0 and self._entries:
            return self._branch(seed)
        return Approach(seed, self._noise or ROTATION[self._turn % len(ROTATION)])

    @property
    def summary(self) -> str:
        """Nothing: it is never at an end."""
        return ""

    def _branch(self, seed: int) -> Approach:
        few = [self._entries[self._random.randrange(len(self._entries))] for _ in range(_CANDIDATES)]
        entry = min(few, key=lambda each: self._met[each.state] + each.picked)
        entry.picked += 1
        followed = entry.approach
        kept = tuple(branch for branch in followed.branches if branch[0] < entry.at_ns)
        return followed._replace(branches=(*kept, (entry.at_ns + 1, seed)))

    def ran(self, approach: Approach, seen: Sequence[StateWatch]) -> None:
        """Learn which states it was in; those that no run was in before may be branched off from."""
        self._runs += 1
        if approach.seed is None:
            return
        new = []
        for watch in seen:
            for state, at_ns in watch.first_ns.items():
                met = self._met[state] = self._met.get(state, 0) + 1
                if met == 1:
                    new.append((state, at_ns))
        if len(approach.branches) >= _MOST_BRANCHES:
            return
        step = max(1, len(new) // _MOST_PER_RUN)
        for state, at_ns in new[::step]:
            self._add(_Entry(approach, at_ns, state))

    def _add(self, entry: _Entry) -> None:
        if len(self._entries) < _MOST_ENTRIES:
            self._entries.append(entry)
        else:
            self._entries[self._random.randrange(_MOST_ENTRIES)] = entry
