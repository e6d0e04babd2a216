"""The contractor's side of a contract net: bidding, accepting, performing.

1. An acceptance is a promise: it is durable before it is given, and survives a restart.
2. A revocation is final for its number and all below: a contractor that learns of it before it learns of the award
   (messages overtake one another) will not accept that award any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.effects import Effect, Observe, Raised, Returned, SetTimer
from pytest_convergence._engine.patterns.working import Answer, Worker

__all__ = ["Contractor"]

COMPETE: Final = "compete"
PERFORM: Final = "perform"
GIVE_UP_TIMER: Final = "give up"


class Contractor:
    """What one contractor has promised, and what it is doing.

    Attributes:
        promised: the number of the last award that it accepted; durable.
        released: the number of the last award that it knows to be revoked; durable.
    """

    __slots__ = ("_bidding", "_name", "_perform_ns", "_performing", "promised", "released")

    def __init__(self, name: str, perform_ns: int) -> None:
        self._name = name
        self._perform_ns = perform_ns
        self._bidding = Worker(COMPETE)
        self._performing = Worker(PERFORM)
        self.promised = 0
        self.released = 0

    # -- durable ---------------------------------------------------------------------------------------------------

    def durable(self) -> Mapping[str, int]:
        """What must survive a crash."""
        return {"promised": self.promised, "released": self.released}

    def restore(self, saved: Mapping[str, int]) -> list[Effect]:
        """Take up what survived; say again what was promised."""
        self.promised, self.released = saved["promised"], saved["released"]
        return self.promise_facts() if self.promised else []

    def promise_facts(self) -> list[Effect]:
        """Say what was accepted."""
        return [
            Observe("award_accepted", {"number": self.promised}),
            Observe("promise", {"name": "the award accepted last", "at_least": self.promised}),
        ]

    # -- work ------------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether it competes or performs."""
        return self._bidding.is_busy or self._performing.is_busy

    def is_call(self, id: str) -> bool:
        """Whether ``id`` names one of its calls."""
        return self._bidding.is_call(id) or self._performing.is_call(id)

    def called(self, call: int, task: Any, deadline_ns: int) -> tuple[list[Effect], Answer | None]:
        """A call for proposals came: compete, or return the bid if there is one."""
        return self._start(self._bidding, call, (task,), deadline_ns)

    def confirmed(self, number: int, task: Any, result: Any) -> tuple[list[Effect], Answer | None]:
        """The contract is this agent's: perform, or return what came of it."""
        return self._start(self._performing, number, (task, result), self._perform_ns)

    def _start(
        self, worker: Worker, number: int, arguments: tuple[Any, ...], time_ns: int
    ) -> tuple[list[Effect], Answer | None]:
        was_busy = worker.is_busy
        effects, answer = worker.asked(number, self._name, arguments)
        if worker.is_busy and not was_busy:
            effects.append(SetTimer(GIVE_UP_TIMER, time_ns))
        return effects, answer

    def ended(self, came: Returned | Raised) -> tuple[Answer, int | None]:
        """A call has ended: return what to say, and the number of the award if it was the performance."""
        if self._performing.is_call(came.id):
            return self._performing.ended(came), self._performing.round
        return self._bidding.ended(came), None

    def release(self, number: int) -> list[Effect]:
        """The award ``number`` is revoked: stop what was done for it."""
        self.released = number
        return self._performing.stop() if self._performing.round <= number else []

    def give_up(self) -> list[Effect]:
        """Time is up for what is going on."""
        return [*self._bidding.give_up(), *self._performing.give_up()]

    def stop(self) -> list[Effect]:
        """All is over."""
        return [*self._bidding.stop(), *self._performing.stop()]
