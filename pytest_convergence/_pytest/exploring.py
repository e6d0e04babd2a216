"""The search through the schedules of one test: which explorer leads it, when it ends, and what is said meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, final

import pytest

from pytest_convergence._pytest.running_test import RunningTest
from pytest_convergence._pytest.spreading import Share
from pytest_convergence.explore.exhaustive import FAULTS, Exhaustive
from pytest_convergence.explore.explorers import Approach, Explorer, RandomExplorer

__all__ = ["Exploration"]

_LEARN_AMONG: Final = 50
"""A search of fewer schedules does not learn: it would be over before it could make use of it."""
_FIRST_WORD_SECONDS: Final = 10.0
_NEXT_WORD: Final = 2.0
"""Each word about how far a search has come takes so many times as long as the one before."""


def _explorer(running: RunningTest, share: Share) -> Explorer:
    """Return the explorer that the test's options ask for."""
    plan = running.plan
    if plan.options.get("explore") == "exhaustive" and plan.course is None:
        return Exhaustive(
            seed=plan.options.get("seed"),
            faults=[kind for kind in plan.options.get("faults") if kind in FAULTS],
            faults_at_most=plan.options.get("faults_at_most"),
        )
    return RandomExplorer(
        running.seed_of,
        noise="pct" if plan.options.get("explore") == "pct" else plan.options.get("noise"),
        learns=plan.schedules >= _LEARN_AMONG,
        name=f"{running.nodeid}{share.name}",
        turn=share.number,
    )


@final
class Exploration:
    """Gives the runs of a test's body their number and their approach, in turn.

    Attributes:
        explorer: chooses them.
    """

    def __init__(
        self, item: pytest.Item, running: RunningTest, *, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._item = item
        self._plan = running.plan
        self._now = now
        self._began = now()
        self._next_word = self._began + _FIRST_WORD_SECONDS
        self._share = Share.of(item.config, running)
        self.explorer = _explorer(running, self._share)

    def __iter__(self) -> Iterator[tuple[int, Approach]]:
        share, plan = self._share, self._plan
        for index in range(share.number, plan.schedules, share.workers):
            if index > share.number:
                if plan.seconds is not None and self._now() - self._began >= plan.seconds:
                    return
                share.leave_if_found()
                self._say(index)
            approach = self.explorer.approach(index)
            if approach is None:
                return
            yield index, approach

    @property
    def is_first(self) -> bool:
        """Whether it is for this process to do what is done once, however many workers share the schedules."""
        return self._share.number == 0

    def found(self) -> None:
        """A run has failed: others need not go on."""
        self._share.found()

    def _say(self, index: int) -> None:
        """Say now and then how far a long search has come."""
        now = self._now()
        if now < self._next_word:
            return
        seconds = now - self._began
        self._next_word = self._began + _NEXT_WORD * seconds
        config = self._item.config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or hasattr(config, "workerinput") or reporter.verbosity < 0:
            return
        of = f" of {self._plan.schedules:,}" if self._plan.seconds is None else ""
        line = (
            f"{self._item.name}: {index:,}{of} schedules in {seconds:.0f} s, {index / seconds:,.0f} a second"
        )
        if capture is None:
            _write(reporter, line)
        else:
            with capture.global_and_fixture_disabled():
                _write(reporter, line)


def _write(reporter: pytest.TerminalReporter, line: str) -> None:
    reporter.ensure_newline()
    reporter.write_line(line)
