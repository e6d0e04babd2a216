"""Drives a session step by step from outside of its loop: what a state machine does, whose rules are plain calls.

1. The session's scenario is a clerk: it waits for a function, calls it, awaits what it returns, and waits for the next.
2. A step hands it a function and runs the loop until the function is done and its *instant* is over: nothing is ready, and
   no event is due at the present virtual time. What is under way stays under way; time passes only where a function waits.
3. Between steps the loop does not run. Whoever drives may draw from Hypothesis there, whose way to end a test is a
   ``BaseException`` that asyncio would swallow in a callback. One that is raised in the function itself is carried out.
4. An error of the function ends the session, as that of any scenario does. What tools raise to steer the test (a rejected
   example, a skip) leaves it as it stands, to be abandoned.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, final

from pytest_convergence._engine.run.hosting import OpenRun
from pytest_convergence._engine.run.judging import raise_or_return
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.shims.asking import TOOLS
from pytest_convergence.errors import ConvergenceUsageError, InternalError

__all__ = ["SteppedRun"]

_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


@final
class SteppedRun:
    """The run of a session, step by step.

    Args:
        session: has not run yet. It begins to run at once, up to the end of its first instant.
        inputs: what its pattern asks for.
    """

    def __init__(self, session: Session, inputs: Mapping[str, Any]) -> None:
        if asyncio._get_running_loop() is not None:
            raise ConvergenceUsageError(
                "a session cannot be driven step by step while an event loop is running; do it in a plain function."
            )
        self.session = session
        self._request: asyncio.Future[Callable[[], Any] | None] | None = None
        self._result: Any = None
        self._carried: BaseException | None = None
        main = session.stepped(self._serve, dict(inputs))
        self._run = OpenRun(main, session.options, seed=session.schedule.seed)
        self._go_on()

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self._run.is_over

    def step(self, function: Callable[[], Any]) -> Any:
        """Call ``function()`` in the world, await what it returns if that is awaitable, and return its result.

        Raises:
            BaseException: what the function raised, or what else ended the session meanwhile (a property that does not
                hold, an error of an agent).
        """
        __tracebackhide__ = True
        self._result = self._carried = None
        self._hand_over(function)
        if self._carried is not None:
            raise self._carried
        if self.is_over:
            raise_or_return(self._run.result())
            raise InternalError("a session ended between two steps without a reason; please report this")
        return self._result

    def finish(self) -> Outcome:
        """Let the session settle, and return its outcome.

        Raises:
            RunFailure: what went wrong at the end, such as a property that must hold eventually.
        """
        __tracebackhide__ = True
        self._hand_over(None)
        return raise_or_return(self._run.result())

    def close(self) -> None:
        """Clear the world away. A session that has not ended is abandoned: nobody is told of it."""
        if not self.is_over:
            self.session.abandon()
        self._run.close()

    def _hand_over(self, function: Callable[[], Any] | None) -> None:
        __tracebackhide__ = True
        request, self._request = self._request, None
        if request is None or self.is_over:
            raise ConvergenceUsageError(f"session {self.session.name!r} has ended: there are no more steps.")
        request.set_result(function)
        self._go_on()

    def _go_on(self) -> None:
        __tracebackhide__ = True
        self._run.go_on()

    async def _serve(self, session: Session) -> None:
        __tracebackhide__ = True
        loop = self._run.loop
        while True:
            self._request = loop.create_future()
            loop.call_soon(self._rest)
            function = await self._request
            if function is None:
                return
            try:
                result = function()
                self._result = await result if inspect.isawaitable(result) else result
            except _ENDS:
                raise
            except BaseException as error:
                if isinstance(error, Exception) and type(error).__module__.partition(".")[0] not in TOOLS:
                    raise
                self._carried = error

    def _rest(self) -> None:
        """Stop the loop once this instant is over."""
        loop = self._run.loop
        world = loop.world
        if loop.is_ready or (world.events and world.events[0][0] <= world.now_ns):
            loop.call_soon(self._rest)
        else:
            loop.stop()
