"""What is ready, and what becomes ready at an instant: the handles of a simulated loop.

The base classes of asyncio ask for the loop, look at its debug mode and may keep a traceback. These are made for every
step of every agent, so they only keep what is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias, final

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.driving import Driver
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence._engine.sim.world import World

__all__ = ["Ready", "StepHandle", "TimerStep", "WakeUp"]

WakeUp: TypeAlias = "tuple[Callable[[Any], object], Any, Context, Life]"
"""A task of ours wants to be woken by something: nobody else can cancel that, so it needs no handle to hold on to."""


class StepHandle(asyncio.Handle):
    """A callback that is ready. Lighter to make than its base: no debug hooks, no traceback."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False

    def cancel(self) -> None:
        """Forget the callback."""
        self._cancelled = True
        self._callback = None  # type: ignore[assignment]  # as asyncio's own handles do
        self._args = ()

    def __repr__(self) -> str:
        return f"<StepHandle {'cancelled' if self._cancelled else repr(self._callback)}>"


@final
class TimerStep(asyncio.TimerHandle):
    """A callback that becomes ready at a virtual instant."""

    __slots__ = ("_world",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context,
        world: World,
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False
        self._when = when
        self._world = world
        self._scheduled = True

    def cancel(self) -> None:
        """Forget the callback; the world no longer waits for it."""
        if not self._cancelled:
            self._cancelled = True
            self._callback = None  # type: ignore[assignment]  # as asyncio's own handles do
            self._args = ()
            if self._scheduled:
                self._world.timer_cancelled()

    def __repr__(self) -> str:
        return f"<TimerStep at {self._when} {'cancelled' if self._cancelled else repr(self._callback)}>"


Ready: TypeAlias = "StepHandle | TimerStep | WakeUp | Driver"
"""What stands in the queue of a loop."""
