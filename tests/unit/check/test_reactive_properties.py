"""The properties of reactive agents, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState
from tests.unit.check.events import MS, crash, fact, judge

SECOND = 1000 * MS
FINAL = FinalState(100 * SECOND, ("a", "b", "c"))
UNSETTLED = FinalState(100 * SECOND, ("a", "b", "c"), settled=False)


def publish(agent: str, event: str, *to: str, **data: Any) -> TraceEvent:
    return fact(agent, "publish", event=event, topic="t", to=list(to), **data)


def handled(agent: str, event: str, **data: Any) -> TraceEvent:
    return fact(agent, "handled", event=event, **data)


# -- declared_order --------------------------------------------------------------------------------------------------


def test_fifo_is_about_the_events_of_one_publisher() -> None:
    sent = [publish("a", "1", "c"), publish("b", "2", "c"), publish("a", "3", "c")]
    assert judge("declared_order", [*sent, *(handled("c", each) for each in "213")]) is None
    violation = judge("declared_order", [*sent, handled("c", "3")])
    assert violation is not None
    assert (
        "c handled event '3' of a, but not yet '1' of a, which was published before it" in violation.message
    )


def test_fifo_ignores_events_for_others_and_repetitions() -> None:
    sent = [publish("a", "1", "b"), publish("a", "2", "c"), publish("a", "1", "b")]
    assert judge("declared_order", [*sent, handled("c", "2"), handled("c", "2"), handled("c", "9")]) is None


@pytest.mark.parametrize(("order", "broken"), [("causal", True), ("fifo", False)])
def test_causal_order_is_about_all_that_happened_before(order: str, broken: bool) -> None:
    events = [
        publish("a", "bill", "b", "c", order=order),
        handled("b", "bill"),
        publish("b", "paid", "c", order=order),
        handled("c", "paid"),
        handled("c", "bill"),
    ]
    violation = judge("declared_order", events)
    assert (violation is not None) is broken
    if violation is not None:
        assert "not yet 'bill' of a, which happened before it" in violation.message


def test_concurrent_events_have_no_causal_order() -> None:
    sent = [publish("a", "1", "c", order="causal"), publish("b", "2", "c", order="causal")]
    assert judge("declared_order", [*sent, handled("c", "2"), handled("c", "1")], final=FINAL) is None


# -- handler_idempotent, trigger_once --------------------------------------------------------------------------------


def test_an_event_is_handled_once_by_each() -> None:
    once = [handled("b", "1"), handled("c", "1"), handled("b", "2"), handled("b", "1", remembered=True)]
    assert judge("handler_idempotent", once, final=FINAL) is None
    violation = judge("handler_idempotent", [*once, handled("b", "1")])
    assert violation is not None
    assert "b handled event '1' a second time" in violation.message


def test_a_cause_publishes_once() -> None:
    first = publish("b", "2", "c", cause="1", place=1)
    assert judge("trigger_once", [first, first, publish("b", "3", "c", cause="1", place=2)]) is None
    violation = judge("trigger_once", [first, publish("b", "4", "c", cause="1", place=1)])
    assert violation is not None
    assert "event '1' made b publish '4' to 't' after it had published '2' for it" in violation.message


def test_every_subscriber_handles_every_event_in_the_end() -> None:
    events = [publish("a", "1", "b", "c"), handled("b", "1")]
    violation = judge("trigger_once", events, final=FINAL)
    assert violation is not None
    assert "c never handled event '1' that a published" in violation.message
    assert judge("trigger_once", [*events, handled("c", "1")], final=FINAL) is None
    assert judge("trigger_once", [*events, fact("c", "handle", event="1")], final=FINAL) is None
    assert (
        judge("trigger_once", [*events, fact("c", "handle", event="1"), crash("c")], final=FINAL) is not None
    )
    assert judge("trigger_once", events, final=UNSETTLED) is None
    assert judge("trigger_once", events, final=FinalState(100 * SECOND, ("a", "b"))) is None
    assert judge("trigger_once", events, final=FinalState(100 * SECOND, ("b", "c"))) is None


def test_what_was_published_as_a_run_was_cut_off_may_be_under_way() -> None:
    events = [publish("a", "1", "b", at=99 * SECOND + 500 * MS)]
    cut_off = FinalState(100 * SECOND, ("a", "b"), views={"a": {"pattern": None}, "b": {"pattern": None}})
    over = FinalState(100 * SECOND, ("a", "b"), views={"a": {"pattern": 1}, "b": {"pattern": 1}})
    assert judge("trigger_once", events, final=cut_off) is None
    assert judge("trigger_once", events, final=over) is not None


# -- no_feedback_loop ------------------------------------------------------------------------------------------------


def test_a_chain_of_events_has_a_budget() -> None:
    chain = [
        fact("a", "publish", event=str(n), topic="ping", to=["a"], cause=str(n - 1) if n else None, budget=3)
        for n in range(4)
    ]
    assert judge("no_feedback_loop", chain[:3]) is None
    violation = judge("no_feedback_loop", chain)
    assert violation is not None
    assert "4 events in a chain, more than 3: … ping → ping → ping → ping" in violation.message
    refused = fact("a", "loop", event="2", topic="pong", budget=3)
    violation = judge("no_feedback_loop", [*chain[:3], refused])
    assert violation is not None
    assert "4 events in a chain, more than 3: … ping → ping → ping → pong" in violation.message


def test_without_a_budget_sixteen_hops_are_allowed() -> None:
    chain = [
        fact("a", "publish", event=str(n), topic="t", to=[], cause=str(n - 1) if n else None)
        for n in range(17)
    ]
    assert judge("no_feedback_loop", chain[:16]) is None
    assert judge("no_feedback_loop", chain) is not None


# -- sagas -------------------------------------------------------------------------------------------------------------


def saga(*steps: str, pivot: str | None = None) -> TraceEvent:
    return fact("a", "saga_begin", saga="s", steps=list(steps), pivot=pivot)


def did(step: str, what: str = "done", *, at: int = 0) -> TraceEvent:
    return fact("b", f"step_{what}", saga="s", step=step, at=at)


BEGUN = [saga("x", "y", "z"), did("x"), did("y")]
UNDONE = [did("z", "failed"), did("y", "undone"), did("x", "undone")]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([did("x")], "did step 'x' again"),
        ([did("x", "undone")], "undid step 'x' before step 'y', which was done after it"),
        ([did("z", "undone")], "undid without its being done step 'z'"),
        ([*UNDONE, did("x", "undone")], "undid a second time step 'x'"),
    ],
)
def test_steps_that_break_a_saga_at_once(events: list[TraceEvent], words: str) -> None:
    violation = judge("saga_atomic", [*BEGUN, *events])
    assert violation is not None
    assert words in violation.message


@pytest.mark.parametrize(
    "events",
    [
        [did("z")],
        UNDONE,
        [did("z", "failed"), fact("b", "step_begin", saga="s", step="y")],  # somebody is at it
    ],
)
def test_sagas_that_are_whole_or_under_way(events: list[TraceEvent]) -> None:
    assert judge("saga_atomic", [*BEGUN, *events], final=FINAL) is None


def test_what_is_remembered_after_a_restart_is_no_second_time() -> None:
    again = [fact("b", "step_done", saga="s", step="x", remembered=True)]
    assert judge("saga_atomic", [*BEGUN, *again, did("z")], final=FINAL) is None
    assert judge("saga_atomic", [*BEGUN, *UNDONE, *again], final=FINAL) is None
    undone = [fact("b", "step_undone", saga="s", step="x", remembered=True)]
    assert judge("saga_atomic", [*BEGUN, *UNDONE, *undone], final=FINAL) is None
    unsaid = [saga("x", "y", "z"), *again, did("y"), did("z")]  # its agent crashed before it could say so
    assert judge("saga_atomic", unsaid, final=FINAL) is None


def test_a_saga_that_is_left_in_the_middle() -> None:
    failed = [*BEGUN, did("z", "failed", at=100 * SECOND)]
    violation = judge("saga_atomic", failed, final=FINAL)
    assert violation is not None
    assert "z failed, and x, y stayed done" in violation.message
    assert judge("saga_atomic", failed, final=UNSETTLED) is None
    forgotten = judge("saga_atomic", BEGUN, final=FINAL)
    assert forgotten is not None
    assert "z were not done, and x, y stayed done" in forgotten.message
    begun = [*BEGUN, fact("b", "step_begin", saga="s", step="z"), crash("b")]
    assert judge("saga_atomic", begun, final=FINAL) is not None


def test_a_saga_that_was_cut_off_may_be_under_way_but_not_one_that_has_ended() -> None:
    recent = [*BEGUN, did("q", at=99 * SECOND)]
    recent[0] = saga("x", "y", "z", "q")
    assert judge("saga_atomic", recent, final=FINAL) is None
    ended = [*recent, fact("a", "saga_end", saga="s", how="done", at=99 * SECOND)]
    assert judge("saga_atomic", ended, final=FINAL) is not None


def test_a_step_that_fails_behind_the_pivot_may_be_tried_again() -> None:
    events = [saga("x", "y", pivot="x"), did("x"), did("y", "failed", at=99 * SECOND)]
    assert judge("saga_atomic", events, final=FINAL) is None
    assert (
        judge("saga_atomic", [*events, fact("a", "saga_end", saga="s", how="stuck")], final=FINAL) is not None
    )
    long_ago = [*events[:2], did("y", "failed", at=90 * SECOND)]
    assert judge("saga_atomic", long_ago, final=FINAL) is not None


def test_nothing_is_undone_after_the_pivot() -> None:
    events = [saga("x", "y", pivot="y"), did("x"), did("y")]
    assert judge("pivot_no_undo", events) is None
    violation = judge("pivot_no_undo", [*events, did("x", "undone")])
    assert violation is not None
    assert "b undid step 'x' of saga 's' after its pivot 'y' was done" in violation.message
    assert judge("pivot_no_undo", [*events[:2], did("x", "undone")]) is None
    assert judge("pivot_no_undo", [saga("x", "y"), did("x"), did("y"), did("y", "undone")]) is None
