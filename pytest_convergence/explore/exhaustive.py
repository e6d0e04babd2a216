"""Exhaustive exploration: the body of a test once under every order of deliveries that makes a difference.

1. What is chosen is which message comes next to its recipient. Any message that is under way may, but messages of one
   link keep their order unless the network reorders them. Deliveries to different agents commute.
2. Each run is directed (:class:`~pytest_convergence._engine.base.directing.Director`): some deliveries come in a given
   order, the others as under the calm schedule. Its log says in which order all came, and what was sent in consequence of
   what. The search (:mod:`.dpor`) works out the next run from it.
3. An order is brought about by delays, so each run can also be written as an ordinary schedule, deviation by deviation:
   it is replayed, shrunk and explained like any other.
4. A message that was sent because of something the log does not show (the test's own code looked at another agent) may fail
   to come when it is wanted. That run has *strayed*: it counts for what it was, and the search is not called exhausted.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import final

from pytest_convergence._engine.base.directing import Director
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence.explore.dpor import OrderSearch, Step

__all__ = ["Exhaustive"]


@final
class Exhaustive:
    """Chooses the schedules of the runs of one test, one after another.

    Before each run ask :meth:`advance`; give the n-th session of the run :meth:`schedule` (n); afterwards call :meth:`ran`.

    Attributes:
        runs: how many runs were made.
        strayed: what did not come about as laid down, in words, for each run where something did not.
    """

    __slots__ = ("_bits", "_directors", "_places", "_search", "is_exhausted", "runs", "strayed")

    def __init__(self) -> None:
        self._search = OrderSearch()
        self._bits: dict[Hashable, int] = {}
        self._places: dict[int, tuple[int, str, str, int]] = {}
        self._directors: dict[int, Director] = {}
        self.is_exhausted = False
        self.runs = 0
        self.strayed: list[str] = []

    def advance(self) -> bool:
        """Lay down the next run; return whether there is one."""
        self._directors = {}
        self.is_exhausted = not self._search.advance()
        return not self.is_exhausted

    def schedule(self, number: int = 0) -> Schedule:
        """Return the schedule of a session of the next run: the ``number``-th that the test makes, from 0."""
        orders: dict[str, list[str]] = {}
        until_ns = 0
        for step in self._search.prefix:
            session, recipient, label, at_ns = self._places[step.bit]
            if session == number:
                orders.setdefault(recipient, []).append(label)
                until_ns = max(until_ns, at_ns)
        director = self._directors[number] = Director(orders, until_ns=until_ns)
        return Schedule.directed(director)

    def ran(self) -> None:
        """Learn from the run that was just made."""
        self.runs += 1
        directors = sorted(self._directors.items())
        strayed = next((words for _, director in directors if (words := director.check())), "")
        prefix = self._search.prefix
        steps = {step.bit: step for number, director in directors for step in self._steps(number, director)}
        missing = next((step for step in prefix if step.bit not in steps), None)
        if missing is not None and not strayed:
            strayed = f"{self._places[missing.bit][2]} never came"
        if strayed:
            self.strayed.append(strayed)
            return
        ahead = [steps.pop(step.bit) for step in prefix]
        if not self._search.ran([*ahead, *steps.values()]):
            self.strayed.append("an order came about a second time")

    def _steps(self, number: int, director: Director) -> list[Step]:
        """The deliveries of one session as steps. Everything in an earlier session happened before them."""
        earlier = sum(bit for bit, place in self._places.items() if place[0] < number)
        at: dict[str, int] = {}  # recipient -> what happened there and before it
        pasts: list[tuple[str, int]] = []
        steps: list[Step] = []
        for delivery in director.log:
            key = (number, delivery.label)
            bit = self._bits.get(key)
            if bit is None:
                bit = self._bits[key] = 1 << len(self._bits)
            self._places[bit] = (number, delivery.recipient, delivery.label, delivery.at_ns)
            cause = earlier
            for recipient, past in reversed(pasts[: delivery.known]):
                if recipient == delivery.sender:
                    cause |= past
                    break
            past = cause | at.get(delivery.recipient, 0)
            line = key if director.overtaking else (number, delivery.sender, delivery.recipient)
            steps.append(Step(bit, (number, delivery.recipient), past, cause, line))
            at[delivery.recipient] = past | bit
            pasts.append((delivery.recipient, past | bit))
        return steps

    def schedules(self) -> Sequence[Schedule]:
        """Return the last run as ordinary schedules, one for each session: calm but for the delays that order it so."""
        return [Schedule.of(director.delays) for _, director in sorted(self._directors.items())]

    @property
    def summary(self) -> str:
        """How far it got, in words."""
        runs = f"{self.runs:,} schedule{'s' * (self.runs != 1)}"
        if self.strayed:
            return (
                f"explored {runs}, but {len(self.strayed):,} did not come about as laid down ({self.strayed[0]}): "
                "something besides messages decides what is sent, so there may be more"
            )
        if self.is_exhausted:
            return f"exhausted: {runs}"
        return f"explored {runs} of at least {self.runs + self._search.pending:,}, not exhausted"
