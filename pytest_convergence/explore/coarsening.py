"""Puts one long fault in the place of several short deviations: whoever was not heard for three reasons was cut off.

What delta debugging leaves is a part of what the search happened to draw: three messages of one agent that are late, one
that is lost, and a crash of whom it would have reached. Often the same failure comes about if that agent is cut off for a
while, which is one deviation instead of five, and reads better. But no part of the failing schedule holds that fault.

1. The run is *surveyed*: which steps its agents took and when, when its deviations were chosen, and which faults may begin
   before a step and last (see :mod:`pytest_convergence._engine.base.survey`).
2. A *substitute* is such a fault, and those deviations that were chosen while it lasts, and that it may make needless:
   messages between those who are struck and others, and whatever concerns one agent. At least two.
3. A substitute is of use if the failure comes about with the fault on top of everything, which a run tells, and then without
   two or more of the deviations. What is left is reduced as any other schedule, and the next substitute is looked for.

They are tried in an order that is shuffled, but the same each time. Every candidate is a real run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, final

from pytest_convergence._engine.base.survey import Survey
from pytest_convergence.explore.shrinking import Deviation

__all__ = ["Coarsener"]

_FEW: Final = 2
"""No fault takes the place of so few that anybody would notice."""
_LENGTHS: Final = (1.25, 0.5, 0.25, 0.125, 0.0625)
"""How long a fault lasts, in parts of the rest of the run."""

Deviations = tuple[Deviation, ...]


class _Substitute(NamedTuple):
    """A fault, where it stands among the deviations, and which of them it may make needless."""

    fault: Deviation
    place: int
    needless: Deviations


@final
class Coarsener:
    """Makes a failure smaller by faults that take the place of several deviations.

    Args:
        fails: runs with the given deviations only, and says whether the same failure comes about.
        drop: returns a part of deviations that fail, of which nothing can be left out.
        survey: runs with the given deviations, and returns what each session was like; nothing if the failure does not come.
        may_go_on: whether there is time left; asked before each substitute.
        most: so many substitutes are tried until one of them is of use.
    """

    def __init__(
        self,
        fails: Callable[[Deviations], bool],
        drop: Callable[[Deviations], Deviations],
        survey: Callable[[Deviations], Sequence[Survey | None]],
        may_go_on: Callable[[], bool],
        *,
        most: int = 400,
    ) -> None:
        self._fails = fails
        self._drop = drop
        self._survey = survey
        self._may_go_on = may_go_on
        self._most = most

    def coarsen(self, found: Deviations) -> Deviations:
        """Return fewer deviations that fail in the same way, as long as there are any."""
        while len(found) > _FEW:
            coarser = self._coarser(found)
            if coarser is None:
                break
            found = self._drop(coarser)
        return found

    def _coarser(self, found: Deviations) -> Deviations | None:
        substitutes = [
            each
            for number, survey in enumerate(self._survey(found))
            if survey is not None
            for each in _substitutes(found, number, survey)
        ]
        random.Random(0).shuffle(substitutes)
        for substitute in substitutes[: self._most]:
            if not self._may_go_on():
                break
            coarser = self._put(found, substitute)
            if len(coarser) < len(found):
                return coarser
        return None

    def _put(self, found: Deviations, substitute: _Substitute) -> Deviations:
        """Return the deviations with a substitute, and without what it makes needless; ``found`` if it does not fail."""
        fault, place, needless = substitute
        both = (*found[:place], fault, *found[place:])
        if not self._fails(both):
            return found
        rest = tuple(one for one in both if one not in needless)
        if self._fails(rest):
            return rest
        for one in needless:
            rest = tuple(other for other in both if other != one)
            if self._fails(rest):
                both = rest
        return both


def _substitutes(found: Deviations, session: int, survey: Survey) -> Iterator[_Substitute]:
    mine = [(survey.moments.get(one.label, 0), one) for one in found if one.session == session]
    ends_ns = survey.ends_ns
    present = {one.label for _, one in mine}
    for stem, domain in survey.faults.items():
        _, _, agent = stem.partition(" ")
        for at_ns, whose, number in survey.steps:
            label = f"{stem} #{number}"
            if whose != agent or label in present:
                continue
            for length in _LENGTHS:
                lasts_ns = int((ends_ns - at_ns) * length)
                within = [one for moment, one in mine if at_ns <= moment <= at_ns + lasts_ns]
                for option in domain.lasting(lasts_ns) if len(within) > 1 else ():
                    struck = {agent, *domain.companions(option)}
                    needless = tuple(one for one in within if _may_be_needless(one, struck))
                    if len(needless) > 1:
                        before = [one for moment, one in mine if moment < at_ns]
                        place = found.index(before[-1]) + 1 if before else 0
                        yield _Substitute(Deviation(session, label, option), place, needless)


def _may_be_needless(deviation: Deviation, struck: set[str]) -> bool:
    """Whether it concerns a message between who is struck and who is not, or one agent alone."""
    whom = deviation.label.partition(" ")[2].rpartition(" #")[0]
    source, arrow, target = whom.partition("→")
    return not arrow or (source in struck) != (target in struck)
