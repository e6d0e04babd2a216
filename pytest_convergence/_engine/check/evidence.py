"""The evidence of a verdict: the few facts that prove a property broken, out of all that its checker was fed.

A checker is a pure function of the events that it is fed. So the events of a run can be reduced, as a failing input is
(Zeller & Hildebrandt, 2002), to a part that proves the very same sentence, and of which none can be left out. That works for
every property, also for those of users, and no checker has to know of it. Where several parts would do, the latest facts
stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Property, Scope, Violation

__all__ = ["evidence"]

_MOST_TESTS: Final = 3_000
_MOST_FED: Final = 2_000_000
"""Events that are fed at most, over all tests: some tenths of a second."""
_OF_THE_TEST: Final = "step"
"""What predicates of the test's own are asked after: they read the session, not events."""


def evidence(
    prop: Property, scope: Scope, events: Iterable[TraceEvent], violation: Violation, final: FinalState | None
) -> tuple[TraceEvent, ...]:
    """Return the facts that prove ``violation``, oldest first; nothing where they cannot be told.

    Args:
        prop: the property that was violated.
        scope: what its checker was told in advance.
        events: of the whole run, oldest first.
        violation: what its checker said.
        final: the end of the run, if it came to be judged.
    """
    given = [event for event in events if event.at_ns <= violation.at_ns]
    try:
        if _OF_THE_TEST in prop.checker(scope).kinds:
            return ()
        fed: list[TraceEvent] = []
        if not _proves(prop, scope, given, violation, final, fed):
            return ()
        return tuple(_reduced(prop, replace(scope, is_excerpt=True), fed, violation, final))
    except Exception:  # a checker of the user's may want what a part of a run does not have
        return ()


def _proves(
    prop: Property,
    scope: Scope,
    events: Iterable[TraceEvent],
    violation: Violation,
    final: FinalState | None,
    fed: list[TraceEvent] | None = None,
) -> bool:
    """Whether these events alone make a checker say the same; what it has asked for is added to ``fed``."""
    checker = prop.checker(scope)
    for event in events:
        if event.kind in checker.kinds:
            if fed is not None:
                fed.append(event)
            found = checker.feed(event)
            if found is not None:
                return found.message == violation.message
    ended = None if final is None else checker.finish(final)
    return ended is not None and ended.message == violation.message


def _reduced(
    prop: Property,
    scope: Scope,
    events: list[TraceEvent],
    violation: Violation,
    final: FinalState | None,
) -> list[TraceEvent]:
    """Take away pieces, the oldest first, that get smaller and smaller, until no single event can go."""
    size, tests, fed = max(1, len(events) // 2), 0, 0
    while True:
        place, smaller = 0, False
        while place < len(events) and tests < _MOST_TESTS and fed < _MOST_FED:
            rest = events[:place] + events[place + size :]
            tests, fed = tests + 1, fed + len(rest)
            if _proves(prop, scope, rest, violation, final):
                events, smaller = rest, True
            else:
                place += size
        if size == 1 and not smaller:
            return events
        size = max(1, size // 2)
        if tests >= _MOST_TESTS or fed >= _MOST_FED:
            return []  # too many to be told as the few that matter
