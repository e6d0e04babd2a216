"""Compare branching off rare states with blind random: ``python -m tests.quality.feedback --seconds 300 [ID …]``.

Both search by the same base seed. Two thirds of their runs are the same ones, and made once. In the third that is left:

* *feedback* branches off a rare state of an earlier run, as the plugin does;
* *fresh* makes a new schedule of the profile of the run that feedback follows, so that no profile has more turns;
* *blind* branches off any earlier run of its own, at any instant: what mutation brings without knowing of states.

Who comes to a failure at an earlier schedule wins; a failure of a common run ends the search for all. The last numbers are
those of a sign test: how likely it is that fair coins differ as much, or more.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._pytest.running_test import derive_seed
from pytest_convergence.errors import PropertyViolation, RunFailure
from pytest_convergence.explore.explorers import Approach, RandomExplorer
from pytest_convergence.explore.novelty import StateWatch
from tests.quality.planted.bug import Bug
from tests.quality.planted.registry import BUGS
from tests.quality.planted.trials import make_session

WAYS: Final = ("feedback", "fresh", "blind")


@dataclass
class Pair:
    """How often each of two ways was sooner."""

    wins: int = 0
    losses: int = 0

    @property
    def odds(self) -> float:
        """The two-sided sign test: how often fair coins fall as unevenly."""
        thrown, fewer = self.wins + self.losses, min(self.wins, self.losses)
        return min(1.0, 2 * sum(math.comb(thrown, each) for each in range(fewer + 1)) / 2**thrown)

    def add(self, one: int | None, other: int | None) -> None:
        """Count a search by the schedules that failed first, if any did before a common run."""
        self.wins += (one or math.inf) < (other or math.inf)
        self.losses += (other or math.inf) < (one or math.inf)


@dataclass
class Race:
    """One base seed: what each way comes to until a common run fails, or each way has."""

    bug: Bug
    base: int
    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    first: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(WAYS))

    def __post_init__(self) -> None:
        self._explorer = RandomExplorer(self._seed_of, learns=True, name=f"{self.bug.id} {self.base}")
        self._earlier: list[tuple[Approach, int]] = []
        self._random = random.Random(f"blind/{self.bug.id} {self.base}")

    def _seed_of(self, index: int) -> int:
        return derive_seed(self.bug.id, self.base, index)

    def run(self) -> int:
        """Return after how many schedules it was over."""
        for index in range(self.bug.budget):
            approach = self._explorer.approach(index)
            if not approach.branches:
                if self._fails(approach, learns=True, is_kept=True):
                    return index + 1
                continue
            seed = self._seed_of(index)
            ways = {
                "feedback": approach,
                "fresh": Approach(seed, approach.noise),
                "blind": self._mutant(seed),
            }
            for way, taken in ways.items():
                if self.first[way] is None:
                    self.runs[way] += 1
                    if self._fails(taken, learns=way == "feedback", is_kept=way == "blind"):
                        self.first[way] = index + 1
            if None not in self.first.values():
                break
        return index + 1

    def _mutant(self, seed: int) -> Approach:
        followed, lasted_ns = self._random.choice(self._earlier)
        at_ns = int(self._random.random() * lasted_ns)
        kept = tuple(branch for branch in followed.branches if branch[0] < at_ns)
        return followed._replace(branches=(*kept, (at_ns + 1, seed)))

    def _fails(self, approach: Approach, *, learns: bool, is_kept: bool) -> bool:
        session, watch = make_session(self.bug.case, approach), StateWatch()
        if learns:
            session.watchers.append(watch.begin)
        try:
            outcome = session.run(self.bug.case.scenario, **self.bug.case.inputs)
        except (PropertyViolation, RunFailure):
            return True
        finally:
            if learns:
                self._explorer.ran(approach, (watch,))
        if is_kept:
            self._earlier.append((approach, int(outcome.metrics.virtual_seconds * NS_PER_SECOND)))
        return False


def compare(bug: Bug, seconds: float, first: int) -> str:
    """Race by one base seed after the other for so many seconds of the processor; return a line of the table."""
    against = {way: Pair() for way in WAYS[1:]}
    lengths, runs, base = [], dict.fromkeys(WAYS, 0), first
    until = time.process_time() + seconds
    while time.process_time() < until:
        race = Race(bug, base)
        lengths.append(race.run())
        for way in WAYS:
            runs[way] += race.runs[way]
        for way, pair in against.items():
            pair.add(race.first["feedback"], race.first[way])
        base += 1
    told = " | ".join(f"{pair.wins} to {pair.losses}, {pair.odds:.2g}" for pair in against.values())
    return f"| {bug.id} | {base - first} | {sum(lengths)} | {' '.join(map(str, runs.values()))} | {told} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare feedback with blind random.")
    parser.add_argument("--seconds", type=float, default=300, help="of the processor, for each bug")
    parser.add_argument("--first", type=int, default=1, help="the first base seed")
    parser.add_argument("ids", nargs="*", help="parts of the ids of bugs")
    asked = parser.parse_args()
    sys.stdout.write(
        "| bug | seeds | schedules | runs that differ | against fresh | against blind |\n|---|---|---|---|---|---|\n"
    )
    for bug in BUGS:
        if any(part in bug.id for part in asked.ids):
            sys.stdout.write(compare(bug, asked.seconds, asked.first) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
