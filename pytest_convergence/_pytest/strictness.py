"""What is asked of a test that has passed. With ``convergence_strict`` it is an error; otherwise it is only said."""

from __future__ import annotations

import pytest

from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.replaying import check_pinned, check_replayed
from pytest_convergence._pytest.running_test import RunningTest
from pytest_convergence._pytest.spreading import Share

__all__ = ["check_passed"]


def check_passed(item: pytest.Item, running: RunningTest) -> None:
    """Ask what a test that has passed has shown: whether its schedule still applies, and what it has reached.

    Raises:
        pytest.fail.Exception: it has not shown what it is to show, and the plugin is strict.
    """
    __tracebackhide__ = True
    if item.config.stash[SETTINGS].replay is not None:
        if running.plan.course is not None:
            check_replayed(item, running)
        return  # a replay is one schedule of many: what it does not reach, others may
    check_pinned(item, running)
    _check_reached(item, running)


def _check_reached(item: pytest.Item, running: RunningTest) -> None:
    """Fail a test that has passed without ever reaching one of its *sometimes* properties, if the plugin is strict."""
    __tracebackhide__ = True
    if not item.config.stash[SETTINGS].strict:
        return
    reached = Share.of(item.config, running).together(running.reached)
    unreached = [name for name, is_reached in (reached or {}).items() if not is_reached]
    if not unreached:
        return
    count = running.plan.schedules if running.plan.seconds is None else running.run.index + 1
    under = f"none of its {count} schedules reached" if count > 1 else "its one schedule did not reach"
    names = ", ".join(map(repr, unreached))
    pytest.fail(
        f"{under} what must hold sometimes: {names}. What the test is to show in such a run it has not shown. Give it more "
        "schedules (schedules=N), more faults, or a weaker predicate. (This is an error because of convergence_strict.)",
        pytrace=False,
    )
