"""Compares two runs of one schedule: they must be the same, event by event."""

from __future__ import annotations

from itertools import zip_longest

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import Trace, TraceEvent

__all__ = ["describe_event", "first_difference"]


def first_difference(first: Trace, second: Trace) -> str | None:
    """Name the first event in which two runs differ, or return ``None`` if they do not.

    The answer names the virtual time, what happened to whom, and both values.
    """
    if first.digest() == second.digest():
        return None
    for one, other in zip_longest(first, second):
        if one is None or other is None or _key(one) != _key(other):
            left, right = describe_event(one), describe_event(other)
            at_ns = min(event.at_ns for event in (one, other) if event is not None)
            return f"at virtual time {format_ns(at_ns)}: the first run had {left}, the second had {right}"
    return "the two runs differ in events that have left the trace's window; raise trace=<number of events>"


def _key(event: TraceEvent) -> str:
    return canonical([event.at_ns, event.kind, event.agent, event.message, event.detail])


def describe_event(event: TraceEvent | None) -> str:
    """Say what an event is: its label and its value."""
    if event is None:
        return "no further event"
    what = f"{event.kind} by {event.agent} at {format_ns(event.at_ns)}"
    if event.message is not None:
        return f"{what}: {event.message.id} {event.message.type} {event.message.payload!r}"
    return what if event.detail is None else f"{what}: {event.detail!r}"
