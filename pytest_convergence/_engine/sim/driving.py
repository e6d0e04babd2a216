"""Runs the coroutine of a behaviour for its task, and straight from the loop while the behaviour waits in its inbox.

1. A task of asyncio takes a step by way of a future: callback, step, look at what is awaited, callback again. A behaviour
   that lives on its inbox takes nearly all of its steps there, so those are taken without the task: the loop sends into the
   coroutine, and if that awaits the inbox again, nothing else needs to be done.
2. When it awaits something else, returns or raises, that is the task's: the task is woken in the same step, and is given
   what has come of it, as if it had taken the step itself.
3. A cancellation is the task's too. While a step is taken that is not the task's own, the task believes that it sleeps: what
   cancels it then comes here, by way of the sleeper, and is carried out as the task would.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.mailbox import Sleeper
    from pytest_convergence._engine.sim.node import Life

__all__ = ["DRIVES", "Driver", "driven"]

_ENTER: Final = asyncio._enter_task
_LEAVE: Final = asyncio._leave_task


@final
class Driver:
    """What runs one behaviour.

    Attributes:
        life: the life that its steps are counted in.
        wake: what lets the task go on; known while the behaviour waits in its inbox.
        context: what it runs in; known likewise.
        cancelled: whether the task was cancelled while it was not the one to take the steps.
    """

    __slots__ = (
        "_loop",
        "_outcome",
        "_send",
        "_sleeper",
        "_task",
        "cancelled",
        "context",
        "life",
        "wake",
    )

    wake: Any
    _send: Any
    context: Context
    life: Life

    def __init__(self, sleeper: Sleeper) -> None:
        self._sleeper = sleeper
        self._loop = sleeper._loop
        self._outcome: tuple[Any, BaseException | None] | None = None
        self.cancelled = False

    def sleeps(self, wake: Any, context: Context, life: Life) -> None:
        """The task has gone to sleep, because the behaviour waits in its inbox."""
        self.wake, self.context, self.life = wake, context, life
        self._task = wake.__self__

    def step(self) -> None:
        """Take a step of the behaviour, for which something has come into its inbox."""
        sleeper = self._sleeper
        if not self.cancelled:
            loop, task = self._loop, self._task
            awaited = raised = None
            try:
                _ENTER(loop, task)
                awaited = self.context.run(self._send, None)
            except BaseException as error:
                raised = error
            _LEAVE(loop, task)
            if awaited is sleeper and not self.cancelled:
                sleeper.wake_up = self
                return
            self._outcome = awaited, raised
        self._wake_task()

    def hand_over(self, awaited: Any, raised: BaseException | None) -> None:
        """Give the task what has come of a step that was taken for it."""
        self._outcome = awaited, raised
        try:
            self._wake_task()
        except BaseException as error:
            self._loop._callback_failed(self, error)

    def _wake_task(self) -> None:
        """From here on it is the task's."""
        sleeper = self._sleeper
        sleeper.driver, self.cancelled = None, False
        self.context.run(self.wake, sleeper)

    @types.coroutine
    def drive(self, behaviour: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Run a behaviour to its end and return what it returns: what its task awaits."""
        self._send = step = behaviour.send
        sleeper, answer = self._sleeper, None
        try:
            while True:
                if self._outcome is None:
                    try:
                        awaited = step(answer)
                    except StopIteration as end:
                        return end.value
                else:  # the step was taken already
                    (awaited, error), self._outcome = self._outcome, None
                    if isinstance(error, StopIteration):
                        return error.value
                    if error is not None:
                        raise error
                if awaited is sleeper:
                    sleeper.sleepy = self
                try:
                    answer = yield awaited
                    step = behaviour.send
                except BaseException as error:
                    if self._outcome is None or not self._takes(error):
                        self._outcome, step, answer = None, behaviour.throw, error
        finally:  # no cycle of the task, its error, and the frames that the error was raised in
            self.wake = self._task = self._send = answer = None

    def _takes(self, error: BaseException) -> bool:
        """Whether a cancellation that came while a step was taken needs not be thrown: as a task decides after its steps."""
        awaited, ended = self._outcome or (None, None)
        if ended is not None or not isinstance(error, asyncio.CancelledError):
            return ended is not None
        cancel = getattr(awaited, "cancel", None)
        return cancel is not None and bool(cancel(*error.args))


def driven(awaited: Any) -> Any:
    """Return the coroutine that is run by what its task awaits, a behaviour say; ``None`` for anything else."""
    frame = getattr(awaited, "gi_frame", None)
    return None if frame is None else frame.f_locals.get(DRIVES.get(frame.f_code, ""))


DRIVES: Final = {Driver.drive.__code__: "behaviour"}
"""The code of generators that send into a coroutine themselves -> what they call it."""
