"""From a failing run of a test's body to a counterexample: records it, shrinks it, explains it.

1. The failing schedule is run once more with a recorder. If the failure does not come again, the test is not
   deterministic, and that is said.
2. The deviations of all sessions of the test are shrunk together (:mod:`pytest_convergence.explore.shrinking`): each
   candidate is a run of the whole body with renewed fixtures. A candidate counts only if the *same* failure comes about:
   the same property, the same exception from the same line.
3. Where more than two deviations are left, one or two others are thought out that may fail as well
   (:mod:`pytest_convergence.explore.synthesis`), and long faults are put in the place of several short ones
   (:mod:`pytest_convergence.explore.coarsening`).
4. Where much is left, other schedules with the same failure are looked for and reduced too, for some time: the one that was
   found first is seldom the one that needs the least. Most of them draw only some of the kinds of deviations that the
   failing ones hold (:mod:`pytest_convergence._engine.base.sparse`): three agents that are cut off in turn say more than
   the same among three hundred messages that are late.
5. The minimal run is made twice. Its error is the test's; what led to it is told in a section of the report.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, final

import pytest

from pytest_convergence._engine.base.choices import split_label
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.survey import Survey
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.tokens import Recorded, write_token
from pytest_convergence._pytest.course import Course
from pytest_convergence._pytest.failures import FAILURES, Signature, first_line, kind_of, signature_of
from pytest_convergence._pytest.findings import replay_line
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.renewal import forget_output, renew_fixtures
from pytest_convergence._pytest.replaying import PYTHON, fingerprint_of, words_of_failure
from pytest_convergence._pytest.running_test import (
    RunningTest,
    asides_of,
    derive_seed,
    documents_of,
    evidence_of,
    stood_of,
)
from pytest_convergence._pytest.sorts import Sorts
from pytest_convergence.errors import PropertyViolation
from pytest_convergence.explore.coarsening import Coarsener
from pytest_convergence.explore.counterexample import Counterexample, Told
from pytest_convergence.explore.effort import Effort, MayGoOn
from pytest_convergence.explore.shrinking import Deviation, Shrinker
from pytest_convergence.explore.synthesis import synthesize
from pytest_convergence.explore.wording import sentence

__all__ = ["Once", "counterexample_of"]

_MOST_TOLD_WITHOUT: Final = 8
_AT_STEPS: Final = frozenset({"crash", "isolate", "pause", "stall"})
_FARTHEST_STEP: Final = 16
_MOST_EARLIER: Final = 40
_HORIZON: Final = 1.5
"""A run that has not violated the property after so many times as long as the one that did is not worth its time."""
_SMALL: Final = 2
"""What takes no more deviations than that is small enough for anybody."""
_FEW: Final = 3
"""Nobody looks for another schedule of a failure that takes no more deviations than that."""
_MANY: Final = 30
_LOOKS: Final = 50
"""Of a schedule that departs from calm in more ways than ``_MANY``, so many others are looked at, for one of fewer; and for
so many, at least, where the reduction leaves more than ``_FEW``."""
_ENOUGH: Final = 10
"""A failure that so many of them have is one that dropping deviations will bring to few."""
_PATIENCE: Final = 4
"""So many times as many runs as the first reduction took are spent on others. Runs are counted, and not seconds, so that the
same failure is reduced to the same counterexample on a slow machine."""
_LARGE: Final = 4
"""Nobody reads a counterexample of more deviations: others are looked for until two thirds of the time are up."""

Once = Callable[[pytest.Function, RunningTest], None]


@final
class _Search:
    """The work on one failure."""

    def __init__(self, item: pytest.Function, running: RunningTest, once: Once, here: Once) -> None:
        self._item = item
        self._running = running
        self._once = once
        self._here = here
        self._effort = Effort(item.config.stash[SETTINGS].shrink_seconds)
        self._bases: tuple[Recorded, ...] = ()
        self._domains: dict[tuple[int, str], Any] = {}
        self._stems: dict[tuple[int, str], Any] = {}
        self.words: dict[tuple[int, str], str] = {}
        self.error: BaseException | None = None
        self.replayed: list[str] = []
        self.is_minimal = True
        self._runs = 0
        self._passed: dict[tuple[Any, ...], int] = {}  # what has not failed, and until which horizon
        self._wanted: Signature = ()
        self._seeded: tuple[Schedule, ...] = ()
        self._looks = 0
        self._horizon_ns = 0

    def run(self, course: Course, *, here: bool = False) -> BaseException | None:
        """Run the body once more, and ``here`` if the run is to be told of; return what went wrong."""
        running = self._running
        begin = functools.partial(running.begin_run_again, course)
        forget_output(self._item.config)
        try:
            renew_fixtures(self._item, begin)
            (self._here if here else self._once)(self._item, running)
        except FAILURES as error:
            return error
        finally:
            self._effort.ran(sum(told.events for told in running.run.followers))
        return None

    def record(self, error: BaseException) -> tuple[Deviation, ...] | None:
        """Run the failing schedule again, with a recorder; ``None`` if it does not fail in the same way."""
        self._wanted = signature_of(error)
        followed = self._running.run.course
        self.error = self.run(Course(() if followed is None else followed.schedules, recorded=True))
        if self.error is None or signature_of(self.error) != self._wanted:
            return None
        self.replayed = words_of_failure(self._running)
        self._seeded = tuple(told.schedule for told in self._running.run.followers)
        return self._take_record()

    def _take_record(self) -> tuple[Deviation, ...]:
        found: list[Deviation] = []
        bases: list[Recorded] = []
        for number, told in enumerate(self._running.run.followers):
            bases.append(Recorded(told.schedule.seed, (), told.schedule.faults))
            for label, (option, words, domain) in (told.chosen or {}).items():
                found.append(Deviation(number, label, option))
                self.words[number, label] = words
                self._domains[number, label] = domain
        self._bases = tuple(bases)
        self._horizon_ns = int(_HORIZON * self._lasted_ns) if self._wanted[0] == "property" else 0
        return tuple(found)

    def _origin(self) -> tuple[Any, ...]:
        """What is known of the recorded run that is being reduced."""
        return self._bases, self._domains, self.words, self._horizon_ns

    def _return_to(self, origin: tuple[Any, ...]) -> None:
        self._bases, self._domains, self.words, self._horizon_ns = origin

    @property
    def _lasted_ns(self) -> int:
        """How long the longest session of the run was, in virtual time."""
        return round(
            max((told.virtual_seconds for told in self._running.run.told), default=0.0) * NS_PER_SECOND
        )

    def _fails_again(self, course: Course) -> bool:
        """Whether the same failure comes about, and not only because the run is given up at the horizon."""
        error = self.run(course)
        if error is None or signature_of(error) != self._wanted:
            return False
        return not course.horizon_ns or self._lasted_ns < course.horizon_ns

    def shrink(self, found: tuple[Deviation, ...]) -> tuple[Deviation, ...]:
        """Return the least part of ``found`` that still fails, each as weak as it may be."""
        effort = self._effort
        found = self._fewest(found, effort.part(1 / 10))
        least = self._shrinker(effort.part(1 / 10)).drop(found)
        least = self._synthesize(least, effort.part(1 / 5))
        least = self._shrinker(effort.until(2 / 5)).drop(least)
        least = self._coarsen(least, effort.part(1 / 6))
        least = self._reduce_others(least, effort.until(2 / 3))
        # What there was no time for, and elsewhere.
        least = self._shrinker(lambda: effort.is_left).shrink(least)
        self.is_minimal = effort.is_left
        return least

    def _shrinker(self, may_go_on: MayGoOn, runs: float = math.inf) -> Shrinker:
        most = self._effort.runs + runs
        return Shrinker(
            self.fails,
            self.weaker,
            lambda: self._effort.runs < most and may_go_on(),
            elsewhere=self.elsewhere,
            earlier=self.earlier,
            may_move=self._effort.half_of_the_rest(),  # it is no less minimal without
        )

    def _coarsen(self, least: tuple[Deviation, ...], may_go_on: MayGoOn) -> tuple[Deviation, ...]:
        """Put long faults in the place of several short deviations, as far as that helps."""
        if not _SMALL < len(least) <= _MANY:
            return least
        horizon_ns = self._horizon_ns
        coarser = Coarsener(self.fails, self._shrinker(may_go_on).drop, self.survey, may_go_on).coarsen(least)
        if coarser == least:
            self._horizon_ns = horizon_ns  # runs that were of no use have failed sooner, perhaps
        return coarser

    def _synthesize(self, least: tuple[Deviation, ...], may_go_on: MayGoOn) -> tuple[Deviation, ...]:
        """Return one or two deviations that somebody may think out who knows this failure, if they fail."""
        if len(least) <= _SMALL or not may_go_on():
            return least
        for number, (failing, calm) in enumerate(zip(self.survey(least), self.survey(()), strict=False)):
            if failing is not None and calm is not None:
                found = synthesize(self.fails, failing.decisive, calm, number, failing.ends_ns, may_go_on)
                if found is not None:
                    return found
        return least

    def survey(self, deviations: tuple[Deviation, ...]) -> Sequence[Survey | None]:
        """Run under these deviations, and return what each session was like."""
        course = replace(self.course(deviations), surveyed=True, horizon_ns=self._horizon_ns)
        if self._fails_again(course):
            self._lower_horizon()
        surveys = [told.survey for told in self._running.run.followers]
        for number, survey in enumerate(surveys):
            for stem, domain in () if survey is None else survey.faults.items():
                self._stems[number, stem] = domain
        return surveys

    def _domain(self, deviation: Deviation) -> Any:
        """What might be chosen instead of a deviation; ``None`` if nobody knows."""
        known = self._domains.get((deviation.session, deviation.label))
        return known or self._stems.get((deviation.session, split_label(deviation.label)[0]))

    def _reduce_others(self, least: tuple[Deviation, ...], may_go_on: MayGoOn) -> tuple[Deviation, ...]:
        """Return the least part of another schedule that fails in the same way, if it is smaller."""
        best = self._origin()
        runs, looks = self._effort.runs, self._looks
        sorts = Sorts(least)
        while len(least) > _FEW and may_go_on() and any(map(_is_seeded, self._seeded)):
            is_enough = self._looks >= looks + _LOOKS and self._effort.runs > (1 + _PATIENCE) * runs
            if is_enough and len(least) <= _LARGE:
                break
            found = self._look_at_another(sorts)
            if found is None:
                continue
            smaller = self._shrinker(may_go_on, runs).drop(found)
            smaller = self._coarsen(smaller, may_go_on)
            if len(smaller) < len(least):
                least, best = smaller, self._origin()
                sorts.learn(least)
        self._return_to(best)
        return least

    def _fewest(self, found: tuple[Deviation, ...], may_go_on: MayGoOn) -> tuple[Deviation, ...]:
        """Of some schedules that fail in the same way, return the one that departs from calm in the fewest ways."""
        best = self._origin()
        sorts, failed = Sorts(found), 0
        for _ in range(_LOOKS if any(map(_is_seeded, self._seeded)) else 0):
            if len(found) <= _MANY or failed == _ENOUGH or not may_go_on():
                break
            other = self._look_at_another(sorts)
            failed += other is not None
            if other is not None and len(other) < len(found):
                found, best = other, self._origin()
        self._return_to(best)
        return found

    def _look_at_another(self, sorts: Sorts) -> tuple[Deviation, ...] | None:
        """Run a schedule of other seeds, and perhaps of fewer kinds; return its deviations if it fails in the same way."""
        only, noise = sorts.next()
        self._domains, self.words = {}, {}
        self._looks += 1
        name = self._running.nodeid
        schedules = tuple(
            replace(
                each,
                seed=derive_seed(name, each.seed, self._looks),
                noise=noise or each.noise,
                branches=(),
                only=only,
            )
            if _is_seeded(each)
            else each
            for each in self._seeded
        )
        for is_recorded in (False, True):
            if not self._fails_again(Course(schedules, recorded=is_recorded, horizon_ns=self._horizon_ns)):
                return None
        sorts.fails()
        return self._take_record()

    def explain(
        self,
        final: BaseException,
        found: Sequence[Deviation],
        least: Sequence[Deviation],
        told: Sequence[str],
    ) -> Counterexample:
        """Put together what is told of the smallest run, which was the last one."""
        running = self._running
        self._take_record()
        ended = [made.outcome for made in running.run.sessions if made.outcome is not None]
        violations = tuple(final.violations) if isinstance(final, PropertyViolation) else ()
        token = write_token(
            [
                Recorded(
                    base.seed,
                    tuple((one.label, one.option) for one in least if one.session == number),
                    base.faults,
                )
                for number, base in enumerate(self._bases)
            ],
            fingerprint_of(running),
            PYTHON,
        )
        return Counterexample(
            failure=first_line(final),
            deviations=tuple(map(Told, map(self._words, least), told, self._labels(least))),
            is_minimal=self.is_minimal,
            outcome=ended[-1] if ended else None,
            violations=violations,
            evidence=evidence_of(running.run.sessions, violations),
            stood=stood_of(running.run.sessions),
            asides=asides_of(running.run.sessions),
            found="\n".join([self._how(found, least), *self.replayed]),
            replay=replay_line(running, token, f"{running.nodeid}\n{first_line(final)}"),
            token=token,
            documents=documents_of(running.run.sessions),
        )

    def _words(self, deviation: Deviation) -> str:
        words = sentence(
            deviation.label, self.words.get((deviation.session, deviation.label), str(deviation.option))
        )
        return f"session {deviation.session + 1}: {words}" if len(self._bases) > 1 else words

    def _labels(self, least: Sequence[Deviation]) -> list[str]:
        """By which labels the events of the run are found again; of several sessions only one is told."""
        return [one.label if len(self._bases) == 1 else "" for one in least]

    def _how(self, found: Sequence[Deviation], least: Sequence[Deviation]) -> str:
        """Say how the failure was found, and what its reduction cost."""
        words = f"Found by {self._running.found_by}"
        if not found or not self._runs:
            return f"{words}."
        return (
            f"{words}; shrunk from {len(found)} to {len(least)} deviation{'s' * (len(least) != 1)} in {self._runs} "
            f"run{'s' * (self._runs != 1)}, {self._effort.seconds:.2g} s."
        )

    def course(self, deviations: Sequence[Deviation], *, recorded: bool = False) -> Course:
        """The course of a run that departs from calm in these ways only."""
        schedules = [
            Schedule.of(
                {one.label: one.option for one in deviations if one.session == number},
                seed=base.seed,
                faults=base.faults,
            )
            for number, base in enumerate(self._bases)
        ]
        # The run that is told is the last recorded one; only a report of it needs to know what agents held.
        settings = self._item.config.stash[SETTINGS]
        shown = recorded and (settings.steps or settings.report is not None)
        return Course(tuple(schedules), recorded=recorded, takes_snapshots=shown)

    def fails(self, deviations: Sequence[Deviation], horizon_ns: int = 0) -> bool:
        """Whether the same failure comes about under these deviations alone, and before a horizon if one is given."""
        horizon_ns = min(horizon_ns or self._horizon_ns, self._horizon_ns)
        candidate = (self._bases, *deviations)
        until_ns = self._passed.get(candidate)
        if until_ns is not None and horizon_ns <= until_ns:
            return False
        self._runs += 1
        fails = self._fails_again(replace(self.course(deviations), horizon_ns=horizon_ns))
        if fails:
            self._lower_horizon()
        else:
            self._passed[candidate] = horizon_ns
        return fails

    def _lower_horizon(self) -> None:
        """The last run has failed: none that takes much longer is worth its time any more."""
        if self._horizon_ns:
            self._horizon_ns = min(self._horizon_ns, int(_HORIZON * self._lasted_ns))

    def weaker(self, deviation: Deviation) -> Sequence[int]:
        """Options that depart less from calm."""
        domain = self._domain(deviation)
        return () if domain is None else tuple(domain.weaker(deviation.option))

    def elsewhere(self, deviation: Deviation) -> Sequence[Deviation]:
        """The same fault at other steps of its agent, the nearest first."""
        stem, step = split_label(deviation.label)
        if stem.partition(" ")[0] not in _AT_STEPS:
            return ()
        domain = self._domain(deviation)
        found = []
        for away in range(1, _FARTHEST_STEP + 1):
            for other in (step - away, step + away):
                if other > 0:
                    label = f"{stem} #{other}"
                    self._domains.setdefault((deviation.session, label), domain)
                    found.append(deviation._replace(label=label))
        return found

    def earlier(self, deviation: Deviation) -> Sequence[Deviation]:
        """The same fault at earlier steps of its agent, or the same fate of earlier messages of its link, and itself."""
        stem, number = split_label(deviation.label)
        if stem.partition(" ")[0] not in _AT_STEPS | {"deliver"}:
            return (deviation,)
        domain = self._domain(deviation)
        found = []
        for other in range(1, min(number, _MOST_EARLIER) + 1):
            label = f"{stem} #{other}"
            self._domains.setdefault((deviation.session, label), domain)
            found.append(deviation._replace(label=label))
        return found

    def without(self, deviations: Sequence[Deviation]) -> str:
        """Say what becomes of the run under these deviations alone."""
        error = self.run(self.course(deviations))
        if error is not None:
            return (
                f"{kind_of(error)} instead"
                if signature_of(error) != self._wanted
                else "it fails all the same"
            )
        ended = [told for told in self._running.run.told if told.has_ended]
        if not ended:
            return "the test passes"
        state = ended[-1].state.value
        return f"the test passes{'' if ended[-1].converged else ', though the agents do not agree'} ({state})"


def _is_seeded(schedule: Schedule) -> bool:
    return schedule.kind == "seeded"


def counterexample_of(
    item: pytest.Function, running: RunningTest, once: Once, here: Once, error: BaseException
) -> BaseException:
    """Shrink and explain the failure ``error`` of the present run; return the error of the smallest run that has it.

    What was found is kept in ``running.counterexample``; nothing is if the failure does not come again.

    Args:
        once: runs the body, in a process of its own if runs are isolated.
        here: runs it in this process: the smallest run, for its traceback and its trace.
    """
    search = _Search(item, running, once, here)
    running.is_shrinking = True
    try:
        found = search.record(error)
        if found is None:
            running.notes.append(_NOT_AGAIN)
            return error
        # A replayed schedule is as small as somebody wanted it.
        least = found if running.plan.course is not None else search.shrink(found)
        told = [""] * len(least)
        if search.is_minimal and len(least) <= _MOST_TOLD_WITHOUT:
            told = [search.without([other for other in least if other != one]) for one in least]
        # A run that ends its process is not made in pytest's own.
        final = search.run(search.course(least, recorded=True), here=not running.needs_isolation)
        if final is None or signature_of(final) != search._wanted:  # it failed so a moment ago
            running.notes.append(_NOT_EVERY_TIME)
            return error
        running.counterexample = search.explain(final, found, least, told)
        return final
    finally:
        running.is_shrinking = False


_NOT_AGAIN: Final = (
    "The failure did not come again when the same schedule was run once more: something that the schedule does not decide "
    "changes from run to run. --convergence-check-determinism names the first difference. What follows is the second run."
)
_NOT_EVERY_TIME: Final = (
    "The smallest run that was found does not fail every time: the test is not deterministic."
)
