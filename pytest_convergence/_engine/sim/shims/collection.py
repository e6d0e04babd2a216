"""Garbage collection at fixed points, so that finalizers, weak references and async generators end at fixed points too.

1. During a run the automatic collector is off: it would act after a number of allocations, which depends on caches,
   tools and versions. Reference counting, which ends nearly everything, is not affected.
2. A short run ends before its first point. Its cyclic garbage is left to the automatic collector, after the run: that is
   what it costs nothing to do, where a full collection for each run would dominate the time of tiny ones.
3. At its first point a long run freezes everything that exists. Nothing older than that is finalized inside the run,
   and each later point collects only what the run itself has made since. Points are counted in events of the world.
   Full collections follow at growing distances, so that all together cost about as much as the automatic ones would.
4. Leaving thaws, and switches the collector back on if it was on. Thawed objects count as old; when long runs have left
   enough of them, the next run is preceded by one full collection.

5. In a search, where runs follow each other by the thousand, the automatic collector would come right after a run, while the
   test still holds the session: what is garbage a moment later has then outlived one collection, and waits for a costlier
   one. So what a run leaves is collected when the next is about to be made (:func:`many_runs`, :func:`between_runs`).

Where the test has switched the collector off, that is respected, and objects that it has frozen stay frozen. An explicit
``gc.collect()`` inside a run does what it says, also to garbage that is older than the run.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

__all__ = ["EVENTS_BEFORE_FIRST_POINT", "EVENTS_PER_POINT", "Collection", "between_runs", "many_runs"]

EVENTS_BEFORE_FIRST_POINT: Final = 32_768
"""The first point of collection comes after so many events."""

EVENTS_PER_POINT: Final = 8_192
"""Another point of collection comes after so many events."""

_POINTS_PER_MIDDLE: Final = 8
_FIRST_FULL_POINT: Final = 32
_MOST_POINTS_BETWEEN_FULL: Final = 512
_OLDEST: Final = 2
_FROZEN_BY_INTERPRETER: Final = (
    1_000  # Python 3.12 starts with some hundreds; a program that freezes has thousands
)
_EVENTS_PER_FULL_BETWEEN_RUNS: Final = 500_000


@final
class _Debt:
    """How many events the long runs of this process have had since the last full collection between runs."""

    __slots__ = ("events",)

    def __init__(self) -> None:
        self.events = 0


_DEBT: Final = _Debt()


@final
class _Search:
    """The search that goes on in this process.

    Attributes:
        goes_on: whether there is one.
        is_owed: whether a run of it is over, and the collector not yet switched on again.
    """

    __slots__ = ("goes_on", "is_owed")

    def __init__(self) -> None:
        self.goes_on = self.is_owed = False

    def tidy(self) -> None:
        """Collect what the last run has left, if that is enough for the automatic collector, and switch that on."""
        if self.is_owed:
            self.is_owed = False
            if gc.get_count()[0] > gc.get_threshold()[0]:
                gc.collect(0)
            gc.enable()


_SEARCH: Final = _Search()

between_runs: Final = _SEARCH.tidy
"""Within :func:`many_runs`: nobody holds the session of the last run any more, and the next one is not made yet."""


@contextmanager
def many_runs() -> Iterator[None]:
    """Many runs follow each other; :func:`between_runs` is called between them."""
    outer = _SEARCH.goes_on
    _SEARCH.goes_on = True
    try:
        yield
    finally:
        _SEARCH.goes_on = outer
        _SEARCH.tidy()


@final
class Collection:
    """The collector during one run: :meth:`enter`, :meth:`point` every so often, :meth:`leave`."""

    __slots__ = ("_frozen", "_happened", "_next_event", "_next_full", "_points", "_was_enabled")

    def __init__(self) -> None:
        self._was_enabled = False
        self._frozen = False
        self._happened = 0
        self._points = 0
        self._next_event = EVENTS_BEFORE_FIRST_POINT
        self._next_full = _FIRST_FULL_POINT

    def enter(self) -> None:
        """The run begins."""
        if gc.isenabled() or _SEARCH.is_owed:
            _SEARCH.is_owed = False
            if _DEBT.events > _EVENTS_PER_FULL_BETWEEN_RUNS:
                _DEBT.events = 0
                gc.collect()
            self._was_enabled = True
            gc.disable()

    def point(self, happened: int) -> None:
        """Collect, if the number of events that ``happened`` in this run says so."""
        if happened >= self._next_event and self._was_enabled:
            self._next_event = happened - happened % EVENTS_PER_POINT + EVENTS_PER_POINT
            self._happened = happened
            self._collect()

    def _collect(self) -> None:
        self._points += 1
        if self._points == 1:
            if gc.get_freeze_count() <= _FROZEN_BY_INTERPRETER:
                gc.freeze()
                self._frozen = True
        elif self._points >= self._next_full:
            self._next_full = self._points + min(self._points // 4, _MOST_POINTS_BETWEEN_FULL)
            gc.collect(_OLDEST)
        else:
            gc.collect(0 if self._points % _POINTS_PER_MIDDLE else 1)

    def leave(self) -> None:
        """The run has ended."""
        if self._frozen:
            self._frozen = False
            gc.unfreeze()
            _DEBT.events += self._happened
        if self._was_enabled:
            self._was_enabled = False
            _SEARCH.is_owed = _SEARCH.goes_on
            if not _SEARCH.goes_on:
                gc.enable()
