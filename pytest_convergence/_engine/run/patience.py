"""How long those wait who do not say how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND, to_ns

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.world import World

__all__ = ["PATIENCE_SECONDS", "within"]

PATIENCE_SECONDS: Final = 3_600
"""For so many virtual seconds a proposal, a read, or who asks for a leader waits, unless told otherwise.

Correct replicas must not come near it: under `chaos`, whose messages take up to two seconds, five agents with the default
timing may need eleven minutes to elect and commit.
"""


@asynccontextmanager
async def within(world: World, seconds: float | None) -> AsyncIterator[None]:
    """As :func:`asyncio.timeout`, but for the default: that keeps no world awake in which nothing else goes on.

    So where nobody is left who could answer, the run ends at once with a deadlock that says who waits for what.

    Args:
        seconds: virtual; ``None`` for no bound.

    Raises:
        ConvergenceUsageError: the number of seconds is none.
        TimeoutError: the time is up.
    """
    if seconds is not None:
        to_ns(seconds, "timeout")
    is_default = seconds == PATIENCE_SECONDS
    async with asyncio.timeout(None if is_default else seconds) as limit:
        if is_default:
            world.inert += 1  # if it is all that is left, nothing will ever come
            world.at_background(world.now_ns + PATIENCE_SECONDS * NS_PER_SECOND, _time_is_up, (world, limit))
        yield


def _time_is_up(waiting: tuple[World, asyncio.Timeout]) -> None:
    world, limit = waiting
    world.inert -= 1
    with suppress(RuntimeError):  # who waited has gone on
        limit.reschedule(asyncio.get_running_loop().time())
