"""Breadth-first search of the state space of some machines: every state that they can reach, each once.

Sources: Lamport, *Specifying Systems* (2002), chapter 14 (how TLC searches); Clarke, Grumberg and Peled, *Model Checking*
(1999), for the properties.

1. There is no time. A message under way may arrive at any moment, an armed timer may fire at any moment. So what holds here
   holds however long messages and timers take.
2. States that are equal are one state. The search goes from each to all that may come next, the nearest states first, so
   the path to a violation is a shortest one.
3. Properties are judged in states: *always* in each, *reachable* in some, *eventually reachable* from each.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence.errors import ConvergenceUsageError, unknown_name
from pytest_convergence.explore.machine_space import (
    NETWORKS,
    Budgets,
    Global,
    MachineFailed,
    MachineSpace,
    Packet,
    Standing,
)

__all__ = ["MachineState", "StateSpace", "StateViolation", "explore_states"]

Predicate = Callable[["MachineState"], Any]


@final
class MachineState:
    """One state, as predicates see it. Nothing of it may be changed.

    Attributes:
        messages: those under way, each with ``sender``, ``recipient``, ``kind`` and ``payload``.
    """

    __slots__ = ("_standings", "messages")

    def __init__(self, standings: Sequence[Standing], messages: tuple[Packet, ...]) -> None:
        self._standings = standings
        self.messages = messages

    @property
    def machines(self) -> dict[str, Any]:
        """Each agent's machine, of those that have started."""
        return {each.agent: each.machine for each in self._standings if each.machine is not None}

    @property
    def decisions(self) -> dict[str, Any]:
        """What each agent decided last, of those that have decided in their present life."""
        return {each.agent: each.decision for each in self._standings if each.decided}

    @property
    def timers(self) -> dict[str, tuple[str, ...]]:
        """The names of each agent's armed timers."""
        return {each.agent: tuple(each.timers) for each in self._standings}

    @property
    def durable(self) -> dict[str, dict[str, Any]]:
        """What each agent has written and synced."""
        return {each.agent: dict(each.durable) for each in self._standings}


@final
@dataclass(frozen=True, slots=True)
class StateViolation:
    """A property that does not hold.

    Attributes:
        property: its name.
        kind: ``always``, ``reachable``, ``eventually`` or ``failure`` (a machine raised).
        path: what happened, in words, on a shortest way to where it shows; empty for what is never reached.
        state: the state that it shows in; ``None`` for what is never reached, or if a machine raised.
    """

    property: str
    kind: str
    path: tuple[str, ...]
    state: MachineState | None = None

    def __str__(self) -> str:
        if self.kind == "reachable":
            return f"{self.property!r} is reached in no state"
        ends = {"always": "does not hold", "eventually": "cannot be reached any more"}
        what = self.property if self.kind == "failure" else f"{self.property!r} {ends[self.kind]}"
        if not self.path:
            return f"{what} at the start"
        steps = "\n".join(f"  {number}. {words}" for number, words in enumerate(self.path, 1))
        return f"{what} after {len(self.path)} step{'s' * (len(self.path) != 1)}:\n{steps}"


@final
@dataclass(frozen=True, slots=True)
class StateSpace:
    """What a search found.

    Attributes:
        states: how many distinct states were found.
        transitions: how many times something happened, also where it led to a known state.
        depth: how many steps the farthest state is from the start.
        ends: how many states have nothing that may happen in them.
        is_exhausted: whether all states were looked at. A violation ends a search early.
        violation: the first violation, or ``None``.
    """

    states: int
    transitions: int
    depth: int
    ends: int
    is_exhausted: bool
    violation: StateViolation | None

    def check(self) -> StateSpace:
        """Return itself.

        Raises:
            AssertionError: a property does not hold; the message is the path.
        """
        if self.violation is not None:
            raise AssertionError(str(self.violation))
        return self

    def __str__(self) -> str:
        found = f"{self.states:,} states, {self.transitions:,} transitions, depth {self.depth}"
        if self.violation is not None:
            return f"violated after {found}: {self.violation}"
        return f"exhausted: {found}" if self.is_exhausted else f"explored {found}, not exhausted"


