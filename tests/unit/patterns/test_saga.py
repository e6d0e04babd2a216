"""Sagas, step by step, and the scope of restarts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_convergence._engine.base.effects import Call, CancelCall, Observe, Send
from pytest_convergence._engine.patterns.saga import SagaRules, SagaRun
from pytest_convergence._engine.patterns.saga_steps import Steps
from pytest_convergence._engine.patterns.supervision import scope_of

RULES = SagaRules((("x", "a"), ("y", "b"), ("z", "c")), 1, True, 3)


def run(*answers: object) -> SagaRun:
    """Give a saga these answers: a reason in words for a failure, ``None`` for silence, anything else for success."""
    saga = SagaRun("1")
    for answer in answers:
        if answer is None:
            saga.time_is_up(RULES)
        elif isinstance(answer, str):
            saga.did_fail(RULES, answer)
        else:
            saga.succeeded(RULES, answer)
    return saga


def test_all_steps_in_order() -> None:
    assert run(1, 2).at == 2
    assert run(1, 2, 3).result(RULES) == {"saga": "done", "results": {"x": 1, "y": 2, "z": 3}}


def test_what_fails_is_not_undone_and_what_came_before_is() -> None:
    assert run("no").how == "undone"
    back = run(1, "no")
    assert (back.backward, back.at, back.how) == (True, 0, "")
    assert run(1, "no", 0).result(RULES) == {"saga": "undone", "failed": "y", "reason": "no"}


def test_behind_the_pivot_it_goes_only_forward() -> None:
    again = run(1, 2, "no")
    assert (again.backward, again.at, again.attempt) == (False, 2, 2)
    assert run(1, 2, "no", "no", 3).how == "done"
    assert run(1, 2, "no", "no", "no").result(RULES) == {"saga": "stuck", "failed": "z", "reason": "no"}


def test_an_undo_is_tried_as_often() -> None:
    assert run(1, "no", "busy", "busy").how == ""
    assert run(1, "no", "busy", "busy", "busy").how == "stuck"
    assert run(1, "no", "busy", 0).how == "undone"


def test_silence_before_the_pivot_undoes_the_doubtful_step_as_well() -> None:
    back = run(None)
    assert (back.backward, back.at, back.failed) == (True, 0, "x")
    assert SagaRun("1", at=1).time_is_up(RULES) is False
    assert SagaRun("1", at=0, backward=True).time_is_up(RULES) is False


# -- whoever carries out the steps -----------------------------------------------------------------------------------


def steps(**functions: object) -> Steps:
    return Steps(functions, list, lambda to, kind, payload: [Send(to, kind, payload)])


def ask(what: str = "do", attempt: int = 1, serial: int = 1) -> dict[str, object]:
    return {
        "saga": str(serial),
        "serial": serial,
        "topic": "t",
        "number": 0,
        "step": "x",
        "what": what,
        "attempt": attempt,
        "payload": 5,
    }


def sent(effects: Sequence[object]) -> list[tuple[str, bool]]:
    return [(effect.kind, effect.payload["ok"]) for effect in effects if isinstance(effect, Send)]


def facts(effects: Sequence[object]) -> list[str]:
    return [effect.fact for effect in effects if isinstance(effect, Observe)]


def test_a_step_that_is_asked_for_again_is_answered_from_memory() -> None:
    mine = steps()
    assert [effect for effect in mine.asked("a", ask()) if isinstance(effect, Call)]
    assert sent(mine.asked("a", ask())) == [("busy", True)]
    done = mine.returned("do 1/0", 6)
    assert facts(done) == ["step_done"]
    assert sent(done) == [("stepped", True)]
    assert sent(mine.asked("a", ask())) == [("stepped", True)]


def test_a_step_that_failed_is_tried_again_only_by_a_later_attempt() -> None:
    mine = steps()
    mine.asked("a", ask())
    assert facts(mine.raised("do 1/0", ValueError("no"))) == ["step_failed"]
    assert sent(mine.asked("a", ask())) == [("stepped", False)]
    assert facts(mine.asked("a", ask(attempt=2))) == ["step_begin"]


def test_a_step_that_is_undone_before_it_is_done_is_void() -> None:
    mine = steps()
    assert sent(mine.asked("a", ask("undo"))) == [("stepped", True)]
    assert mine.asked("a", ask()) == []
    busy = steps()
    busy.asked("a", ask())
    assert CancelCall("do 1/0") in busy.asked("a", ask("undo"))
    assert sent(busy.asked("a", ask("undo"))) == [("stepped", True)]
    assert not busy.is_mine("do 1/0")


def test_an_undo_that_raises_is_tried_again_by_a_later_attempt() -> None:
    mine = steps(**{"undo t/0": None})
    mine.asked("a", ask())
    mine.returned("do 1/0", 6)
    assert facts(mine.asked("a", ask("undo"))) == ["step_begin"]
    assert sent(mine.raised("undo 1/0", ValueError("no"))) == [("stepped", False)]
    assert sent(mine.asked("a", ask("undo"))) == [("stepped", False)]
    mine.asked("a", ask("undo", 2))
    assert facts(mine.returned("undo 1/0", None)) == ["step_undone"]
    assert mine.asked("a", ask()) == []


def test_a_step_without_an_undo_is_undone_at_once() -> None:
    mine = steps()
    mine.asked("a", ask())
    mine.returned("do 1/0", 6)
    assert facts(mine.asked("a", ask("undo"))) == ["step_undone"]


def test_what_is_remembered_of_sagas_is_that_of_the_present_one_of_each_conductor() -> None:
    mine = steps()
    for serial in range(1, 1000):
        for conductor in ("a", "b"):
            mine.asked(conductor, ask(serial=serial))
            mine.returned(f"do {serial}/0", 6)
        assert [list(each["steps"]) for each in mine.saved().values()] == [[f"{serial}/0"]] * 2


def test_what_comes_late_of_a_saga_that_is_over_is_not_done_again_even_after_a_restart() -> None:
    mine = steps()
    mine.asked("a", ask())
    mine.returned("do 1/0", 6)
    before = mine.saved()
    mine.asked("a", ask(serial=2))
    mine.returned("do 2/0", 7)
    assert mine.asked("a", ask()) == []
    assert mine.asked("a", ask("undo")) == []
    again = steps()
    again.load(mine.saved())
    assert again.asked("a", ask()) == []
    assert sent(again.asked("a", ask(serial=2))) == [("stepped", True)]
    early = steps()
    early.load(before)
    assert sent(early.asked("a", ask())) == [("stepped", True)], (
        "of the present one it is answered from memory"
    )


# -- supervision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "failed", "scope"),
    [
        ("one_for_one", [2], (2,)),
        ("one_for_one", [3, 1], (1, 3)),
        ("one_for_all", [2], (0, 1, 2, 3)),
        ("rest_for_one", [2], (2, 3)),
        ("rest_for_one", [3, 1], (1, 2, 3)),
    ],
)
def test_the_scope_of_a_restart(strategy: str, failed: list[int], scope: tuple[int, ...]) -> None:
    assert scope_of(strategy, failed, 4) == scope
