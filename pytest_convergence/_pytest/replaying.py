"""What is to be said when a test has run under a schedule that was found before: a replayed token, or a pinned one.

A schedule names what is to happen by labels, so it may be run after the test has changed. Then it can happen that

1. a deviation never comes about, because the message is not sent any more: the schedule does not apply any more;
2. every deviation comes about, but the run is another one than that which the token was made from, event by event (the
   token holds the fingerprint of its trace): the code takes another path;
3. the run is the very same, and only what the test makes of it has changed.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from typing import Final

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.tokens import FINGERPRINT_DIGITS
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.running_test import RunningTest
from pytest_convergence.errors import StaleScheduleWarning
from pytest_convergence.explore.wording import not_reached

__all__ = [
    "PYTHON",
    "check_pinned",
    "check_replayed",
    "fingerprint_of",
    "unreached",
    "words_of_failure",
    "words_of_success",
]

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_CHANGED: Final = "3.12"
"""Where asyncio changed what programs can observe: ``wait_for`` runs in the same task from here on."""
_MOST_NAMED: Final = 5


def fingerprint_of(running: RunningTest) -> str:
    """Return the fingerprint of the present run: of the traces of all its sessions; empty if one has none."""
    digests = [told.digest for told in running.run.told if told.has_ended]
    if not all(digests) or not digests:
        return ""
    text = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return text[:FINGERPRINT_DIGITS]


def unreached(running: RunningTest) -> list[str]:
    """Say which deviations of the given schedule the present run did not come to."""
    run = running.run
    sessions = run.followers
    # All sessions follow the schedule that the marker pins: one of them must come to each label.
    if run.course is None:
        labels = [dict.fromkeys(told.unasked) for told in run.told] or [{}]
        return [not_reached(label) for label in labels[0] if all(label in others for others in labels)]
    several = len(sessions) > 1
    found = [
        f"session {number}: {not_reached(label)}" if several else not_reached(label)
        for number, told in enumerate(sessions, 1)
        for label in told.unasked
    ]
    schedules = enumerate(run.course.schedules, 1)
    return found + [
        f"session {number} was never made"
        for number, schedule in schedules
        if number > len(sessions) and schedule.deviations
    ]


def _listed(sentences: list[str]) -> str:
    more = len(sentences) - _MOST_NAMED
    return "; ".join(sentences[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _is_same(running: RunningTest) -> bool | None:
    """Whether the present run is the one that the token was made from; ``None`` if that is not known."""
    course = running.plan.course
    now = fingerprint_of(running)
    return None if course is None or not course.fingerprint or not now else course.fingerprint == now


def _of_python(running: RunningTest) -> list[str]:
    made_by = "" if running.plan.course is None else running.plan.course.python
    if not made_by or (_number(made_by) < _number(_CHANGED)) is (_number(PYTHON) < _number(_CHANGED)):
        return []
    return [
        f"The schedule was found on Python {made_by}, and this is {PYTHON}: asyncio.wait_for changed in {_CHANGED}, which "
        "may explain it."
    ]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def words_of_failure(running: RunningTest) -> list[str]:
    """Say how the failing run is related to that of the token; nothing if it is the same, or there is no token."""
    if running.plan.course is None:
        return []
    missing = unreached(running)
    if missing:
        return [
            f"Not all of the schedule came about before it failed: {_listed(missing)}.",
            *_of_python(running),
        ]
    if _is_same(running) is False:
        return [
            "It fails, but not in the run that the token was made from: the code takes another path now.",
            *_of_python(running),
        ]
    return []


def words_of_success(running: RunningTest) -> list[str]:
    """Say why the replayed schedule does not fail, as far as that can be known."""
    missing = unreached(running)
    if missing:
        return [
            f"the schedule does not apply any more: {_listed(missing)}. The test, or the code under test, has changed since "
            "the token was made.",
            *_of_python(running),
        ]
    same = _is_same(running)
    if same:
        return [
            "it does not fail any more, though the run is the very one that the token was made from: what the test checks "
            "has changed."
        ]
    changed = "" if same is None else ": all of the schedule came about, and the code takes another path now"
    return [f"it does not fail any more under this schedule{changed}.", *_of_python(running)]


def check_pinned(item: pytest.Item, running: RunningTest) -> None:
    """Warn if the schedule that a passing test pins does not apply any more; if the plugin is strict, fail."""
    __tracebackhide__ = True
    pinned = running.plan.options.get("schedule")
    if running.plan.is_given or not isinstance(pinned, str | Schedule):
        return
    missing = unreached(running)
    if not missing:
        return
    words = (
        f"the schedule that {running.nodeid} pins does not apply any more: {_listed(missing)}. Search for the failure "
        "again, or take schedule= away."
    )
    if item.config.stash[SETTINGS].strict:
        pytest.fail(f"{words} {_STRICT}", pytrace=False)
    warnings.warn(StaleScheduleWarning(words), stacklevel=2)


def check_replayed(item: pytest.Item, running: RunningTest) -> None:
    """Let the summary say why a replayed schedule does not fail; if it does not apply and the plugin is strict, fail."""
    __tracebackhide__ = True
    words = " ".join(words_of_success(running))
    if item.config.stash[SETTINGS].strict and unreached(running):
        pytest.fail(f"{words} {_STRICT}", pytrace=False)
    running.said.append(f"replayed {running.nodeid}: {words}")


_STRICT: Final = "(This is an error because of convergence_strict.)"
