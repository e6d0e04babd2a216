"""Short names for trace events, and a judge for one property."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope, Violation
from pytest_convergence._engine.check.registry import find_property

THREE = ("a", "b", "c")
MS = 1_000_000


def event(
    kind: str, agent: str, detail: Any = None, message: Message | None = None, *, at: int = 0
) -> TraceEvent:
    return TraceEvent(0, at, kind, agent, message, detail)


def fact(agent: str, name: str, /, *, at: int = 0, **data: Any) -> TraceEvent:
    return event("observe", agent, {"fact": name, **data}, at=at)


def send(agent: str, to: str = "b", kind: str = "message", channel: str = "user") -> TraceEvent:
    return event("send", agent, message=Message(agent, to, None, kind, channel=channel))


def crash(agent: str) -> TraceEvent:
    return event("crash", agent)


def persist(agent: str, key: str = "vote", channel: str = "user") -> TraceEvent:
    return event("persist", agent, {"key": key, "value": 1, "channel": channel})


def sync(agent: str, channel: str = "user") -> TraceEvent:
    return event("sync", agent, {"channel": channel})


ANY = Scope(THREE)


def judge(
    name: str, events: Sequence[TraceEvent], scope: Scope = ANY, final: FinalState | None = None
) -> Violation | None:
    """Return the violation of the property ``name`` that these events prove, if they do."""
    monitor = Monitor([find_property(name)], scope)
    monitor.feed_all(events)
    if final is not None:
        monitor.finish(final)
    assert all(violation.property == name for violation in monitor.violations)
    return monitor.violations[0] if monitor.violations else None
