"""Exhaustive exploration: the body of a test once under every order of deliveries that makes a difference.

1. What is chosen is which message comes next to its recipient. Any message that is under way may, but messages of one
   link keep their order unless the network reorders them. Deliveries to different agents commute.
   A timer of the recipient may come before a message that is under way, as far as the network may be late.
2. Each run is directed (:class:`~pytest_convergence._engine.base.directing.Director`): some deliveries come in a given
   order, the others as under the calm schedule. Its log says in which order all came, and what was sent in consequence of
   what. The search (:mod:`.dpor`) works out the next run from it.
3. An order is brought about by delays, so each run can also be written as an ordinary schedule, deviation by deviation:
   it is replayed, shrunk and explained like any other.
4. Faults (a message that is lost, a step before which an agent crashes) are gone through from outside: for each set of
   them, of at most so many, all orders. Where a fault may strike is known from the runs with one fault fewer: what was sent
   there, and which steps were taken. So a set is tried only where its faults have been seen to be possible, and a run in
   which one of them did not come about (its message was not sent in that order) is one of a smaller set: it is not counted.
5. A message that was sent because of something the log does not show (the test's own code looked at another agent) may fail
   to come when it is wanted. That run has *strayed*: it counts for what it was, and the search is not called exhausted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, NamedTuple, final, overload

from pytest_convergence._engine.base.directing import Delivery, Director
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.sim.conditions import LOST
from pytest_convergence.explore.dpor import OrderSearch, Step
from pytest_convergence.explore.explorers import Approach
from pytest_convergence.explore.novelty import StateWatch

__all__ = ["FAULTS", "Exhaustive"]

FAULTS: Final = ("crash", "loss")
"""The kinds of faults that are gone through."""

_MOST_SESSIONS: Final = 1_000
_BACK_AT_ONCE: Final = 1
"""How long an agent that has crashed is gone: a microsecond. What is under way then finds it alive."""


class Fault(NamedTuple):
    """A fault that is laid down: in which session of the test (from 0), the label of its choice, and the option."""

    session: int
    label: str
    option: int


Faults = frozenset[Fault]


@final
class _Directed(Sequence[Schedule]):
    """The schedules of the sessions of a run, made when they are asked for: nobody knows how many there will be."""

    __slots__ = ("_search", "made")

    def __init__(self, search: _Orders) -> None:
        self._search = search
        self.made: dict[int, Schedule] = {}

    def __len__(self) -> int:
        return _MOST_SESSIONS

    @overload
    def __getitem__(self, number: int) -> Schedule: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Schedule]: ...

    def __getitem__(self, number: int | slice) -> Schedule | Sequence[Schedule]:
        if isinstance(number, slice):
            return [self[each] for each in range(_MOST_SESSIONS)[number]]
        if number not in self.made:
            self.made[number] = self._search.schedule(number)
        return self.made[number]


@final
class _Orders:
    """All orders of deliveries under one set of faults.

    Attributes:
        faults: the set.
        runs: how many runs there were in which all of them came about.
        strayed: what did not come about as laid down, in words, for each run where something did not.
    """

    __slots__ = ("_bits", "_directors", "_places", "_search", "_seed", "faults", "runs", "strayed")

    def __init__(self, faults: Faults, seed: int | None) -> None:
        self._search = OrderSearch()
        self._seed = seed
        self._bits: dict[Hashable, int] = {}
        self._places: dict[int, tuple[int, str, str, int]] = {}
        self._directors: dict[int, Director] = {}
        self.faults = faults
        self.runs = 0
        self.strayed: list[str] = []

    def advance(self) -> bool:
        """Lay down the next run; return whether there is one."""
        self._directors = {}
        return self._search.advance()

    @property
    def pending(self) -> int:
        """How many runs are known to be left; each may lead to more."""
        return self._search.pending

    @property
    def directors(self) -> list[tuple[int, Director]]:
        """Those of the sessions of the present run, by number."""
        return sorted(self._directors.items())

    @property
    def came_about(self) -> bool:
        """Whether all faults of the set did in the present run."""
        none: set[str] = set()
        struck = {number: director.struck_down for number, director in self._directors.items()}
        return all(fault.label in struck.get(fault.session, none) for fault in self.faults)

    def schedule(self, number: int) -> Schedule:
        """Return the schedule of a session of the next run: the ``number``-th that the test makes, from 0."""
        orders: dict[str, list[str]] = {}
        until_ns = 0
        for step in self._search.prefix:
            session, recipient, label, at_ns = self._places[step.bit]
            if session == number:
                orders.setdefault(recipient, []).append(label)
                until_ns = max(until_ns, at_ns)
        faults = {fault.label: fault.option for fault in sorted(self.faults) if fault.session == number}
        director = self._directors[number] = Director(orders, until_ns=until_ns, faults=faults)
        return Schedule.directed(director, seed=self._seed or 0)

    def learn(self) -> None:
        """Learn from the run that was just made."""
        self.runs += self.came_about
        directors = self.directors
        strayed = next((words for _, director in directors if (words := director.check())), "")
        prefix = self._search.prefix
        steps: dict[int, Step] = {}
        instead: dict[int, Step] = {}
        for number, director in directors:
            self._read(number, director, steps, instead)
        missing = next((step for step in prefix if step.bit not in steps), None)
        if missing is not None and not strayed:
            strayed = f"{self._places[missing.bit][2]} never came"
        if not strayed:
            ahead = [steps.pop(step.bit) for step in prefix]
            if not self._search.ran([*ahead, *steps.values()], instead):
                strayed = "an order came about a second time"
        if strayed:
            self.strayed.append(strayed)

    def _bit(self, number: int, recipient: str, label: str, at_ns: int) -> int:
        key = (number, label)
        bit = self._bits.get(key)
        if bit is None:
            bit = self._bits[key] = 1 << len(self._bits)
        self._places[bit] = (number, recipient, label, at_ns)
        return bit

    def _read(
        self, number: int, director: Director, steps: dict[int, Step], instead: dict[int, Step]
    ) -> None:
        """Add the deliveries of one session as steps. Everything in an earlier session happened before them."""
        earlier = sum(bit for bit, place in self._places.items() if place[0] < number)
        at: dict[str, int] = {}  # recipient -> what happened there and before it
        pasts: list[tuple[str, int]] = []
        for delivery in director.log:
            recipient, passing = delivery.recipient, delivery.passing
            place, known = (number, recipient), at.get(recipient, 0)
            bit = self._bit(number, recipient, delivery.label, delivery.at_ns)
            cause = earlier | next(
                (past for agent, past in reversed(pasts[: delivery.known]) if agent == delivery.sender), 0
            )
            line = self._line(number, director, delivery)
            if delivery.is_timer:  # it fires at its instant: only what is held back comes after it
                step = Step(bit, place, cause | known, cause, line, math.inf, delivery.at_ns)
            elif passing is None:
                step = Step(bit, place, cause | known, cause, line, delivery.came_ns)
            else:
                step = Step(bit, place, cause | known, cause, line, delivery.came_ns, passing.at_ns)
                timer = self._bit(number, recipient, passing.label, passing.at_ns)
                instead[bit] = Step(timer, place, known, known, (number, "timers", recipient))
            steps[bit] = step
            at[recipient] = step.past | bit
            pasts.append((recipient, step.past | bit))

    def _line(self, number: int, director: Director, delivery: Delivery) -> Hashable:
        """What keeps its order: the timers of one agent, and messages of one link unless they may overtake each other."""
        if delivery.is_timer:
            return (number, "timers", delivery.recipient)
        return (
            (number, delivery.label) if director.overtaking else (number, delivery.sender, delivery.recipient)
        )


@final
class Exhaustive:
    """Chooses the schedules of the runs of one test, one after another.

    It is an :class:`~pytest_convergence.explore.explorers.Explorer`. Without a test, ask :meth:`advance` before each run,
    give its n-th session :meth:`schedule` (n), and call :meth:`learn` after it.

    Args:
        seed: from which the private entropy of agents derives.
        faults: the kinds that may happen, of :data:`FAULTS`.
        faults_at_most: how many faults there may be in one run.

    Attributes:
        runs: how many runs were made that no other one was like.
        is_exhausted: whether there is nothing left to try.
    """

    __slots__ = ("_at_most", "_kinds", "_met", "_now", "_queue", "_seed", "_strayed", "is_exhausted", "runs")

    def __init__(
        self, *, seed: int | None = None, faults: Iterable[str] = (), faults_at_most: int = 1
    ) -> None:
        self._seed = seed
        self._kinds = frozenset(faults)
        self._at_most = faults_at_most if self._kinds else 0
        self._now = _Orders(frozenset(), seed)
        self._queue: deque[Faults] = deque()
        self._met: set[Faults] = set()
        self._strayed: list[str] = []
        self.is_exhausted = False
        self.runs = 0

    # -- as an explorer ------------------------------------------------------------------------------------------------

    def approach(self, index: int) -> Approach | None:
        """Return what the next run follows."""
        return Approach(self._seed, schedules=_Directed(self._now)) if self.advance() else None

    @property
    def watches(self) -> bool:
        """It learns from what was delivered, and not from states."""
        return False

    def ran(self, approach: Approach, seen: Sequence[StateWatch]) -> None:
        """Learn from the run, and look whether anything is left to try."""
        self.learn()

    # -- the search ----------------------------------------------------------------------------------------------------

    @property
    def strayed(self) -> list[str]:
        """What did not come about as laid down, in words, for each run where something did not."""
        return self._strayed + self._now.strayed

    def advance(self) -> bool:
        """Lay down the next run; return whether there is one."""
        while not self._now.advance():
            if not self._queue:
                self.is_exhausted = True
                return False
            self._strayed += self._now.strayed
            self._now = _Orders(self._queue.popleft(), self._seed)
        return True

    def schedule(self, number: int = 0) -> Schedule:
        """Return the schedule of a session of the next run: the ``number``-th that the test makes, from 0."""
        return self._now.schedule(number)

    def learn(self) -> None:
        """Learn from the run that was just made."""
        now = self._now
        self.runs += now.came_about
        now.learn()
        if len(now.faults) < self._at_most and now.came_about:
            for number, director in now.directors:
                for label, option in self._possible(director):
                    self._add(now.faults | {Fault(number, label, option)})

    def _possible(self, director: Director) -> Iterable[tuple[str, int]]:
        """What else could have gone wrong in a session of the present run."""
        if "loss" in self._kinds:
            yield from ((label, LOST) for label in director.posted)
        if "crash" in self._kinds:
            for agent, steps in director.steps.items():
                yield from ((f"crash {agent} #{step}", _BACK_AT_ONCE) for step in range(1, steps + 1))

    def _add(self, faults: Faults) -> None:
        if len(faults) > len(self._now.faults) and faults not in self._met:
            self._met.add(faults)
            self._queue.append(faults)

    def schedules(self) -> Sequence[Schedule]:
        """Return the last run as ordinary schedules, one for each session: calm but for what makes it differ."""
        return [Schedule.of({**each.faults, **each.delays}) for _, each in self._now.directors]

    @property
    def left(self) -> int:
        """How many runs are known to be left; each may lead to more."""
        return self._now.pending + len(self._queue)

    @property
    def summary(self) -> str:
        """How far it got, in words."""
        runs = f"{self.runs:,} schedule{'s' * (self.runs != 1)}{self._bound()}"
        if self.strayed:
            return (
                f"explored {runs}, but {len(self.strayed):,} did not come about as laid down ({self.strayed[0]}): "
                "something besides messages decides what is sent, so there may be more"
            )
        if self.is_exhausted or not self.left:
            return f"exhausted: {runs}"
        return f"explored {runs} of at least {self.runs + self.left:,}, not exhausted{self._done()}"

    def _bound(self) -> str:
        """How many faults there may be, in words."""
        most = self._at_most
        return f" with at most {most} fault{'s' * (most != 1)}" if most else ""

    def _done(self) -> str:
        """Which of it is all there is, in words, where there are faults."""
        faults = len(self._now.faults)
        if not faults:
            return ""
        return f", but for those {'without faults' if faults == 1 else f'with fewer than {faults} faults'}"
