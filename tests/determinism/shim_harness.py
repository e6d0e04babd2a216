"""A world small enough to see through, on a stock event loop: what the shims are tested against."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any, TypeVar

from pytest_convergence._engine.sim.shims import InsideRun

T = TypeVar("T")

EPOCH_NS = 946_684_800 * 10**9
POLL_COST_NS = 1_000


class SmallWorld:
    """Virtual time that moves when it is read or slept; one stream of entropy for each agent."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.now_ns = 0
        self.closed = False
        self.suspended = False
        self.numbers = count(1)
        self.agent = "agent"
        self.streams: dict[str, Random] = {}

    def poll_monotonic(self) -> int:
        self.now_ns += POLL_COST_NS
        return self.now_ns

    def poll_clock(self) -> int:
        return EPOCH_NS + self.poll_monotonic()

    def sleep_blocking(self, duration_ns: int, /) -> None:
        self.now_ns += duration_ns

    def entropy(self) -> Random:
        if self.agent not in self.streams:
            self.streams[self.agent] = Random(f"{self.seed}/{self.agent}")
        return self.streams[self.agent]


class SmallLoop(asyncio.SelectorEventLoop):
    def __init__(self, world: SmallWorld) -> None:
        super().__init__()
        self.world = world

    def time(self) -> float:
        return 0.0 if not hasattr(self, "world") else self.world.now_ns / 10**9


def run_async(main: Callable[[], Coroutine[Any, Any, T]], world: SmallWorld | None = None) -> T:
    """Run a coroutine function inside a run of ``world``."""
    loop = SmallLoop(world or SmallWorld())
    try:
        with InsideRun():
            return loop.run_until_complete(main())
    finally:
        loop.close()


def run(function: Callable[[], T], world: SmallWorld | None = None) -> T:
    """Call ``function`` inside a run of ``world``."""

    async def main() -> T:
        return function()

    return run_async(main, world)
