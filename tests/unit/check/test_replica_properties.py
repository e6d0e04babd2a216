"""What properties of one way of synchronising, and of clocks, make of single facts."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, Property, SimulatedAgent, VectorClock
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState
from pytest_convergence._engine.check.seen import covers, equal, told, united, without
from tests.unit.check.events import crash, event, fact, judge

END = FinalState(0, core=("a", "b", "c"))


def sent(uid: int, agent: str = "a", to: str = "b", channel: str = "user") -> TraceEvent:
    return event("send", agent, message=Message(agent, to, None, "message", uid=uid, channel=channel))


def received(uid: int, agent: str = "b", sender: str = "a", channel: str = "user") -> TraceEvent:
    return event("receive", agent, message=Message(sender, agent, None, "message", uid=uid, channel=channel))


# -- what was seen ----------------------------------------------------------------------------------------------------


def test_what_was_seen_is_a_clock_or_ids() -> None:
    assert told({"a": 2}) == VectorClock({"a": 2})
    assert told(["x", 1]) == told({"x", 1}) == frozenset({"x", 1})
    assert told({"a": "no count"}) == frozenset({'["a","no count"]'})
    assert told(None) == VectorClock()
    assert told("x") == told(["x"])


def test_clocks_and_ids_are_not_compared() -> None:
    clock, ids = told({"a": 1}), told(["x"])
    assert covers(clock, ids)
    assert covers(ids, clock)
    assert not equal(clock, ids)
    assert not covers(told(None), ids)
    assert united(clock, ids) is ids
    assert united(clock, told([])) is clock
    assert without(ids, "a") is ids
    assert not without(clock, "a")


# -- facts ------------------------------------------------------------------------------------------------------------


def test_ids_do_for_atomic_apply() -> None:
    joined = fact("a", "joined", way="full", seen=["x"], end=["x", "y", "z"])
    assert judge("atomic_apply", [joined, crash("a"), fact("a", "replica", seen=["x"])]) is None
    assert judge("atomic_apply", [joined, crash("a"), fact("a", "replica", seen=["x", "y", "z"])]) is None
    half = judge("atomic_apply", [joined, crash("a"), fact("a", "replica", seen=["x", "y"])])
    assert half is not None
    assert "came back from a crash with a part" in half.message


def test_a_document_that_was_shown_before_it_was_joined_is_half_a_document() -> None:
    shown = [
        fact("a", "joined", way="full", seen={}, end={"b": 1}),
        fact("a", "replica", seen={"b": 1, "c": 1}),
        fact("a", "joined", way="full", seen={"b": 1}, end={"c": 2}),
    ]
    found = judge("atomic_apply", shown)
    assert found is not None
    assert "before it had joined it" in found.message
    assert judge("atomic_apply", [crash("a"), fact("a", "replica", seen={})]) is None


def test_a_life_that_joins_before_it_says_what_it_came_back_with_is_judged_by_that() -> None:
    events = [
        fact("a", "joined", way="full", seen={}, end={"b": 2, "c": 2}),
        crash("a"),
        fact("a", "joined", way="full", seen={"b": 2}, end={"b": 3}),
    ]
    found = judge("atomic_apply", events)
    assert found is not None
    assert "came back" in found.message


def test_an_acknowledgement_is_true_of_whoever_has_said_what_it_has() -> None:
    acked = fact("a", "acked", by=["b", "c"], upto={"a": 2})
    assert judge("resent_until_acked", [acked]) is None  # nobody has said anything
    assert judge("resent_until_acked", [fact("b", "replica", seen={"a": 2}), acked]) is None
    found = judge("resent_until_acked", [fact("b", "joined", seen={}, end={"a": 1}), acked])
    assert found is not None
    assert "acknowledged by b what b has never had" in found.message


@pytest.mark.parametrize(
    ("more", "is_broken"),
    [
        ([], True),
        ([fact("a", "acked", by="b", upto={"a": 1})], False),
        ([fact("b", "replica", seen={"a": 1})], False),
        ([crash("a")], False),
    ],
)
def test_what_was_told_arrives_in_the_end(more: list[TraceEvent], is_broken: bool) -> None:
    events = [fact("a", "told", to="b", upto={"a": 1}), *more]
    assert (judge("resent_until_acked", events, final=END) is not None) is is_broken
    assert judge("resent_until_acked", events, final=FinalState(0, core=("a",))) is None
    assert judge("resent_until_acked", events, final=FinalState(0, core=("a", "b"), settled=False)) is None


def test_a_log_that_does_not_say_where_it_ends_after_a_crash_begins_with_what_comes() -> None:
    events = [fact("a", "logged", events=[("b", 1), ("b", 2)]), crash("a")]
    assert judge("log_without_gap", [*events, fact("a", "logged", events=[("b", 2), ("b", 3)])]) is None
    ends = fact("a", "logged", upto={"b": 1})
    assert judge("log_without_gap", [*events, ends, fact("a", "logged", events=[("b", 3)])]) is not None
    assert judge("log_without_gap", [*events, fact("a", "logged", upto=["no clock"])]) is None


def test_a_fold_is_compared_with_equal_updates_alone() -> None:
    fold = fact("a", "folded", seen={"a": 1}, state=1)
    assert judge("fold_is_state", [fold, fact("b", "replica", seen={"a": 2}, state=2)]) is None
    assert judge("fold_is_state", [fold, fact("b", "replica", seen={"a": 1}, state=1)]) is None
    found = judge("fold_is_state", [fold, fact("b", "replica", seen={"a": 1}, state=2)])
    assert found is not None
    assert found.agents == ("a", "b")


def test_a_write_that_says_its_clock_is_judged_by_what_its_author_had_joined() -> None:
    joined = fact("a", "joined", seen={}, end={"b": 1})
    assert judge("causal_context", [joined, fact("a", "write", id=1, clock={"a": 1, "b": 1})]) is None
    for clock, wrong in (({"a": 1}, "forgets what had come"), ({"a": 1, "b": 2}, "counts what never came")):
        found = judge("causal_context", [joined, fact("a", "write", id=1, clock=clock)])
        assert found is not None
        assert wrong in found.message
    assert judge("causal_context", [joined, fact("a", "joined", seen=["x"], end=["y"])]) is None
    assert judge("causal_context", [joined, crash("a"), fact("a", "replica", seen={}), joined]) is None
    forgot = fact("a", "joined", seen={}, end={"c": 1})
    assert judge("causal_context", [joined, forgot]) is not None


def test_siblings_without_what_was_seen_are_compared_with_each_other_alone() -> None:
    writes = [fact("a", "write", id="x", path="p"), fact("b", "write", id="y", path="p", seen=["x"])]
    both = fact("a", "siblings", path="p", writes=["x", "y"])
    one = fact("a", "siblings", path="p", writes=["y"], seen=["x", "y"])
    assert judge("antichain", [*writes, both]) is not None
    assert judge("antichain", [*writes, one, fact("a", "siblings", path="p", writes=[])]) is None


def test_a_sibling_may_have_been_overwritten_by_a_write_that_was_kept_and_not_told_of_before_a_crash() -> (
    None
):
    first = fact("a", "write", id="a 1", path="p")
    gone = fact("b", "siblings", path="p", writes=["b 2"], seen=["a 1", "b 1", "b 2"])
    assert judge("antichain", [first, fact("b", "write", id="b 2", path="p", seen=["b 1"]), gone]) is None
    told = fact("b", "write", id="b 1", path="p")
    second = fact("b", "write", id="b 2", path="p", seen=["b 1"])
    assert (
        judge("antichain", [first, fact("a", "siblings", path="p", writes=["b 2"], seen=["a 1", "b 2"])])
        is None
    )
    assert judge("antichain", [first, told, second, gone]) is not None
    assert judge("antichain", [first, second, gone, told, gone]) is not None  # it is told of late


# -- clocks -----------------------------------------------------------------------------------------------------------


def clock(agent: str, **counts: int) -> TraceEvent:
    return fact(agent, "clock", clock=counts)


def test_a_clock_is_compared_along_messages_that_could_carry_it() -> None:
    blind = [clock("a", a=1), sent(1), received(1), clock("b", b=1)]
    assert judge("clock_is_happens_before", blind) is not None
    hidden = [clock("a", a=1), sent(1, channel="sync"), received(1, channel="sync")]
    assert judge("clock_is_happens_before", [*hidden, clock("b", b=1)]) is None  # need not know
    assert judge("clock_is_happens_before", [*hidden, clock("b", a=1, b=1)]) is None  # may know
    assert judge("clock_is_happens_before", [clock("a", a=1), clock("b", a=1, b=1)]) is not None
    # The other way.
    assert judge("clock_is_happens_before", [clock("a", a=1, b=2), clock("b", b=1)]) is not None


def test_what_was_received_right_before_a_crash_or_disregarded_never_came() -> None:
    began = [clock("a", a=1), sent(1), received(1)]
    for end in (crash("b"), fact("b", "disregard")):
        assert judge("clock_is_happens_before", [*began, end, clock("b", b=1)]) is None
        stamps = [fact("a", "hybrid", l=9), sent(1), received(1), end, fact("b", "hybrid", l=1)]
        assert judge("hybrid_clock", stamps) is None


def test_a_message_of_which_nothing_is_known_may_have_told_anything() -> None:
    unknown = event("receive", "b")
    assert judge("clock_is_happens_before", [clock("a", a=1), unknown, clock("b", a=1, b=1)]) is None


def test_the_same_event_may_be_told_twice() -> None:
    assert judge("clock_is_happens_before", [clock("a", a=1), clock("a", a=1), clock("a", a=2)]) is None
    assert judge("clock_is_happens_before", [clock("a", a=2), clock("a", a=1)]) is not None
    stamp = fact("a", "hybrid", l=1, c=1)
    assert judge("hybrid_clock", [stamp, stamp]) is None


# -- messages for checkers --------------------------------------------------------------------------------------------


class _Reads:
    kinds = frozenset({"send", "receive", "observe"})

    def __init__(self, scope: Any) -> None:
        self.read: list[tuple[str, str, Any]] = []

    def feed(self, event: TraceEvent) -> None:
        self.read.append((event.kind, event.agent, event.message and event.message.payload))

    def finish(self, final: FinalState) -> None:
        MADE.append(self.read)


MADE: list[list[tuple[str, str, Any]]] = []


@pytest.mark.parametrize("trace", [True, False])
def test_a_checker_that_asks_for_messages_is_shown_each_once(trace: bool) -> None:
    async def asks(agent: SimulatedAgent) -> None:
        # What is sent while a write is not synced is shown to other properties anyway.
        agent.storage.put("key", 1)
        agent.observe("asked")
        await agent.request("server", "question")

    async def answers(agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            await agent.reply(message, "answer")

    MADE.clear()
    reads = Property("reads", "history", "Reads.", _Reads)  # type: ignore[arg-type]
    ConvergenceEngine().create_session(
        "read", agents={"client": asks, "server": answers}, properties=[reads], trace=trace
    ).run()
    assert MADE == [
        [
            ("observe", "client", None),
            ("send", "client", "question"),
            ("receive", "server", "question"),
            ("send", "server", "answer"),
            ("receive", "client", "answer"),
        ]
    ]


def test_what_a_checker_that_reads_messages_raises_fails_the_run() -> None:
    class Raises(_Reads):
        def feed(self, event: TraceEvent) -> None:
            raise ZeroDivisionError

    async def sends(agent: SimulatedAgent) -> None:
        await agent.send("b", 1)

    session = ConvergenceEngine().create_session(
        "raises",
        agents={"a": sends, "b": sends},
        properties=[Property("raises", "history", "Raises.", Raises)],  # type: ignore[arg-type]
    )
    with pytest.raises(ZeroDivisionError):
        session.run()
