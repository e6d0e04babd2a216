"""What agents are in conflict about: the rules that tell types, their order, and severity."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pytest_convergence import DELETED, Conflict, ConflictType, Resolve, Severity
from pytest_convergence._engine.state.conflict_types import classify
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence.errors import ConvergenceUsageError


def conflict_at(path: str, one: Any = 1, other: Any = 2, **options: Any) -> Conflict:
    """Return the conflict that two replicas meet who write ``one`` and ``other`` to ``path``."""
    a, b = Replica("a", **options), Replica("b", **options)
    a.set("seed", 0)
    for replica, value in ((a, one), (b, other)):
        if value is DELETED:
            replica.set(path, "old")
            (b if replica is a else a).join(replica.delta_since((b if replica is a else a).clock))
    for replica, value in ((a, one), (b, other)):
        if value is DELETED:
            replica.delete(path)
        else:
            replica.set(path, value)
    a.join(b.delta_since(a.clock))
    (conflict,) = a.conflicts
    return conflict


@pytest.mark.parametrize(
    ("path", "values", "kind"),
    [
        ("plan.title", ("x", "y"), ConflictType.STATE_MISMATCH),
        ("printer.lock", ("x", "y"), ConflictType.RESOURCE_CONTENTION),
        ("anything", ("a", "b"), ConflictType.RESOURCE_CONTENTION),
        ("leader", (1, 2), ConflictType.RESOURCE_CONTENTION),
        ("tasks.build.state", ("done", "failed"), ConflictType.TASK_OVERLAP),
        ("taskOwner", ("a", "b"), ConflictType.TASK_OVERLAP),
        ("step.output", ("x", "y"), ConflictType.OUTPUT_CONFLICT),
        ("final_report", ("x", "y"), ConflictType.OUTPUT_CONFLICT),
        ("story.priority", (1, 2), ConflictType.PRIORITY_CONFLICT),
        ("release.deadline", ("May", "June"), ConflictType.TIMING_CONFLICT),
        ("begin", (datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)), ConflictType.TIMING_CONFLICT),
        ("note", (DELETED, "y"), ConflictType.TIMING_CONFLICT),
        ("multitasking", ("x", "y"), ConflictType.STATE_MISMATCH),
    ],
)
def test_the_type_is_told_by_what_was_written_and_by_the_words_of_the_path(
    path: str, values: tuple[Any, Any], kind: ConflictType
) -> None:
    assert conflict_at(path, *values).type is kind


def test_every_type_has_a_severity_and_losing_a_whole_is_a_step_graver() -> None:
    assert conflict_at("plan.title").severity is Severity.MEDIUM
    assert conflict_at("printer.lock").severity is Severity.HIGH
    assert conflict_at("note", DELETED, 1).severity is Severity.MEDIUM, "a timing conflict is low by itself"
    a, b = Replica("a"), Replica("b")
    a.set("plan", {"title": "A"})
    b.set("plan.title", "B")
    a.join(b.delta_since(a.clock))
    assert a.conflicts[0].severity is Severity.HIGH


def test_a_rule_of_the_test_comes_before_the_built_in_ones_and_may_give_a_severity() -> None:
    def budget(conflict: Conflict) -> tuple[str, str] | None:
        return ("budget", "critical") if conflict.path.startswith("budget") else None

    resolve = Resolve({"budget": "first-come", "default": "last-write"}, rules=[budget])
    found = conflict_at("budget.task", resolve=resolve)
    assert (found.type, found.severity) == ("budget", Severity.CRITICAL)
    assert found.resolution is not None
    assert found.resolution.strategy == "first-come"
    other = conflict_at("title", resolve=resolve)
    assert other.type is ConflictType.STATE_MISMATCH
    assert other.resolution is not None
    assert other.resolution.strategy == "last-write"


def test_a_rule_may_name_a_type_alone() -> None:
    rules = [lambda conflict: "output conflict", lambda conflict: "never asked"]
    assert classify(conflict_at("x"), rules) == (ConflictType.OUTPUT_CONFLICT, Severity.MEDIUM)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(3, "a conflict rule gave 3"), (("x", "grave"), "severity"), (("x",), "a conflict rule gave")],
)
def test_a_rule_that_gives_something_else_is_refused(answer: Any, message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        classify(conflict_at("x"), [lambda conflict: answer])


def test_a_rule_must_be_a_function() -> None:
    with pytest.raises(ConvergenceUsageError, match="a rule is a function"):
        Resolve("last-write", rules=["budget"])  # type: ignore[list-item]