@final
class _Search:
    """One search: the states by number, and how each was reached first."""

    def __init__(self, space: MachineSpace, properties: Mapping[str, Mapping[str, Predicate]]) -> None:
        self._space = space
        self._always = properties["always"]
        self._wanted = dict(properties["reachable"])
        self._eventually = properties["eventually"]
        self._good: dict[str, bytearray] = {name: bytearray() for name in self._eventually}
        self._back: list[tuple[int, int]] = []  # edges, for what must stay reachable
        self._numbers: dict[tuple[int, Global], int] = {}
        self._states: list[tuple[int, Global]] = []
        self._parents = array("q")
        self._events: list[Any] = []
        self._depths = array("q")
        self.transitions = 0
        self.ends = 0
        self.violation: StateViolation | None = None

    def run(
        self,
        configurations: Sequence[Mapping[str, Callable[[], Machine]]],
        left: Budgets,
        most: int,
        *,
        staggered: bool,
    ) -> StateSpace:
        for number, machines in enumerate(configurations):
            try:
                self._meet((number, self._space.begin(machines, left, staggered=staggered)), -1, None)
            except MachineFailed as failed:
                self.violation = StateViolation(str(failed), "failure", ())
        place = 0
        while place < len(self._states) <= most and self.violation is None:
            self._expand(place, configurations)
            place += 1
        is_exhausted = place == len(self._states) and self.violation is None
        if is_exhausted:
            self._judge_the_whole()
        return StateSpace(
            states=len(self._states),
            transitions=self.transitions,
            depth=max(self._depths, default=0),
            ends=self.ends,
            is_exhausted=is_exhausted,
            violation=self.violation,
        )

    def _expand(self, place: int, configurations: Sequence[Mapping[str, Callable[[], Machine]]]) -> None:
        """Look at all that may happen in a state."""
        configuration, state = self._states[place]
        before = self.transitions
        for event, happen in self._space.successors(state, configurations[configuration]):
            self.transitions += 1
            try:
                following = happen()
            except MachineFailed as failed:
                path = (*self._path(place), self._space.words(event))
                self.violation = StateViolation(str(failed), "failure", path)
                return
            number = self._meet((configuration, following), place, event)
            if self._eventually:
                self._back.append((number, place))
            if self.violation is not None:
                return
        if self.transitions == before:
            self.ends += 1

    def _meet(self, state: tuple[int, Global], parent: int, event: Any) -> int:
        """Return the number of a state; judge it if it is new."""
        number = self._numbers.get(state)
        if number is not None:
            return number
        number = self._numbers[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)
        self._events.append(event)
        self._depths.append(0 if parent < 0 else self._depths[parent] + 1)
        seen = self._seen(number)
        for name, predicate in self._always.items():
            if not predicate(seen):
                self.violation = StateViolation(name, "always", self._path(number), seen)
                return number
        for name in [name for name, predicate in self._wanted.items() if predicate(seen)]:
            del self._wanted[name]
        for name, predicate in self._eventually.items():
            self._good[name].append(bool(predicate(seen)))
        return number

    def _seen(self, number: int) -> MachineState:
        state = self._states[number][1]
        standings = [self._space.standings[each] for each in state.standings]
        return MachineState(standings, self._space.under_way(state))

    def _path(self, number: int) -> tuple[str, ...]:
        words: list[str] = []
        while self._parents[number] >= 0:
            words.append(self._space.words(self._events[number]))
            number = self._parents[number]
        return tuple(reversed(words))

    def _judge_the_whole(self) -> None:
        """Judge what only all states together can tell."""
        for name in self._wanted:
            self.violation = StateViolation(name, "reachable", ())
            return
        sources: dict[int, list[int]] = {}
        for target, source in self._back:
            sources.setdefault(target, []).append(source)
        for name, good in self._good.items():
            todo = [number for number, holds in enumerate(good) if holds]
            while todo:
                for source in sources.get(todo.pop(), ()):
                    if not good[source]:
                        good[source] = True
                        todo.append(source)
            stuck = good.find(0)
            if stuck >= 0:
                self.violation = StateViolation(name, "eventually", self._path(stuck), self._seen(stuck))
                return


