"""``cancellable()``: starts a task that a schedule may cancel at any of its awaits."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

from pytest_convergence._engine.run.hosting import current_loop
from pytest_convergence._engine.sim.cancelling import cancelling_of
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["cancellable"]

T = TypeVar("T")


def cancellable(coro: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Start ``coro`` as a task that the schedule may cancel: a request whose client hung up.

    Each of its awaits is a choice like a message's delay: under the calm schedule nothing is cancelled, and in a
    counterexample the await that matters is named. Outside a run it is :func:`asyncio.create_task`.

    Args:
        coro: what to run.
        name: what it is called in a counterexample; the coroutine's own name by default.

    Raises:
        ConvergenceUsageError: ``coro`` is no coroutine.
    """
    if not inspect.iscoroutine(coro):
        raise ConvergenceUsageError(
            f"cancellable() takes a coroutine, `cancellable(fetch(url))`, not {coro!r}."
        )
    loop = current_loop()
    life = OWNER.get()
    if loop is None or life is None:
        return asyncio.create_task(coro, name=name)
    called = name or coro.__qualname__.rpartition("<locals>.")[2]
    driven = cancelling_of(life.node).drive(coro, called)
    return loop.create_task(driven, name=name)  # type: ignore[no-any-return]
