"""Doing what one is asked for, once, however often one is asked: the worker's side of several patterns.

Questions bear a number, that of a round. A worker that hears of a later round drops what it still does for the earlier
one. What it has found out it remembers for as long as the round lasts, and answers again when it is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.effects import Call, CancelCall, Effect, Raised, Returned
from pytest_convergence.errors import unknown_name

__all__ = ["ERRORS", "Answer", "Worker", "check_errors"]

Answer = Mapping[str, Any]
"""What a worker says: ``round`` and ``part`` of the question, and ``value`` (in a list) or ``error`` (a text)."""

ERRORS: Final = ("raise", "flag")


def check_errors(errors: Any) -> None:
    """Check what is to happen when a function of the user's raises.

    Raises:
        ConvergenceUsageError: there is no such way to treat it.
    """
    if errors not in ERRORS:
        raise unknown_name("way to treat errors", errors, ERRORS)


class Worker:
    """Has one agent do the parts that it is asked for, by the user's function ``function``.

    Attributes:
        round: the latest round that it has heard of.
    """

    __slots__ = ("_answers", "_running", "function", "round")

    def __init__(self, function: str) -> None:
        self.function = function
        self.round = 0
        self._running: dict[str, tuple[int, str]] = {}  # call to round and part
        self._answers: dict[str, Answer] = {}  # of the present round, by part

    @property
    def is_busy(self) -> bool:
        """Whether something is going on."""
        return bool(self._running)

    def asked(self, number: int, part: str, arguments: tuple[Any, ...]) -> tuple[list[Effect], Answer | None]:
        """Take a question of round ``number``; return what to do, and the answer if it is known already."""
        effects: list[Effect] = []
        if number < self.round:
            return effects, None
        if number > self.round:
            effects = self.stop()
            self.round = number
        if part in self._answers:
            return effects, self._answers[part]
        call = f"{self.function} {number} {part}"
        if call not in self._running:
            self._running[call] = (number, part)
            effects.append(Call(call, self.function, arguments))
        return effects, None

    def is_call(self, id: str) -> bool:
        """Whether ``id`` names one of its calls."""
        return id in self._running

    def ended(self, came: Returned | Raised) -> Answer:
        """A call has ended: return the answer."""
        number, part = self._running.pop(came.id)
        said: dict[str, Any] = {"round": number, "part": part}
        if isinstance(came, Returned):
            said["value"] = [came.value]
        else:
            said["error"] = f"{type(came.error).__name__}: {came.error}"
        self._answers[part] = said
        return said

    def give_up(self) -> list[Effect]:
        """Drop the work that is still going on."""
        stopped: list[Effect] = [CancelCall(call) for call in self._running]
        self._running.clear()
        return stopped

    def stop(self) -> list[Effect]:
        """Drop all work, and what was remembered of it."""
        self._answers.clear()
        return self.give_up()
