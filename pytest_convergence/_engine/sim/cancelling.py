"""Cancellation as a choice: a task that may be cancelled is cancelled while it waits for the k-th time.

A request whose client hung up, a timeout that came at a bad moment: both cancel a task at one of its awaits, and which one
decides whether it leaves a mess. A random *time* hardly ever falls into the one await that matters; a random *await* does.

The task's coroutine is driven by a wrapper that counts how often it has waited. What it waits for passes through unchanged,
so asyncio sees the task that it would have seen.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.choices import Next, smaller
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.sim.driving import DRIVES

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Node

__all__ = ["STRIKES", "Cancelling", "cancelling_of", "run_cancellable"]

_RATE: Final = 0.05
_GREATEST_US: Final = 1_000_000


@final
class CancelDomain:
    """When a task is cancelled, once it waits: 1 at once, n > 1 after n - 1 microseconds if it still waits then."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Half of them at once; the others within a second, more often soon."""
        return 1 if u < 0.5 else 2 + int((2 * u - 1) ** 3 * _GREATEST_US)

    def describe(self, option: int) -> str:
        """Say it in words."""
        return "cancelled at once" if option == 1 else f"cancelled after {format_ns((option - 1) * 1_000)}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Sooner."""
        return smaller(option)


CANCEL: Final = CancelDomain()


@final
class Cancelling:
    """The cancellable tasks of one node, which give each other names.

    Attributes:
        wanted: of tasks that the node's program starts, the one that may be cancelled; ``None`` for no task.
    """

    __slots__ = ("_counts", "_node", "wanted")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._counts: dict[str, int] = {}
        self.wanted: Callable[[str], bool] | None = None

    def guard(self, coro: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Return a coroutine to run instead, if a program's task may be cancelled."""
        name = getattr(coro, "__qualname__", type(coro).__name__).rpartition("<locals>.")[2]
        if self.wanted is None or not hasattr(coro, "send") or not self.wanted(name):
            return coro
        return self.drive(coro, name)

    def drive(
        self, coro: Coroutine[Any, Any, Any], name: str, at: int | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that does what ``coro`` does, and is cancelled where the schedule says.

        Args:
            name: what it is called in the schedule, beside its node.
            at: cancel it at this step, whatever the schedule says.
        """
        count = self._counts[name] = self._counts.get(name, 0) + 1
        label = f"{self._node.name}/{name}" if name else self._node.name
        if count > 1:  # another task, perhaps of another life: a schedule speaks of it by another name
            label = f"{label}({count})"
        return run_cancellable(coro, _Plan(self._node, f"cancel {label}", at, coro))


@final
class _Plan:
    """What is in store for one task; ``coro`` is what it runs."""

    __slots__ = ("_at", "_following", "_node", "_stem", "_step", "_timer", "coro")

    def __init__(self, node: Node, stem: str, at: int | None, coro: Coroutine[Any, Any, Any]) -> None:
        self._node = node
        self._stem = stem
        self.coro = coro
        self._step = 0
        self._timer: asyncio.TimerHandle | None = None
        following: Next = node.fabric.choices.rare(stem, _RATE, CANCEL)
        self._at = (at, 1) if at is not None else following(0)
        self._following = following if at is None else None

    def waits(self) -> None:
        """The task is about to wait."""
        self._step += 1
        if self._at is None or self._at[0] != self._step or self._node.fabric.closed:
            return
        fabric = self._node.fabric
        if fabric.is_calm and self._following is not None:
            return
        task = asyncio.current_task()
        if task is None:
            return
        option = self._at[1]
        if self._following is not None:
            # Now, not when it strikes: a timer is a step of the loop, even if the task goes on or its agent crashes first.
            fabric.choices.struck(self._stem, *self._at, CANCEL)
        if option == 1:
            self._strike(task)
        else:
            loop = task.get_loop()
            self._timer = loop.call_later((option - 1) / 1e6, self._strike, task)

    def _strike(self, task: asyncio.Task[Any]) -> None:
        strikes, node = self._at, self._node
        if strikes is None or node.fabric.closed:
            return
        self._at = None
        node.fabric.note("cancel", node, {"task": self._stem.partition(" ")[2], "step": strikes[0]})
        task.cancel()

    def goes_on(self) -> None:
        """The task does not wait any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def run_cancellable(coro: Coroutine[Any, Any, Any], plan: _Plan) -> Any:
    """Drive ``coro``."""
    return await _drive(coro, plan)


@types.coroutine
def _drive(coro: Coroutine[Any, Any, Any], plan: _Plan) -> Generator[Any, Any, Any]:
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            waited = coro.send(value) if error is None else coro.throw(error)
        except StopIteration as stop:
            return stop.value
        plan.waits()
        value, error = None, None
        try:
            value = yield waited
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as raised:
            error = raised
        plan.goes_on()


DRIVES[_drive.__code__] = "coro"
STRIKES: Final = _Plan._strike.__code__
"""The code that cancels where the schedule says."""


def cancelling_of(node: Node) -> Cancelling:
    """Return what cancels tasks of a node, made for its first cancellable one."""
    cancelling = node.cancelling
    if cancelling is None:
        cancelling = node.cancelling = Cancelling(node)
    return cancelling
