"""Tasks with an order. Sets of tasks iterate by hash; hashed by address they would iterate differently in each run.

``asyncio.wait``, ``as_completed``, ``TaskGroup`` and ``all_tasks`` all iterate over sets of tasks. A task here hashes by
its number in its world, so those sets iterate the same way in every run of the same schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from types import GeneratorType
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.sim.mailbox import NEXT_MESSAGE

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Life

__all__ = ["WorldTask", "cancel", "new_task"]


@final
class WorldTask(asyncio.Task[Any]):
    """The C task with a hash that is the same in every run.

    Attributes:
        life: the life of the agent whose code it runs, ``None`` for the test's own.
    """

    _order: int
    life: Life | None = None

    def __hash__(self) -> int:
        return self._order

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it, by way of who listens for that, if anybody does."""
        hear = None if self.life is None else self.life.node.fabric.hear_cancel
        return super().cancel(msg) if hear is None else hear(self, msg)


def cancel(task: WorldTask) -> None:
    """Cancel a task, as far as that goes: asyncio passes it on, round and round where tasks await each other."""
    with suppress(RecursionError):
        task.cancel()


async def _awaits(awaitable: Any) -> Any:
    return await awaitable


def new_task(
    loop: asyncio.AbstractEventLoop,
    order: int,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    name: str | None,
    context: Context | None,
    **options: Any,
) -> WorldTask:
    """Make a task; ``order`` has to be known before the C code puts it into the set of all tasks."""
    if type(coro) is GeneratorType and coro.gi_code is NEXT_MESSAGE:
        # create_task(anext(agent.inbox)): from Python 3.12 on a task takes nothing but coroutines.
        coro = _awaits(coro)
    task = WorldTask.__new__(WorldTask)
    task._order = order
    # The world owns the names: the default counter of asyncio is shared by the whole process.
    WorldTask.__init__(
        task, coro, loop=loop, name=f"Task-{order}" if name is None else name, context=context, **options
    )
    return task
