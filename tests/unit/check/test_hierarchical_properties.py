"""The properties of hierarchies, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState
from tests.unit.check.events import MS, crash, event, fact, judge

SECOND = 1000 * MS


def delegate(
    task: str, to: str, attempt: int = 1, by: str = "a", parent: str = "job", **data: Any
) -> TraceEvent:
    return fact(by, "delegate", task=task, to=to, attempt=attempt, parent=parent, **data)


def begin(agent: str, task: str, attempt: int = 1, **data: Any) -> TraceEvent:
    return fact(agent, "begin", task=task, attempt=attempt, **data)


def end(agent: str, task: str, how: str = "done", attempt: int = 1, *, at: int = 0) -> TraceEvent:
    return fact(agent, "end", task=task, attempt=attempt, how=how, at=at)


def accept(task: str, attempt: int = 1) -> TraceEvent:
    return fact("a", "accept", task=task, attempt=attempt)


def restart(
    *failed: str, strategy: str = "one_for_one", number: int = 1, at: int = 0, **data: Any
) -> TraceEvent:
    parts = ["x", "y", "z"]
    given = {"task": "job", "failed": list(failed), "parts": parts, "strategy": strategy, "number": number}
    return fact("a", "restart", at=at, **{**given, **data})


FINAL = FinalState(100 * SECOND, ("a", "b", "c"))
UNSETTLED = FinalState(100 * SECOND, ("a", "b", "c"), settled=False)


# -- one_result_per_task ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([accept("x")], "which nobody had delegated"),
        (
            [delegate("x", "b"), delegate("x", "b", 2), accept("x")],
            "from attempt 1, but the newest attempt is 2",
        ),
        ([delegate("x", "b"), accept("x"), accept("x")], "for the second time"),
        ([delegate("x", "b"), fact("a", "cancel", task="x"), accept("x")], "which it had cancelled"),
    ],
)
def test_a_result_that_must_not_be_accepted(events: list[TraceEvent], words: str) -> None:
    violation = judge("one_result_per_task", events)
    assert violation is not None
    assert words in violation.message


@pytest.mark.parametrize(
    "events",
    [
        [delegate("x", "b"), accept("x")],
        [delegate("x", "b"), delegate("x", "b", 2), accept("x", 2)],
        [delegate("x", "b"), accept("x"), delegate("x", "b", 2), accept("x", 2)],  # one_for_all
        [delegate("x", "b"), accept("x"), crash("a"), delegate("x", "b"), accept("x")],  # it had forgotten
        [delegate("x", "b"), delegate("y", "c"), accept("y"), accept("x")],
    ],
)
def test_results_that_may_be_accepted(events: list[TraceEvent]) -> None:
    assert judge("one_result_per_task", events, final=FINAL) is None


# -- no_orphan_work, cancel_propagates -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([delegate("x", "b", 2), begin("b", "x", 1)], "attempt 2 has taken its place"),
        ([accept("x")], "a has accepted its result"),
        ([end("a", "job", "failed")], "'job', of which it is a part, is failed"),
    ],
)
def test_orphans(events: list[TraceEvent], words: str) -> None:
    before = [begin("a", "job"), delegate("x", "b"), begin("b", "x")]
    violation = judge("no_orphan_work", [*before, *events], final=FINAL)
    assert violation is not None
    assert words in violation.message
    assert judge("no_orphan_work", [*before, *events], final=UNSETTLED) is None
    assert judge("no_orphan_work", [*before, *events, crash("b")], final=FINAL) is None
    assert judge("no_orphan_work", [*before, *events], final=FinalState(0, ("b", "c"))) is None


def test_work_that_somebody_waits_for_is_no_orphan() -> None:
    before = [begin("a", "job"), delegate("x", "b"), begin("b", "x")]
    assert judge("no_orphan_work", before, final=FINAL) is None
    assert judge("no_orphan_work", [*before, crash("a")], final=FINAL) is None
    assert judge("no_orphan_work", [*before, end("b", "x"), accept("x")], final=FINAL) is None


def test_a_cancellation_reaches_those_who_work_for_the_cancelled() -> None:
    events = [
        begin("a", "job"),
        delegate("x", "b"),
        begin("b", "x"),
        delegate("x/y", "c", by="b", parent="x"),
        begin("c", "x/y"),
        fact("a", "cancel", task="x", attempt=1),
        end("b", "x", "stopped"),
    ]
    violation = judge("cancel_propagates", events, final=FINAL)
    assert violation is not None
    assert "c's work on 'x/y' (attempt 1) goes on, although a has cancelled 'x'" in violation.message
    assert judge("cancel_propagates", [*events, end("c", "x/y", "stopped")], final=FINAL) is None
    assert judge("cancel_propagates", events, final=UNSETTLED) is None


def test_a_cancellation_does_not_concern_later_attempts() -> None:
    events = [
        delegate("x", "b"),
        begin("b", "x"),
        fact("a", "cancel", task="x", attempt=1),
        end("b", "x", "stopped"),
        delegate("x", "b", 2),
        begin("b", "x", 2),
    ]
    assert judge("cancel_propagates", events, final=FINAL) is None


# -- deadline_respected ------------------------------------------------------------------------------------------------


def test_a_child_must_not_be_given_longer_than_its_parent_has() -> None:
    before = begin("a", "job", seconds=10)
    assert judge("deadline_respected", [before, delegate("x", "b", seconds=10)]) is None
    assert judge("deadline_respected", [before, delegate("x", "b", seconds=5, at=5 * SECOND)]) is None
    violation = judge("deadline_respected", [before, delegate("x", "b", seconds=6, at=5 * SECOND)])
    assert violation is not None
    assert "a gave b until 11 s for 'x', but has itself only until 10 s" in violation.message


def test_nobody_takes_longer_than_it_was_given() -> None:
    given = delegate("x", "b", seconds=5)
    assert judge("deadline_respected", [given, begin("b", "x", seconds=5)]) is None
    violation = judge("deadline_respected", [given, begin("b", "x", seconds=6)])
    assert violation is not None
    assert "b takes 6 s for 'x', but was given 5 s" in violation.message
    violation = judge("deadline_respected", [given, begin("b", "x")])
    assert violation is not None
    assert "takes no deadline" in violation.message


@pytest.mark.parametrize("held", [[], [event("stall", "b", {"us": 5000}, at=SECOND)]])
def test_work_ends_by_its_deadline(held: list[TraceEvent]) -> None:
    before = [begin("b", "x", seconds=5), *held]
    assert judge("deadline_respected", [*before, end("b", "x", at=5 * SECOND + 50 * MS)]) is None
    violation = judge("deadline_respected", [*before, end("b", "x", at=6 * SECOND)])
    assert violation is not None
    assert "went on past its deadline" in violation.message
    assert judge("deadline_respected", before, final=FINAL) is not None
    assert judge("deadline_respected", [*before, crash("b")], final=FINAL) is None
    assert judge("deadline_respected", before, final=FinalState(4 * SECOND, ("b",))) is None


def test_a_paused_agent_cannot_look_at_the_clock() -> None:
    paused = [event("pause", "b", at=SECOND), event("resume", "b", at=3 * SECOND)]
    events = [begin("b", "x", seconds=5), *paused, end("b", "x", at=7 * SECOND)]
    assert judge("deadline_respected", events) is None


def test_without_seconds_there_is_no_deadline() -> None:
    events = [begin("a", "job"), delegate("x", "b"), begin("b", "x"), end("b", "x", at=99 * SECOND)]
    assert judge("deadline_respected", events, final=FINAL) is None


# -- restart_scope, restart_intensity --------------------------------------------------------------------------------

THREE = [begin("a", "job"), delegate("x", "b"), delegate("y", "b"), delegate("z", "c")]


@pytest.mark.parametrize(
    ("strategy", "again"), [("one_for_one", "y"), ("one_for_all", "xyz"), ("rest_for_one", "yz")]
)
def test_the_scope_of_a_restart_is_that_of_its_strategy(strategy: str, again: str) -> None:
    failed = [*THREE, restart("y", strategy=strategy)]
    right = [delegate(name, "b", 2) for name in again]
    assert judge("restart_scope", [*failed, *right], final=FINAL) is None
    violation = judge("restart_scope", [*failed, *right[:-1]], final=FINAL)
    assert violation is not None
    assert f"a did not restart '{again[-1]}', which is in scope by {strategy}" in violation.message
    if again != "xyz":
        violation = judge("restart_scope", [*failed, delegate("x", "b", 2)])
        assert violation is not None
        assert "a restarted 'x', which is out of scope" in violation.message


def test_what_is_missing_is_found_at_the_next_restart() -> None:
    events = [*THREE, restart("y", strategy="one_for_all"), delegate("y", "b", 2), restart("y", number=2)]
    violation = judge("restart_scope", events)
    assert violation is not None
    assert "did not restart 'x', 'z'" in violation.message


def test_a_restart_that_is_remembered_or_given_up_owes_nothing() -> None:
    again = [*THREE, restart("y"), crash("a"), begin("a", "job"), restart("y"), delegate("y", "b", 2)]
    assert judge("restart_scope", again, final=FINAL) is None
    given_up = [*THREE, restart("y"), end("a", "job", "failed")]
    assert judge("restart_scope", given_up, final=FINAL) is None
    silent = [*THREE, delegate("y", "b", 2)]  # whoever observes no restarts is not judged by them
    assert judge("restart_scope", silent, final=FINAL) is None


def test_more_restarts_than_allowed_within_the_period() -> None:
    limits: dict[str, Any] = {"at_most": 2, "within": 5}
    close = [restart("y", number=n, at=n * SECOND, **limits) for n in (1, 2, 3)]
    violation = judge("restart_intensity", [begin("a", "job"), *close])
    assert violation is not None
    assert "3 times within 5 s; after 2 it must give up" in violation.message
    apart = [restart("y", number=n, at=3 * n * SECOND, **limits) for n in range(9)]
    assert judge("restart_intensity", [begin("a", "job"), *apart], final=FINAL) is None
    said_again = [restart("y", number=1, at=SECOND, **limits)] * 5
    assert judge("restart_intensity", said_again) is None
    anew = [*close[:2], begin("a", "job", 2), *close[:2]]  # the supervisor itself was restarted
    assert judge("restart_intensity", anew) is None
    assert judge("restart_intensity", [restart("y", number=n) for n in range(9)]) is None


# -- acyclic_delegation, escalation_reaches_root ---------------------------------------------------------------------


def test_delegation_in_a_circle() -> None:
    events = [delegate("x", "b"), delegate("x/y", "c", by="b", parent="x")]
    assert judge("acyclic_delegation", events) is None
    violation = judge("acyclic_delegation", [*events, delegate("x/y/z", "a", by="c", parent="x/y")])
    assert violation is not None
    assert "a → b → c → a" in violation.message
    assert judge("acyclic_delegation", [delegate("x", "a")]) is not None


@pytest.mark.parametrize(
    "then",
    [
        [delegate("x", "b", 2)],
        [fact("a", "cancel", task="x", attempt=1)],
        [accept("x"), end("a", "job")],  # a repetition failed
        [end("a", "job", "failed")],
        [end("a", "job", "stopped")],
        [crash("a")],
    ],
)
def test_a_failure_that_somebody_acts_on(then: list[TraceEvent]) -> None:
    before = [begin("a", "job"), delegate("x", "b"), begin("b", "x"), end("b", "x", "failed")]
    assert judge("escalation_reaches_root", [*before, *then], final=FINAL) is None


def test_a_failure_that_is_lost() -> None:
    before = [begin("a", "job"), delegate("x", "b"), begin("b", "x"), end("b", "x", "failed")]
    violation = judge("escalation_reaches_root", before, final=FINAL)
    assert violation is not None
    assert "b's work on 'x' (attempt 1) failed, but a neither restarted it nor failed" in violation.message
    violation = judge("escalation_reaches_root", [*before, end("a", "job")], final=FINAL)
    assert violation is not None
    assert "finished 'job' all the same" in violation.message
    assert judge("escalation_reaches_root", before, final=UNSETTLED) is None
    assert judge("escalation_reaches_root", before[1:], final=FINAL) is None
