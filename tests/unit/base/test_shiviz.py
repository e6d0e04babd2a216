"""Logs of real systems: read, written, and their clocks compared with our own happens-before."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_convergence._engine.base.causality import Causality
from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.shiviz import LoggedEvent, parse_shiviz, render_shiviz, write_shiviz
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import run_session

PATTERNS = {
    "simpledb": r"(?P<host>\S+) (?P<clock>\{[^{}]*\}) *\n(?P<event>.*)",
    "voldemort": r"(?P<event>.*)\n(?P<host>\S+) (?P<clock>\{[^{}]*\})",
    "simple-reliable-broadcast": r"/user/(?P<host>\w+)\] (?P<clock>\{[^{}]*\}) (?P<event>.*)",
}
"""How the events of each log look."""


def _log(vectors: Path, name: str) -> tuple[LoggedEvent, ...]:
    text = (vectors / "shiviz" / f"{name}.log").read_text(encoding="utf-8")
    return parse_shiviz(text, PATTERNS[name])


@pytest.mark.parametrize(
    ("name", "events", "hosts"),
    [("simpledb", 509, 5), ("voldemort", 864, 20), ("simple-reliable-broadcast", 39, 3)],
)
def test_every_event_of_a_real_log_is_read(vectors: Path, name: str, events: int, hosts: int) -> None:
    log = _log(vectors, name)
    assert (len(log), len({event.host for event in log})) == (events, hosts)
    counts: dict[str, list[int]] = {}
    for event in log:
        counts.setdefault(event.host, []).append(event.clock[event.host])
    for own in counts.values():
        assert sorted(own) == list(range(1, len(own) + 1)), "a host numbers its events without gaps"


def _as_trace(log: tuple[LoggedEvent, ...]) -> tuple[list[TraceEvent], dict[tuple[str, int], int]]:
    """Replay a log as messages, without its clocks: what a clock says that is new came by a message from there.

    Returns the events of the trace, and which of them stands for which of the log.
    """
    trace: list[TraceEvent] = []
    places: dict[tuple[str, int], int] = {}
    uids: dict[tuple[str, int], int] = {}
    heard: dict[str, VectorClock] = {}

    def add(kind: str, host: str, message: Message | None = None) -> None:
        trace.append(TraceEvent(len(trace), 0, kind, host, message))

    for host, clock, _ in sorted(log, key=lambda event: event.clock.total()):
        before = heard.get(host, VectorClock())
        heard[host] = clock
        for other, count in clock.items():
            if other != host and count > before[other]:
                add("receive", host, Message(other, host, None, uid=uids[other, count]))
        places[host, clock[host]] = len(trace)
        add("step", host)
        uids[host, clock[host]] = len(trace)
        add("send", host, Message(host, host, None, uid=len(trace)))
    return trace, places


@pytest.mark.parametrize("name", PATTERNS)
def test_our_happens_before_is_that_of_the_logged_clocks(vectors: Path, name: str) -> None:
    log = _log(vectors, name)
    trace, places = _as_trace(log)
    derived = {event.index: clock for event, clock in Causality(cast(Any, trace)).clocks()}
    pairs = [(event.clock, derived[places[event.host, event.clock[event.host]]]) for event in log]
    for (logged, ours), (other_logged, other_ours) in combinations(pairs, 2):
        assert (logged < other_logged) == (ours < other_ours)
        assert logged.concurrent_with(other_logged) == ours.concurrent_with(other_ours)


def test_a_log_that_was_written_is_read_as_it_was(vectors: Path) -> None:
    log = _log(vectors, "simple-reliable-broadcast")
    assert parse_shiviz(write_shiviz(log)) == log


def test_the_host_follows_from_the_counts_where_it_is_not_named() -> None:
    log = parse_shiviz('{"a":1} begins\n{"a":1,"b":1} hears\n', r"(?P<clock>\{.*?\}) (?P<event>.*)")
    assert [(event.host, event.text) for event in log] == [("a", "begins"), ("b", "hears")]


def test_a_trace_becomes_a_log_with_the_clocks_of_its_messages() -> None:
    async def scenario(session: Any) -> None:
        await session.agents["a"].send("b", "hello")
        await session.agents["b"].receive()

    trace = run_session(scenario, agents=["a", "b"]).trace
    log = parse_shiviz(render_shiviz(trace))
    sent = next(event for event in log if "send a→b #1" in event.text)
    received = next(event for event in log if "receive a→b #1" in event.text)
    assert sent.clock < received.clock
    assert [event.clock for event in log] == [clock for _, clock in Causality(trace).clocks()]


@pytest.mark.parametrize(
    ("text", "pattern", "message"),
    [
        ("x", r"(?P<event>.*)", "no group"),
        ('a {"a":"x"}\nevent', r"(?P<host>\S+) (?P<clock>\{.*\})\n(?P<event>.*)", "not a vector clock"),
        ('{"a" 1} event', r"(?P<clock>\{.*\}) (?P<event>.*)", "not a vector clock"),
        ('{"a":1,"b":1} event', r"(?P<clock>\{.*\}) (?P<event>.*)", "whose event"),
    ],
)
def test_what_is_no_log_is_refused(text: str, pattern: str, message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        parse_shiviz(text, pattern)


def test_agents_may_have_any_name() -> None:
    names = ['the "first"', "the {first}", "the__first_", "a b"]

    async def scenario(session: Any) -> None:
        for name in names[1:]:
            await session.agents[names[0]].send(name, "hello")

    trace = run_session(scenario, agents=names).trace
    log = parse_shiviz(render_shiviz(trace))
    assert len(log) == sum(1 for _ in Causality(trace).clocks())
    assert len({event.host for event in log}) == len({event.agent for event in trace})
    assert all(event.clock[event.host] for event in log)
