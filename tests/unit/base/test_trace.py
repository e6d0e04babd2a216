"""The trace: bounded memory, a digest that shows what happened and nothing else, and reading it as a sequence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base import trace as module
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.trace import AGENT_SHIFT, CODE, KINDS, SEND, Trace, TraceEvent

AGENTS = ["scenario", "a", "b"]


def _record(trace: Trace, count: int, *, flush_every: int = 1, first: int = 0) -> None:
    """Record ``count`` events: every third one a message, the others details."""
    for number in range(first, first + count):
        agent = number % 3
        if number % 3 == 0:
            uid = trace._messages_base + len(trace._messages)
            trace._log.extend((number, SEND | agent << AGENT_SHIFT, uid))
            trace._messages.append(
                ("a", "b", {"number": number}, "message", number, number, uid, None, "user")
            )
        else:
            trace.add(number, CODE["observe"], agent, {"number": number})
        if number % flush_every == 0:
            trace.flush()


def _made(count: int, *, window: int = 1 << 20, flush_every: int = 1) -> Trace:
    trace = Trace(list(AGENTS), window=window)
    _record(trace, count, flush_every=flush_every)
    return trace


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 16)


def test_events_tell_when_what_and_who():
    trace = _made(2)
    message = Message("a", "b", {"number": 0}, "message", 0, 0, 1, None, "user")
    assert list(trace) == [
        TraceEvent(0, 0, "send", "scenario", message, None),
        TraceEvent(1, 1, "observe", "a", None, {"number": 1}),
    ]
    assert trace[1].at == 1e-9
    assert trace.messages == (message,)
    assert trace.agents == tuple(AGENTS)


@given(st.integers(0, 200), st.integers(1, 100), st.integers(1, 50))
def test_index_slice_and_iteration_agree(count: int, window: int, flush_every: int):
    trace = _made(count, window=window, flush_every=flush_every)
    events = list(trace)
    assert len(trace) == len(events) == count - trace.dropped
    assert [trace[place] for place in range(len(events))] == events
    assert [trace[place - len(events)] for place in range(len(events))] == events
    assert trace[3:-2:2] == tuple(events[3:-2:2])
    assert [event.index for event in events] == list(range(trace.dropped, count))


@pytest.mark.parametrize("index", [50, -51])
def test_there_is_no_event_outside(index: int):
    with pytest.raises(IndexError, match="of a trace of 50"):
        _made(50)[index]


@given(st.integers(0, 200), st.integers(1, 100), st.integers(1, 50))
def test_the_digest_shows_neither_the_window_nor_where_the_run_was_cut(
    count: int, window: int, flush_every: int
):
    assert (
        _made(count, window=window, flush_every=flush_every).digest()
        == _made(count, flush_every=1_000).digest()
    )


def test_asking_for_the_digest_changes_nothing():
    trace = _made(100, window=30)
    early = trace.digest()
    assert trace.digest() == early
    _record(trace, 10, first=100)
    assert trace.digest() == _made(110).digest() != early


@pytest.mark.parametrize(
    "change",
    [
        lambda trace: trace.add(200, CODE["observe"], 1, {}),
        lambda trace: trace._log.__setitem__(0, 7),
        lambda trace: trace._log.__setitem__(1, trace._log[1] + 1),
        lambda trace: trace._messages.__setitem__(0, ("a", "b", {"number": 1})),
        lambda trace: trace._details.__setitem__(0, {"number": 2}),
        lambda trace: trace._agents.append("c"),
    ],
)
def test_the_digest_shows_everything_else(change: Any):
    trace = _made(10)
    before = trace.digest()
    change(trace)
    assert trace.digest() != before


def test_the_digest_is_that_of_a_known_trace():
    # A change of this value changes every digest that somebody has kept; it needs an entry in the change log.
    assert _made(10).digest() == "4564e1b67774ca12a33edc9ad580eafb08b0e2437fac8e432367adfeb1466c6a"


def test_memory_is_bounded_by_the_window():
    trace = _made(10_000, window=100)
    assert len(trace) <= 100 + 2 * module._CHUNK
    assert len(trace._messages) <= 50
    assert len(trace._details) <= 100
    assert trace.dropped + len(trace) == 10_000


def test_what_has_left_the_window_is_missing_not_wrong():
    trace = _made(1_000, window=100)
    assert trace.message(1) is None
    assert trace.message(10**6) is None
    first = trace.messages[0]
    assert trace.message(first.uid) == first
    trace._log.extend((1_000, SEND, 1))
    assert trace[-1].message is None


def test_codes_of_kinds_fit_beneath_the_agent():
    assert len(KINDS) < 1 << AGENT_SHIFT
    assert KINDS[SEND] == "send"


def test_a_trace_tells_its_size():
    assert repr(_made(9)) == "<Trace of 9 events, 3 messages>"
