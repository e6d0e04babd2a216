"""Happens-before, derived from a trace (Lamport 1978; vector clocks: Fidge 1988, Mattern 1989).

A trace is a causal DAG: the events of one agent in order, and an edge from each sending to every reception of that
message. Nothing is carried on messages while a run goes on. Clocks are worked out when somebody asks: those of all
events in one pass over the trace, or the causal past of one event by walking back from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.trace import Trace, TraceEvent
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Causality"]

_INTERNAL: Final = frozenset({"lost", "duplicate"})
"""What the network does to a message is nobody's event: it happens in no agent."""


@final
class Causality:
    """The causal order of the events of a trace, as far back as its window reaches.

    An event's clock counts, for each agent, how many of that agent's events happened before it or are it.
    """

    __slots__ = ("_by_agent", "_events", "_own", "_sent")

    def __init__(self, trace: Trace) -> None:
        self._events: dict[int, TraceEvent] = {}
        self._own: dict[int, int] = {}  # event -> its number among its agent's events, from 1
        self._sent: dict[int, int] = {}  # uid of a message -> the event that sent it
        self._by_agent: dict[str, list[int]] = {}
        for event in trace:
            if event.kind in _INTERNAL:
                continue
            line = self._by_agent.setdefault(event.agent, [])
            line.append(event.index)
            self._events[event.index] = event
            self._own[event.index] = len(line)
            if event.kind == "send" and event.message is not None:
                self._sent[event.message.uid] = event.index

    def _sending(self, event: TraceEvent) -> int | None:
        if event.kind != "receive" or event.message is None:
            return None
        return self._sent.get(event.message.uid)

    def _known(self, event: TraceEvent | int) -> int:
        index = event if isinstance(event, int) else event.index
        if index not in self._events:
            raise ConvergenceUsageError(
                f"event {index} has no place in the causal order: it is not in this trace, or it happened in no agent."
            )
        return index

    def clock(self, event: TraceEvent | int) -> VectorClock:
        """Return the vector clock of one event, by walking back from it.

        Raises:
            ConvergenceUsageError: the event is not in the trace.
        """
        reach: dict[str, int] = {}
        todo = [self._known(event)]
        while todo:
            index = todo.pop()
            agent = self._events[index].agent
            line = self._by_agent[agent]
            seen, upto = reach.get(agent, 0), self._own[index]
            if upto <= seen:
                continue
            reach[agent] = upto
            for place in range(seen, upto):
                sending = self._sending(self._events[line[place]])
                if sending is not None:
                    todo.append(sending)
        return VectorClock(reach)

    def clocks(self) -> Iterator[tuple[TraceEvent, VectorClock]]:
        """Go through all events, oldest first, each with its vector clock."""
        lines: dict[str, dict[str, int]] = {}
        sent: dict[int, dict[str, int]] = {}
        for event in self._events.values():
            line = lines.setdefault(event.agent, {})
            sending = self._sending(event)
            if sending is not None and sending in sent:
                for agent, count in sent[sending].items():
                    if count > line.get(agent, 0):
                        line[agent] = count
            line[event.agent] = self._own[event.index]
            if event.kind == "send":
                sent[event.index] = dict(line)
            yield event, VectorClock(line)

    def happens_before(self, one: TraceEvent | int, other: TraceEvent | int) -> bool:
        """Whether ``one`` may have influenced ``other``: there is a path from it in the causal DAG."""
        first, second = self._known(one), self._known(other)
        if first == second:
            return False
        return self.clock(second)[self._events[first].agent] >= self._own[first]

    def concurrent(self, one: TraceEvent | int, other: TraceEvent | int) -> bool:
        """Whether neither event can have influenced the other."""
        first, second = self._known(one), self._known(other)
        return (
            first != second
            and not self.happens_before(first, second)
            and not self.happens_before(second, first)
        )

    def past(self, event: TraceEvent | int) -> tuple[TraceEvent, ...]:
        """Return the event and everything that happened before it, oldest first: all that can explain it."""
        clock = self.clock(event)
        return tuple(known for index, known in self._events.items() if self._own[index] <= clock[known.agent])
