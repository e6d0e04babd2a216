"""How long those wait who do not say how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.base.time import NS_PER_SECOND, to_ns

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.world import World

__all__ = ["PATIENCE_SECONDS", "within"]

PATIENCE_SECONDS: Final = 3_600
"""For so many virtual seconds a proposal, a read, or who asks for a leader waits, unless told otherwise.

Correct replicas must not come near it: under `chaos`, whose messages take up to two seconds, five agents with the default
timing may need eleven minutes to elect and commit.
"""


@final
class _Deadline:
    """The end of somebody's patience: a background event, and nothing that the world would wait for.

    Attributes:
        armed: whether somebody still waits; if not, the world may sweep the event out of its heap.
    """

    __slots__ = ("_limit", "_world", "armed")

    def __init__(self, world: World, limit: asyncio.Timeout) -> None:
        self._world = world
        self._limit = limit
        self.armed = True
        world.background += 1
        world.inert += 1  # if it is all that is left, nothing will ever come
        world.at(world.now_ns + PATIENCE_SECONDS * NS_PER_SECOND, _Deadline.is_due, self)

    def is_due(self) -> None:
        """The time is up, if somebody still waits."""
        self._world.timer_discarded()
        if self.armed:
            self.armed = False
            self._limit.reschedule(asyncio.get_running_loop().time())

    def disarm(self) -> None:
        """Who waited goes on."""
        if self.armed:
            self.armed = False
            self._world.timer_discarded()  # it was counted as nothing to wait for from the beginning
            self._world.timer_cancelled()


@asynccontextmanager
async def within(world: World, seconds: float | None) -> AsyncIterator[None]:
    """As :func:`asyncio.timeout`, but for the default: that keeps no world awake in which nothing else goes on.

    So where nobody is left who could answer, the run ends at once with a deadlock that says who waits for what.

    Args:
        seconds: virtual; ``None`` for no bound, :data:`PATIENCE_SECONDS` for the default.

    Raises:
        ConvergenceUsageError: the number of seconds is none.
        TimeoutError: the time is up.
    """
    if seconds is not None:
        to_ns(seconds, "timeout")
    is_default = seconds == PATIENCE_SECONDS
    async with asyncio.timeout(None if is_default else seconds) as limit:
        deadline = _Deadline(world, limit) if is_default else None
        try:
            yield
        finally:
            if deadline is not None:
                deadline.disarm()
