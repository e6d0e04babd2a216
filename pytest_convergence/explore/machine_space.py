"""The states of some machines and of the network between them, as small numbers; and what may happen in each.

1. A *standing* is what one agent is: its machine, its armed timers, what it has written, what it decided. Equal standings
   have one number. A machine is deterministic, so what an event does to a standing is worked out once and kept.
2. A state of the whole is a :class:`Global`: the standings' numbers, the messages under way, and what is left of the
   budgets of crashes, losses and timers.
3. A machine is never changed: an event is tried on a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.effects import (
    CancelTimer,
    Decide,
    Machine,
    Observe,
    Persist,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence.errors import ConvergenceUsageError
from pytest_convergence.explore.freezing import freeze

__all__ = ["NETWORKS", "Budgets", "Global", "MachineFailed", "MachineSpace", "Packet", "Standing"]

NETWORKS: Final = ("unordered", "fifo", "duplicating")


class Packet(NamedTuple):
    """A message under way."""

    sender: str
    recipient: str
    kind: str
    payload: Any

    def __str__(self) -> str:
        payload = "" if self.payload is None else f" {self.payload!r}"
        return f"{self.sender}→{self.recipient} {self.kind}{payload}"


class Budgets(NamedTuple):
    """How often something may still happen; ``None`` for any number of times."""

    timers: int | None
    crashes: int
    losses: int


class Global(NamedTuple):
    """A state of the whole."""

    standings: tuple[int, ...]
    network: tuple[Any, ...]
    left: Budgets


class MachineFailed(Exception):
    """A machine raised."""

    def __init__(self, agent: str, error: Exception) -> None:
        super().__init__(f"the machine of {agent} raised {type(error).__name__}: {error}")
        self.error = error


@final
class Standing:
    """What one agent is. ``machine`` must not be changed.

    Attributes:
        machine: ``None`` before it has started.
        timers: the armed ones, by name.
        durable, unsynced: what was written.
        decided, decision: whether it announced a decision, and the last one.
        commands: how many of its commands it has had.
    """

    __slots__ = ("agent", "commands", "decided", "decision", "durable", "machine", "timers", "unsynced")

    def __init__(self, agent: str, machine: Machine | None, durable: dict[str, Any]) -> None:
        self.agent = agent
        self.machine = machine
        self.timers: dict[str, None] = {}
        self.durable = durable
        self.unsynced: dict[str, Any] = {}
        self.decided = False
        self.decision: Any = None
        self.commands = 0

    def copy(self) -> Standing:
        """Return a copy that may be changed."""
        other = Standing(self.agent, copy.deepcopy(self.machine), dict(self.durable))
        other.timers = dict(self.timers)
        other.unsynced = dict(self.unsynced)
        other.decided, other.decision, other.commands = self.decided, self.decision, self.commands
        return other

    def key(self) -> Hashable:
        """Return what makes two standings the same."""
        return (
            self.agent,
            freeze(self.machine, where=f"the machine of {self.agent}"),
            frozenset(self.timers),
            freeze(self.durable, where=f"what {self.agent} wrote"),
            freeze(self.unsynced, where=f"what {self.agent} wrote"),
            freeze(self.decision, where=f"the decision of {self.agent}") if self.decided else self.decided,
            self.commands,
        )

    def carry_out(self, effects: Any) -> list[Packet]:
        """Apply a machine's effects; return what it sends."""
        sent: list[Packet] = []
        for effect in effects or ():
            if type(effect) is tuple and len(effect) == len(Send._fields):
                effect = Send(*effect)
            if isinstance(effect, Send):
                sent.append(Packet(self.agent, effect.to, effect.kind, snapshot(effect.payload)))
            elif isinstance(effect, SetTimer):
                self.timers[effect.name] = None
            elif isinstance(effect, CancelTimer):
                self.timers.pop(effect.name, None)
            elif isinstance(effect, Persist):
                self.unsynced[effect.key] = snapshot(effect.value)
            elif isinstance(effect, Sync):
                self.durable = {**self.durable, **self.unsynced}
                self.unsynced = {}
            elif isinstance(effect, Decide):
                self.decided, self.decision = True, snapshot(effect.value)
            elif not isinstance(effect, Observe):
                raise TypeError(
                    f"{effect!r} cannot be carried out in a state space: effects there are Send (or a plain tuple of its "
                    "three parts), SetTimer, CancelTimer, "
                    "Persist, Sync, Decide and Observe. Give a machine that calls functions what they return."
                )
        return sent


