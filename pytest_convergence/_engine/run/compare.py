"""Compares two runs of one schedule: they must be the same, event by event."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import Trace, TraceEvent

__all__ = ["Record", "describe_event", "first_difference"]

_NOTHING = (None, "", "no further event")


class Record(NamedTuple):
    """What is compared of a run, as builtin types: it can be kept in a file, and compared in another process.

    Attributes:
        digest: of the whole trace.
        events: virtual nanoseconds, what must be equal, and words, of each event in the trace's window.
    """

    digest: str
    events: list[tuple[int, str, str]]

    @classmethod
    def of(cls, trace: Trace | Record) -> Record:
        """Record a trace; what is recorded already is itself."""
        if isinstance(trace, Record):
            return trace
        return cls(trace.digest(), [(event.at_ns, _key(event), describe_event(event)) for event in trace])

    def difference(self, other: Record, one: str = "first", another: str = "second") -> str | None:
        """Name the first event in which two runs differ, or return ``None`` if they do not.

        The answer names the virtual time, what happened to whom, and both values.

        Args:
            other: the other run.
            one: what this run is called.
            another: what the other run is called.
        """
        if self.digest == other.digest:
            return None
        pairs: Any = zip_longest(self.events, other.events, fillvalue=_NOTHING)
        for (at_ns, key, words), (other_ns, other_key, other_words) in pairs:
            if key != other_key:
                first_ns = min(each for each in (at_ns, other_ns) if each is not None)
                return (
                    f"at virtual time {format_ns(first_ns)}: the {one} run had {words}, "
                    f"the {another} had {other_words}"
                )
        return (
            "the two runs differ in events that have left the trace's window; raise trace=<number of events>"
        )


def first_difference(first: Trace | Record, second: Trace | Record) -> str | None:
    """Name the first event in which two runs differ, or return ``None`` if they do not."""
    if _digest(first) == _digest(second):
        return None
    return Record.of(first).difference(Record.of(second))


def _digest(trace: Trace | Record) -> str:
    return trace.digest if isinstance(trace, Record) else trace.digest()


def _key(event: TraceEvent) -> str:
    return canonical([event.at_ns, event.kind, event.agent, event.message, event.detail])


def describe_event(event: TraceEvent) -> str:
    """Say what an event is: its label and its value."""
    what = f"{event.kind} by {event.agent} at {format_ns(event.at_ns)}"
    if event.message is not None:
        return f"{what}: {event.message.id} {event.message.type} {event.message.payload!r}"
    return what if event.detail is None else f"{what}: {event.detail!r}"
