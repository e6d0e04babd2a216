"""One agent's side of a parallel merge, event by event, and its configuration."""

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError, Merged, ParallelMerge
from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelCall,
    Decide,
    Effect,
    Observe,
    Raised,
    Returned,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.gathering import (
    DEADLINE_TIMER,
    GIVE_UP_TIMER,
    HEDGE_TIMER,
    RESEND_TIMER,
    RESULT,
    WORK,
    Gathering,
)

AGENTS = ("a", "b", "c", "d", "e")
TASKS = {"a": 1, "b": 2, "c": 3}


def listed(results: Any) -> Any:
    return list(results.values())


def machine(agent: str = "a", pattern: ParallelMerge | None = None, **inputs: Any) -> Gathering:
    given = {"tasks": TASKS, "work": listed, "merge": "crdt", **inputs}
    made = (pattern or ParallelMerge()).machine(agent, AGENTS, given)
    assert isinstance(made, Gathering)
    return made


def of(kind: type, effects: Iterable[Effect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def facts(effects: Iterable[Effect], name: str) -> list[Any]:
    return [dict(effect.data) for effect in of(Observe, effects) if effect.fact == name]


def result(number: int, part: str, value: Any) -> dict[str, Any]:
    return {"round": number, "part": part, "value": [value]}


def question(number: int, part: str, task: Any = 1) -> dict[str, Any]:
    return {"round": number, "part": part, "task": task}


# -- the worker's side -------------------------------------------------------------------------------------------------


def test_a_worker_does_a_part_once_and_answers_as_often_as_it_is_asked() -> None:
    worker = machine("b")
    assert list(worker.on_start({})) == []
    first = list(worker.on_message("a", WORK, question(1, "b", 2)))
    assert of(Call, first) == [Call("work 1 b", "work", (2,))]
    assert of(SetTimer, first)[0].name == GIVE_UP_TIMER
    assert list(worker.on_message("a", WORK, question(1, "b", 2))) == []
    answered = list(worker.on_command(RETURNED, Returned("work 1 b", 20)))
    assert of(Send, answered) == [Send("a", RESULT, result(1, "b", 20))]
    assert of(Send, worker.on_message("a", WORK, question(1, "b", 2))) == of(Send, answered)


def test_a_worker_that_hears_of_a_later_round_drops_the_earlier_one() -> None:
    worker = machine("b")
    worker.on_message("a", WORK, question(1, "b"))
    later = list(worker.on_message("a", WORK, question(2, "b")))
    assert of(CancelCall, later) == [CancelCall("work 1 b")]
    assert of(Call, later) == [Call("work 2 b", "work", (1,))]
    assert list(worker.on_message("a", WORK, question(1, "b"))) == []


def test_a_worker_gives_up_by_itself_when_time_is_up() -> None:
    worker = machine("b")
    worker.on_message("a", WORK, question(1, "b"))
    assert of(CancelCall, worker.on_timer(GIVE_UP_TIMER)) == [CancelCall("work 1 b")]
    assert of(Call, worker.on_message("a", WORK, question(1, "b")))  # asked again, it begins again


def test_a_worker_obeys_the_coordinator_alone() -> None:
    worker = machine("b")
    assert list(worker.on_message("c", WORK, question(1, "b"))) == []
    assert list(worker.on_message("stranger", WORK, question(1, "b"))) == []
    assert list(worker.on_message("a", RESULT, result(1, "b", 1))) == []
    with pytest.raises(ConvergenceUsageError, match="unknown message of a parallel merge 'wrok'"):
        worker.on_message("a", "wrok", {})


def test_what_work_raises_goes_up_unless_it_is_to_be_flagged() -> None:
    error = LookupError("gone")
    worker = machine("b")
    worker.on_message("a", WORK, question(1, "b"))
    with pytest.raises(LookupError, match="gone"):
        worker.on_command(RAISED, Raised("work 1 b", error))
    flagging = machine("b", ParallelMerge(errors="flag"))
    flagging.on_message("a", WORK, question(1, "b"))
    effects = list(flagging.on_command(RAISED, Raised("work 1 b", error)))
    assert of(Send, effects)[0].payload == {"round": 1, "part": "b", "error": "LookupError: gone"}
    assert facts(effects, "part_failed")


# -- the coordinator's side --------------------------------------------------------------------------------------------


def started(pattern: ParallelMerge | None = None, **inputs: Any) -> tuple[Gathering, list[Effect]]:
    coordinator = machine("a", pattern, **inputs)
    return coordinator, list(coordinator.on_start({}))


def test_a_coordinator_asks_every_owner_and_does_its_own_part() -> None:
    _, effects = started()
    assert [(send.to, send.payload["part"]) for send in of(Send, effects)] == [("b", "b"), ("c", "c")]
    assert of(Call, effects) == [Call("work 1 a", "work", (1,))]
    [begun] = facts(effects, "round")
    assert begun["parts"] == ["a", "b", "c"]
    assert begun["deadline"] == 300


def test_late_and_foreign_answers_count_for_nothing() -> None:
    coordinator, _ = started()
    for payload in (result(0, "b", 1), result(2, "b", 1), result(1, "z", 1)):
        assert list(coordinator.on_message("b", RESULT, payload)) == []
    assert facts(coordinator.on_message("b", RESULT, result(1, "b", 5)), "part_counted")
    assert list(coordinator.on_message("b", RESULT, result(1, "b", 6))) == []
    coordinator.on_timer(DEADLINE_TIMER)
    assert list(coordinator.on_message("c", RESULT, result(1, "c", 1))) == []
    assert coordinator.view() == Merged(5, (), ("a", "c"), {})


@pytest.mark.parametrize("merge", ["crdt", "three-way", listed])
def test_the_result_is_the_same_in_whatever_order_the_parts_come_in(merge: Any) -> None:
    parts = {"b": {"x": {1}, "y": 1}, "c": {"x": {2}, "y": 2}, "d": {"x": {3}}}
    base: dict[str, Any] = {"base": {"x": set()}} if merge == "three-way" else {}
    results = []
    for order in permutations(parts):
        coordinator, _ = started(tasks=dict.fromkeys(parts, 0), merge=merge, **base)
        effects: list[Effect] = []
        for part in order:
            effects = list(coordinator.on_message(part, RESULT, result(1, part, parts[part])))
        for call in of(Call, effects):
            coordinator.on_command(RETURNED, Returned(call.id, listed(*call.arguments)))
        results.append(coordinator.view())
    assert all(each == results[0] for each in results)


def test_the_deadline_makes_a_partial_result_even_if_nothing_came_in() -> None:
    coordinator, _ = started()
    effects = list(coordinator.on_timer(DEADLINE_TIMER))
    assert of(CancelCall, effects) == [CancelCall("work 1 a")]
    assert coordinator.view() == Merged(None, (), ("a", "b", "c"), {})
    assert of(Decide, effects)


def test_questions_are_repeated_at_growing_intervals_to_those_who_have_not_answered() -> None:
    coordinator, _ = started()
    coordinator.on_message("b", RESULT, result(1, "b", 1))
    delays = []
    for _ in range(5):
        effects = list(coordinator.on_timer(RESEND_TIMER))
        assert [send.to for send in of(Send, effects)] == ["c"]
        delays.append(of(SetTimer, effects)[0].delay_ns // 250_000_000)
    assert delays == [2, 4, 8, 8, 8]


def test_a_hedge_asks_whoever_has_the_least_to_do() -> None:
    coordinator, _ = started(ParallelMerge(hedge_seconds=1), tasks={"a": 1, "b": 2, "d": 4})
    effects = list(coordinator.on_timer(HEDGE_TIMER))
    asked = [(each["part"], each["to"]) for each in facts(effects, "part_asked")]
    assert asked == [("a", "c"), ("b", "e"), ("d", "e")]
    assert not of(SetTimer, effects), "one hedge for each part, unless more are allowed"
    assert facts(coordinator.on_message("c", RESULT, result(1, "a", 9)), "part_counted")[0]["by"] == "c"


def test_hedges_are_repeated_as_often_as_is_allowed() -> None:
    coordinator, _ = started(ParallelMerge(hedge_seconds=1, hedges=2), tasks={"b": 2})
    assert of(SetTimer, coordinator.on_timer(HEDGE_TIMER))
    assert not of(SetTimer, coordinator.on_timer(HEDGE_TIMER))
    assert list(coordinator.on_timer(HEDGE_TIMER)) == []


def failure(part: str) -> dict[str, Any]:
    return {"round": 1, "part": part, "error": "no"}


def test_a_part_has_failed_when_all_who_were_asked_have_failed() -> None:
    pattern = ParallelMerge(hedge_seconds=1, errors="flag")
    coordinator, _ = started(pattern, tasks={"b": 2})
    helped = list(coordinator.on_message("b", RESULT, failure("b")))
    assert [each["to"] for each in facts(helped, "part_asked")] == ["c"]
    assert list(coordinator.on_message("b", RESULT, failure("b"))) == []  # a copy: c is still asked
    coordinator.on_message("c", RESULT, failure("b"))
    assert coordinator.view() == Merged(None, (), (), {"b": "no"})


def test_without_hedges_one_failure_is_enough() -> None:
    coordinator, _ = started(ParallelMerge(errors="flag"), tasks={"b": 2, "c": 3})
    coordinator.on_message("b", RESULT, failure("b"))
    coordinator.on_message("c", RESULT, result(1, "c", 3))
    assert coordinator.view() == Merged(3, (), (), {"b": "no"})


def test_a_merge_that_returns_none_is_an_error() -> None:
    coordinator, _ = started(merge=listed, tasks={"b": 2})
    effects = list(coordinator.on_message("b", RESULT, result(1, "b", 5)))
    assert of(Call, effects) == [Call("merge 1", "merge", ({"b": 5},))]
    with pytest.raises(ConvergenceUsageError, match="merge returned None in round 1"):
        coordinator.on_command(RETURNED, Returned("merge 1", None))
    with pytest.raises(LookupError):
        coordinator.on_command(RAISED, Raised("merge 1", LookupError()))


def test_a_patch_that_does_not_apply_is_an_error_or_a_failed_part() -> None:
    bad, good = [{"op": "remove", "path": "/z"}], [{"op": "add", "path": "/y", "value": 2}]
    given: dict[str, Any] = {"tasks": {"b": 1, "c": 1}, "merge": "three-way", "base": {"x": 1}}
    strict, _ = started(ParallelMerge(results="json-patch"), **given)
    strict.on_message("b", RESULT, result(1, "b", bad))
    with pytest.raises(ConvergenceUsageError, match="cannot be carried out"):
        strict.on_message("c", RESULT, result(1, "c", good))
    flagging, _ = started(ParallelMerge(results="json-patch", errors="flag"), **given)
    flagging.on_message("b", RESULT, result(1, "b", bad))
    flagging.on_message("c", RESULT, result(1, "c", good))
    assert flagging.view().value == {"x": 1, "y": 2}
    assert list(flagging.view().failed) == ["b"]


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (ParallelMerge(coordinator="aa"), "unknown coordinator 'aa'"),
        (ParallelMerge(deadline_seconds=0), "deadline_seconds must be greater than zero"),
        (ParallelMerge(resend_seconds=-1), "resend_seconds"),
        (ParallelMerge(hedge_seconds=0), "hedge_seconds must be greater than zero"),
        (ParallelMerge(hedges=-1), "hedges must be a whole number"),
        (ParallelMerge(hedges=True), "hedges must be a whole number"),
        (ParallelMerge(errors="rise"), "did you mean 'raise'"),
        (ParallelMerge(results="json-pach"), "did you mean 'json-patch'"),
    ],
)
def test_options_out_of_range_are_refused(pattern: ParallelMerge, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        pattern.validate(AGENTS)


def test_a_parallel_merge_needs_agents() -> None:
    with pytest.raises(ConvergenceUsageError, match="at least one agent"):
        ParallelMerge().validate(())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taks": {}}, "did you mean 'tasks'"),
        ({"tasks": None}, r"needs run\(tasks="),
        ({"tasks": {}}, r"needs run\(tasks="),
        ({"tasks": []}, r"needs run\(tasks="),
        ({"tasks": {"z": 1}}, "unknown agent in tasks 'z'"),
        ({"work": 1}, "work must be a function"),
        ({"merge": 1}, "merge must be a function"),
        ({"merge": "crtd"}, "did you mean 'crdt'"),
        ({"merge": "three-way"}, "need base="),
        ({"base": {}}, "base= belongs to"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(changes: Any, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        ParallelMerge().check_inputs(AGENTS, {"tasks": TASKS, "work": len, "merge": listed, **changes})


def test_a_result_is_agreed_when_all_hold_it() -> None:
    pattern = ParallelMerge()
    assert pattern.output({"a": [1], "b": [1]}) == [1]
    assert pattern.output({"a": [1], "b": [2]}) is None
    assert pattern.output({"a": [1], "b": None}) is None
    assert pattern.output({}) is None
    assert pattern.valid(0, AGENTS, {})
    assert not pattern.valid(None, AGENTS, {})
    assert pattern.leader([1]) is None
