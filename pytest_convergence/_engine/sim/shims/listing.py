"""``asyncio.all_tasks`` of a simulated loop lists its tasks in the order of their creation.

asyncio keeps one weak set for the tasks of all loops, whose size and order tell of everything that the process did before.
"""

from __future__ import annotations

import asyncio
from asyncio.events import _get_running_loop
from collections.abc import Callable, Iterator
from typing import Any

from pytest_convergence._engine.sim.order import FirstComeSet
from pytest_convergence._engine.sim.shims.patching import Home, Row
from pytest_convergence._engine.sim.tasks import WorldTask

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    yield Row("asyncio.tasks:all_tasks", "in the order of their creation", _make_all_tasks, "order")


def _by_name(task: asyncio.Task[Any]) -> tuple[int, str]:
    """The names that asyncio gives end with a number that grows."""
    name = task.get_name()
    return len(name), name


def _make_all_tasks(original: Callable[..., Any]) -> Callable[..., Any]:
    def all_tasks(_home: Home, /, loop: Any = None) -> Any:
        asked: Any = loop or _get_running_loop()
        if not hasattr(type(asked), "live_tasks"):  # of the type: a mock has every attribute
            return original(loop)
        ours = asked.live_tasks()
        # A program may make tasks by their class, or by a factory of its own: the loop does not know of those.
        others = [task for task in original(asked) if not isinstance(task, WorldTask)]
        return FirstComeSet([*ours, *sorted(others, key=_by_name)]) if others else FirstComeSet(ours)

    return all_tasks
