"""Clocks and causal histories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

from hypothesis import strategies as st

from pytest_convergence._engine.base.clocks import HybridClock, LamportClock, VectorClock
from pytest_convergence.errors import ConvergenceUsageError
from pytest_convergence.strategies._names import agent_names

__all__ = ["History", "HistoryEvent", "histories", "hybrid_clocks", "lamport_clocks", "vector_clocks"]


def vector_clocks(agents: int | Iterable[str] = 3, *, max_count: int = 5) -> st.SearchStrategy[VectorClock]:
    """Vector clocks of some agents, each counting from 0 to ``max_count``. Shrinks to the empty clock."""
    names = agent_names(agents)
    return st.tuples(*[st.integers(0, max_count)] * len(names)).map(
        lambda counts: VectorClock(dict(zip(names, counts, strict=True)))
    )


def lamport_clocks(agents: int | Iterable[str] = 3, *, max_count: int = 5) -> st.SearchStrategy[LamportClock]:
    """Lamport clocks of some agents. Shrinks to 0 of the first agent."""
    return st.builds(LamportClock, st.integers(0, max_count), st.sampled_from(agent_names(agents)))


def hybrid_clocks(*, max_ns: int = 1_000_000_000, max_c: int = 5) -> st.SearchStrategy[HybridClock]:
    """Hybrid logical clocks. Shrinks to the zero clock."""
    return st.builds(HybridClock, st.integers(0, max_ns), st.integers(0, max_c))


class HistoryEvent(NamedTuple):
    """One event of a causal history.

    ``number`` is its place in the history, from 0, ``kind`` is ``local``, ``send`` or ``receive``, ``source`` the number of
    the sending for a reception, and ``clock`` the agent's vector clock right after the event.
    """

    number: int
    agent: str
    kind: str
    clock: VectorClock
    source: int | None = None


@final
@dataclass(frozen=True, slots=True)
class History:
    """A valid causal history: events of several agents in an order in which they may have happened.

    Every reception follows its sending, and every clock is the one that the agent would have had.
    """

    agents: tuple[str, ...]
    events: tuple[HistoryEvent, ...] = ()

    def __iter__(self) -> Iterator[HistoryEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, number: int) -> HistoryEvent:
        return self.events[number]

    def happened_before(self, one: HistoryEvent, other: HistoryEvent) -> bool:
        """Whether ``one`` may have influenced ``other``, found by following messages and agents, not by clocks."""
        reached = {one.number}
        for event in self.events[one.number + 1 : other.number + 1]:
            if event.source in reached or any(
                self.events[number].agent == event.agent for number in sorted(reached)
            ):
                reached.add(event.number)
        return other.number > one.number and other.number in reached


def histories(agents: int | Iterable[str] = 3, *, max_events: int = 20) -> st.SearchStrategy[History]:
    """Causal histories with their vector clocks. Shrinks to the history without events, then to local events.

    Messages may overtake each other, be received by any other agent, by several, twice, or never.

    Raises:
        ConvergenceUsageError: these are not agents, or ``max_events`` is negative.
    """
    names = agent_names(agents)
    if max_events < 0:
        raise ConvergenceUsageError(f"max_events must be 0 or more, not {max_events!r}.")
    # An action is 0 local, 1 send, 2 + k receive the k-th newest message of another agent.
    action = st.integers(0, 1 + 4)
    steps = st.lists(st.tuples(st.integers(0, len(names) - 1), action), max_size=max_events)

    @st.composite
    def history(draw: st.DrawFn) -> History:
        return _history(names, draw(steps))

    return history()


def _history(names: tuple[str, ...], steps: list[tuple[int, int]]) -> History:
    clocks = dict.fromkeys(names, VectorClock())
    events: list[HistoryEvent] = []
    for place, action in steps:
        agent = names[place]
        foreign = [event for event in events if event.kind == "send" and event.agent != agent]
        kind, source = ("local", "send")[action == 1], None
        clock = clocks[agent]
        if action >= 2 and foreign:
            sending = foreign[-1 - (action - 2) % len(foreign)]
            kind, source = "receive", sending.number
            clock |= sending.clock
        clocks[agent] = clock.tick(agent)
        events.append(HistoryEvent(len(events), agent, kind, clocks[agent], source))
    return History(names, tuple(events))