Event = tuple[Any, ...]
"""What happens to one agent: its kind and its arguments, hashable."""

Factory = Callable[[], Machine]


@final
class MachineSpace:
    """What may happen to some machines."""

    __slots__ = (
        "_commands",
        "_factories",
        "_kind",
        "_numbers",
        "_outcomes",
        "_packets",
        "_places",
        "agents",
        "packets",
        "standings",
    )

    def __init__(
        self,
        agents: Sequence[str],
        network: str,
        commands: Mapping[str, Sequence[tuple[str, Any]]],
    ) -> None:
        self.agents = tuple(agents)
        self._places = {name: place for place, name in enumerate(self.agents)}
        self._kind = network
        self._commands = {name: tuple(commands.get(name, ())) for name in self.agents}
        self._factories: list[Factory] = []
        self._numbers: dict[Hashable, int] = {}
        self._packets: dict[Hashable, int] = {}
        self._outcomes: dict[tuple[int, Event], tuple[int, tuple[int, ...]]] = {}
        self.standings: list[Standing] = []
        self.packets: list[Packet] = []

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _number(self, standing: Standing) -> int:
        key = standing.key()
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.standings)
            self.standings.append(standing)
        return number

    def _packet(self, packet: Packet) -> int:
        if packet.recipient not in self._places:
            raise ConvergenceUsageError(
                f"{packet.sender} sends to {packet.recipient!r}, which is none of the machines: "
                f"{', '.join(self.agents)}."
            )
        key = (*packet[:3], freeze(packet.payload, where=f"the message {packet}"))
        number = self._packets.get(key)
        if number is None:
            number = self._packets[key] = len(self.packets)
            self.packets.append(packet)
        return number

    # -- the network ---------------------------------------------------------------------------------------------------

    def _with(self, network: tuple[Any, ...], sent: tuple[int, ...]) -> tuple[Any, ...]:
        """Put messages on their way."""
        if not sent:
            return network
        if self._kind == "duplicating":
            return tuple(sorted({*network, *sent}))
        if self._kind == "unordered":
            return tuple(sorted((*network, *sent)))
        queues = dict(network)
        for number in sent:
            link = self.packets[number][:2]
            queues[link] = (*queues.get(link, ()), number)
        return tuple(sorted(queues.items()))

    def _arrivals(self, network: tuple[Any, ...]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Which messages may arrive, and what is under way then."""
        if self._kind == "duplicating":
            for number in network:
                yield number, network
        elif self._kind == "unordered":
            last = -1
            for place, number in enumerate(network):
                if number != last:
                    yield number, network[:place] + network[place + 1 :]
                last = number
        else:
            for place, (link, queue) in enumerate(network):
                rest = ((link, queue[1:]),) if len(queue) > 1 else ()
                yield queue[0], network[:place] + rest + network[place + 1 :]

    def under_way(self, state: Global) -> tuple[Packet, ...]:
        """Return the messages under way."""
        numbers = (
            [number for _, queue in state.network for number in queue]
            if self._kind == "fifo"
            else state.network
        )
        return tuple(self.packets[number] for number in numbers)

    # -- what happens --------------------------------------------------------------------------------------------------

    def begin(self, machines: Mapping[str, Factory], left: Budgets, *, staggered: bool = False) -> Global:
        """Return the state in which all machines have started, or none yet where their starts are ``staggered``.

        Raises:
            MachineFailed: one raised.
        """
        if staggered:
            unstarted = [self._number(Standing(name, None, {})) for name in self.agents]
            return Global(tuple(unstarted), (), left)
        numbers: list[int] = []
        sent: list[int] = []
        for name in self.agents:
            number, packets = self._start(name, machines[name], {})
            numbers.append(number)
            sent += packets
        return Global(tuple(numbers), self._with((), tuple(sent)), left)

    def _start(self, name: str, factory: Factory, durable: dict[str, Any]) -> tuple[int, tuple[int, ...]]:
        try:
            machine = factory()
            standing = Standing(name, machine, durable)
            sent = standing.carry_out(machine.on_start(dict(durable)))
        except Exception as error:
            raise MachineFailed(name, error) from error
        return self._number(standing), tuple(map(self._packet, sent))

    def _react(self, number: int, event: Event) -> tuple[int, tuple[int, ...]]:
        """What an event makes of a standing, and what is sent; worked out once."""
        outcome = self._outcomes.get((number, event))
        if outcome is None:
            standing = self.standings[number].copy()
            try:
                sent = standing.carry_out(self._effects(standing, event))
            except Exception as error:
                raise MachineFailed(standing.agent, error) from error
            outcome = self._number(standing), tuple(map(self._packet, sent))
            self._outcomes[number, event] = outcome
        return outcome

    def _effects(self, standing: Standing, event: Event) -> Any:
        machine = standing.machine
        assert machine is not None
        if event[0] == "message":
            packet = self.packets[event[1]]
            return machine.on_message(packet.sender, packet.kind, snapshot(packet.payload))
        if event[0] == "timer":
            del standing.timers[event[1]]
            return machine.on_timer(event[1])
        name, argument = self._commands[standing.agent][standing.commands]
        standing.commands += 1
        return machine.on_command(name, snapshot(argument))

    def successors(
        self, state: Global, factories: Mapping[str, Factory]
    ) -> Iterator[tuple[Event, Callable[[], Global]]]:
        """What may happen in a state: each with a function that makes it happen (and may raise :class:`MachineFailed`)."""
        for number, network in self._arrivals(state.network):
            place = self._places[self.packets[number].recipient]
            if self.standings[state.standings[place]].machine is None:
                continue  # it waits for its recipient to start
            yield (
                ("message", number),
                lambda place=place, number=number, network=network: self._after(  # type: ignore[misc]
                    state, place, ("message", number), network, state.left
                ),
            )
            if state.left.losses:
                left = state.left._replace(losses=state.left.losses - 1)
                yield (
                    ("lost", number),
                    lambda network=network, left=left: Global(  # type: ignore[misc]
                        state.standings, network, left
                    ),
                )
        for place, standing_number in enumerate(state.standings):
            yield from self._own_events(state, place, self.standings[standing_number], factories)

    def _own_events(
        self, state: Global, place: int, standing: Standing, factories: Mapping[str, Factory]
    ) -> Iterator[tuple[Event, Callable[[], Global]]]:
        left = state.left
        if standing.machine is None:
            yield ("start", standing.agent), lambda: self._begin(state, place, factories[standing.agent])
            return
        if left.timers is None or left.timers > 0:
            after = left if left.timers is None else left._replace(timers=left.timers - 1)
            for name in standing.timers:
                yield (
                    ("timer", standing.agent, name),
                    lambda name=name: self._after(state, place, ("timer", name), state.network, after),  # type: ignore[misc]
                )
        if standing.commands < len(self._commands[standing.agent]):
            yield (
                ("command", standing.agent, standing.commands),
                lambda: self._after(state, place, ("command",), state.network, left),
            )
        if left.crashes:
            yield ("crash", standing.agent), lambda: self._restart(state, place, factories[standing.agent])

    def _after(
        self, state: Global, place: int, event: Event, network: tuple[Any, ...], left: Budgets
    ) -> Global:
        number, sent = self._react(state.standings[place], event)
        standings = (*state.standings[:place], number, *state.standings[place + 1 :])
        return Global(standings, self._with(network, sent), left)

    def _begin(self, state: Global, place: int, factory: Factory) -> Global:
        """An agent starts later than others."""
        number, sent = self._start(self.agents[place], factory, {})
        standings = (*state.standings[:place], number, *state.standings[place + 1 :])
        return Global(standings, self._with(state.network, sent), state.left)

    def _restart(self, state: Global, place: int, factory: Factory) -> Global:
        """A crash, and the next life at once: what was not synced is gone."""
        standing = self.standings[state.standings[place]]
        number, sent = self._start(standing.agent, factory, standing.durable)
        # It had its commands before: nobody gives them again.
        reborn = self.standings[number]
        if reborn.commands != standing.commands:
            reborn = reborn.copy()
            reborn.commands = standing.commands
            number = self._number(reborn)
        standings = (*state.standings[:place], number, *state.standings[place + 1 :])
        left = state.left._replace(crashes=state.left.crashes - 1)
        return Global(standings, self._with(state.network, sent), left)

    def words(self, event: Event) -> str:
        """Say what happens."""
        if event[0] == "message":
            return f"{self.packets[event[1]]} arrives"
        if event[0] == "lost":
            return f"{self.packets[event[1]]} is lost"
        if event[0] == "timer":
            return f"timer {event[2]!r} of {event[1]} fires"
        if event[0] == "command":
            name, argument = self._commands[event[1]][event[2]]
            return f"{event[1]} is told to {name}{'' if argument is None else f' {argument!r}'}"
        return f"{event[1]} {'starts' if event[0] == 'start' else 'crashes and starts again'}"
