"""``convergence_strict``: what is only said otherwise is an error of the test."""

from __future__ import annotations

import pytest

from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.running_test import RunningTest

__all__ = ["check_reached"]


def check_reached(item: pytest.Item, running: RunningTest) -> None:
    """Fail a test that has passed without ever reaching one of its *sometimes* properties, if the plugin is strict.

    A replay is one schedule of many: what it does not reach, others may.
    """
    __tracebackhide__ = True
    settings = item.config.stash[SETTINGS]
    unreached = [name for name, reached in running.reached.items() if not reached]
    if not settings.strict or settings.replay is not None or not unreached:
        return
    count = running.run.index + 1
    under = f"none of its {count} schedules reached" if count > 1 else "its one schedule did not reach"
    names = ", ".join(map(repr, unreached))
    pytest.fail(
        f"{under} what must hold sometimes: {names}. What the test is to show in such a run it has not shown. Give it more "
        "schedules (schedules=N), more faults, or a weaker predicate. (This is an error because of convergence_strict.)",
        pytrace=False,
    )