def explore_states(  # noqa: PLR0913 - all but the machines are options
    machines: Mapping[str, Callable[[], Machine]] | Sequence[Mapping[str, Callable[[], Machine]]],
    *,
    network: str = "unordered",
    commands: Mapping[str, Sequence[tuple[str, Any]]] | None = None,
    always: Mapping[str, Predicate] | None = None,
    reachable: Mapping[str, Predicate] | None = None,
    eventually: Mapping[str, Predicate] | None = None,
    staggered: bool = False,
    timers: int | None = None,
    crashes: int = 0,
    losses: int = 0,
    max_states: int = 1_000_000,
) -> StateSpace:
    """Visit every state that some protocol machines and the network between them can reach.

    Args:
        machines: agent -> a function without arguments that makes its machine, for each life anew; or several such mappings,
            where there are several ways to start.
        network: ``unordered`` (any message under way may be next), ``fifo`` (the messages of one link keep their order) or
            ``duplicating`` (a message that was sent may arrive again and again, in any order).
        commands: agent -> what it is told to do, ``(name, argument)``, in order; at any moment.
        staggered: whether agents start at different moments, in any order; what was sent to one before it starts waits.
        always: name -> a predicate of a :class:`MachineState` that holds in every state.
        reachable: name -> a predicate that holds in some state.
        eventually: name -> a predicate such that from every state a state can be reached where it holds.
        timers: how many timers may fire on the way to a state; ``None`` for any number. Machines that repeat themselves have
            infinitely many states without a bound.
        crashes: how many crashes there may be on the way to a state. A crash loses what was not synced, and the agent starts
            again at once.
        losses: how many messages may be lost on the way to a state.
        max_states: the search stops when it has found more; then the result is not exhausted.

    Raises:
        ConvergenceUsageError: an argument is out of range, a machine sends to a stranger, or holds what cannot be compared.
    """
    configurations = [machines] if isinstance(machines, Mapping) else list(machines)
    _check(configurations, network, commands or {})
    for name, number in (("timers", timers), ("crashes", crashes), ("losses", losses)):
        if number is None and name == "timers":
            continue
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConvergenceUsageError(f"{name} must be a whole number from 0, not {number!r}.")
    if isinstance(max_states, bool) or not isinstance(max_states, int) or max_states < 1:
        raise ConvergenceUsageError(f"max_states must be a whole number from 1, not {max_states!r}.")
    space = MachineSpace(tuple(configurations[0]), network, commands or {})
    properties = {"always": always or {}, "reachable": reachable or {}, "eventually": eventually or {}}
    return _Search(space, properties).run(
        configurations, Budgets(timers, crashes, losses), max_states, staggered=staggered
    )


def _check(configurations: Sequence[Mapping[str, Any]], network: str, commands: Mapping[str, Any]) -> None:
    if not configurations or not configurations[0]:
        raise ConvergenceUsageError(
            "explore_states was given no machine: pass a mapping from agent to a function."
        )
    agents = list(configurations[0])
    for each in configurations:
        if sorted(each) != sorted(agents):
            raise ConvergenceUsageError(
                f"each way to start must have the same agents; {sorted(each)} and {sorted(agents)} differ."
            )
        for name, factory in each.items():
            if not callable(factory):
                raise ConvergenceUsageError(
                    f"the machine of {name} must be given as a function that makes it, such as lambda: Machine(…), "
                    f"because each life has a new one; not {factory!r}."
                )
    if network not in NETWORKS:
        raise unknown_name("network of a state space", network, NETWORKS)
    for name in commands:
        if name not in agents:
            raise unknown_name("agent", name, agents)
