"""One agent of a pipeline, event by event: what is durable before what is said, and what a crash leaves."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError, Pipeline, Stage, Unfinished
from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelCall,
    CancelTimer,
    Decide,
    Effect,
    Observe,
    Persist,
    Raised,
    Returned,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.patterns.pipeline_agent import PipelineAgent, Underway
from tests.unit.patterns.driver import MS, Noise, World

AGENTS = ("a", "b", "c")
STAGES = [
    Stage("cut", "b", str, accepts=int, timeout=2, max_attempts=2, credits=2),
    Stage("sew", "c", str, credits=2),
]
ITEMS = [10, 20, 30, 40, 50]
PLAIN = Pipeline()
SEWN = {agent: ["<10>", "<20>", "<30>", "<40>", "<50>"] for agent in AGENTS}


def machine(agent: str, pattern: Pipeline = PLAIN, stages=STAGES, items=ITEMS) -> PipelineAgent:
    made = pattern.machine(agent, AGENTS, {"stages": stages, "items": items})
    assert isinstance(made, PipelineAgent)
    return made


class Disk(dict[str, Any]):
    """Keeps what effects persist, and hands them on."""

    def keep(self, effects: Iterable[Effect]) -> list[Effect]:
        kept = list(effects)
        self.update({effect.key: effect.value for effect in kept if isinstance(effect, Persist)})
        return kept


def sent(effects: Iterable[Effect], kind: str | None = None) -> list[Any]:
    """(to, payload) of what was sent."""
    return [
        (effect.to, effect.payload)
        for effect in effects
        if isinstance(effect, Send) and kind in (None, effect.kind)
    ]


def facts(effects: Iterable[Effect]) -> list[tuple[str, Any]]:
    observed = [effect for effect in effects if isinstance(effect, Observe)]
    return [(effect.fact, effect.data["item"]) for effect in observed if "item" in effect.data]


def timers(effects: Iterable[Effect]) -> dict[str, int]:
    return {effect.name: effect.delay_ns for effect in effects if isinstance(effect, SetTimer)}


def item(id: int, value: Any = None, stage: int = 0) -> dict[str, Any]:
    return {"stage": stage, "parcel": (id, id, None, ITEMS[id] if value is None else value)}


def ack(source: int, id: int, **more: Any) -> dict[str, Any]:
    return {"source": source, "id": id, **more}


def at_work(disk: Disk | None = None) -> tuple[PipelineAgent, Disk]:
    """The agent of the first stage, with item 0 in its hands."""
    disk = Disk() if disk is None else disk
    cutter = machine("b")
    disk.keep(cutter.on_start(disk))
    disk.keep(cutter.on_message("a", "item", item(0)))
    return cutter, disk


# -- feeding -----------------------------------------------------------------------------------------------------------


def test_the_feeder_announces_every_item_and_sends_as_many_as_there_is_room_for():
    effects = list(machine("a").on_start({}))
    assert facts(effects) == [("feed", number) for number in range(5)]
    assert sent(effects, "item") == [("b", item(0)), ("b", item(1))]
    assert timers(effects) == {"resend -1 0": 250 * MS, "resend -1 1": 250 * MS}


def test_an_unanswered_item_is_sent_again_at_intervals_that_double_up_to_a_bound():
    feeder = machine("a")
    feeder.on_start({})
    intervals = []
    for _ in range(6):
        effects = list(feeder.on_timer("resend -1 0"))
        assert sent(effects) == [("b", item(0))]
        intervals.append(timers(effects)["resend -1 0"] // MS)
    assert intervals == [500, 1000, 2000, 2000, 2000, 2000]


def test_an_acknowledgement_is_written_down_and_makes_the_next_item_go():
    feeder, disk = machine("a"), Disk()
    feeder.on_start({})
    effects = disk.keep(feeder.on_message("b", "ack", ack(-1, 0, limit=3)))
    assert [type(effect) for effect in effects[:3]] == [Persist, Sync, CancelTimer]
    assert sent(effects) == [("b", item(2))]
    again = list(machine("a").on_start(disk))
    # Of the limit it knows nothing any more.
    assert [payload["parcel"][0] for _, payload in sent(again, "item")] == [1]


def test_a_second_acknowledgement_changes_nothing():
    feeder = machine("a")
    feeder.on_start({})
    feeder.on_message("b", "ack", ack(-1, 0, limit=2))
    effects = list(feeder.on_message("b", "ack", ack(-1, 0, limit=2)))
    assert sent(effects) == []
    assert not any(isinstance(effect, Persist) for effect in effects)


def test_a_feeder_that_is_held_up_with_nothing_under_way_asks_for_room():
    feeder = machine("a")
    feeder.on_start({})
    feeder.on_message("b", "ack", ack(-1, 0, limit=2))
    effects = list(feeder.on_message("b", "ack", ack(-1, 1, limit=2)))
    assert timers(effects) == {"probe -1": 250 * MS}
    effects = list(feeder.on_timer("probe -1"))
    assert sent(effects) == [("b", {"stage": 0})]
    assert timers(effects) == {"probe -1": 500 * MS}
    effects = list(feeder.on_message("b", "credit", {"source": -1, "limit": 4}))
    assert [payload["parcel"][0] for _, payload in sent(effects)] == [2, 3]
    # An old grant takes nothing back.
    assert list(feeder.on_message("b", "credit", {"source": -1, "limit": 3})) == []


def test_items_of_one_order_key_go_one_after_the_other():
    feeder = machine("a", Pipeline(order_by=lambda number: number % 20), items=[0, 20, 10, 30])
    assert [payload["parcel"][0] for _, payload in sent(feeder.on_start({}))] == [0, 2]
    effects = list(feeder.on_message("b", "ack", ack(-1, 2, limit=9)))
    assert [payload["parcel"][0] for _, payload in sent(effects)] == [3]


def test_items_with_equal_keys_are_fed_once():
    feeder = machine("a", Pipeline(key=lambda number: number % 20), items=[0, 20, 10])
    assert facts(feeder.on_start({})) == [("feed", 0), ("feed", 10)]


def test_without_items_the_work_is_done_at_once():
    feeder = machine("a", items=[])
    assert Decide([]) in list(feeder.on_start({}))
    assert feeder.view() == []


# -- a stage -----------------------------------------------------------------------------------------------------------


def test_a_stage_takes_an_item_and_works_on_it_without_acknowledging_it():
    effects = list(machine("b").on_message("a", "item", item(0)))
    assert facts(effects) == [("take", 0), ("attempt", 0)]
    assert Call("work 0 0", "work cut", (10,)) in effects
    assert timers(effects) == {"timeout 0 0": 2000 * MS}
    assert sent(effects) == []


def test_an_item_that_comes_again_while_it_is_worked_on_changes_nothing():
    cutter, _ = at_work()
    assert list(cutter.on_message("a", "item", item(0))) == []


def test_a_result_is_durable_before_anybody_hears_of_it():
    cutter, _ = at_work()
    effects = list(cutter.on_command(RETURNED, Returned("work 0 0", "ten")))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Sync) < kinds.index(Observe) < kinds.index(Send)
    assert facts(effects) == [("effect", 0), ("ack", 0)]
    assert sent(effects) == [
        ("a", {"source": -1, "id": 0, "limit": 2}),
        ("c", {"stage": 1, "parcel": (0, 0, None, "ten")}),
    ]


def test_a_done_item_that_comes_again_is_acknowledged_and_not_worked_on():
    cutter, disk = at_work()
    disk.keep(cutter.on_command(RETURNED, Returned("work 0 0", "ten")))
    disk.keep(cutter.on_message("c", "ack", ack(0, 0, limit=9)))
    for life in (cutter, machine("b")):
        if life is not cutter:
            life.on_start(disk)
        effects = list(life.on_message("a", "item", item(0)))
        assert sent(effects) == [("a", {"source": -1, "id": 0, "limit": 3})]
        assert facts(effects) == [("ack", 0)]


def test_at_least_once_means_that_an_item_that_has_left_is_worked_on_again():
    cutter = machine("b", Pipeline(mode="at-least-once"))
    cutter.on_message("a", "item", item(0))
    cutter.on_command(RETURNED, Returned("work 0 0", "ten"))
    assert facts(cutter.on_message("a", "item", item(0))) == [("ack", 0)]
    cutter.on_message("c", "ack", ack(0, 0, limit=9))
    assert facts(cutter.on_message("a", "item", item(0))) == [("take", 0), ("attempt", 0)]
    effects = list(cutter.on_command(RETURNED, Returned("work 0 0", "ten")))
    assert facts(effects) == [("effect", 0), ("ack", 0)]
    assert [to for to, _ in sent(effects)] == ["a"]  # the next stage has it


def test_what_is_worked_on_again_in_vain_makes_room_and_is_no_dead_letter():
    cutter = machine("b", Pipeline(mode="at-least-once"))
    cutter.on_message("a", "item", item(0))
    cutter.on_command(RETURNED, Returned("work 0 0", "ten"))
    cutter.on_message("c", "ack", ack(0, 0, limit=9))
    cutter.on_message("a", "item", item(0))
    cutter.on_command(RAISED, Raised("work 0 0", ValueError("no")))
    cutter.on_timer("retry 0 0")
    effects = list(cutter.on_command(RAISED, Raised("work 0 0", ValueError("no"))))
    assert facts(effects) == [("fail", 0), ("release", 0), ("ack", 0)]


def test_a_stage_without_room_refuses_and_the_sender_tries_again_later():
    cutter, _ = at_work()
    cutter.on_message("a", "item", item(1))
    effects = list(cutter.on_message("a", "item", item(2)))
    assert sent(effects) == [("a", {"source": -1, "limit": 2})]
    assert facts(effects) == []
    feeder = machine("a")
    feeder.on_start({})
    assert sent(feeder.on_message("b", "busy", {"source": -1, "limit": 2})) == []


def test_results_that_nobody_has_taken_fill_the_stage():
    cutter, _ = at_work()
    cutter.on_command(RETURNED, Returned("work 0 0", "ten"))
    cutter.on_message("a", "item", item(1))
    assert sent(cutter.on_message("a", "item", item(2)), "busy")
    effects = list(cutter.on_message("c", "ack", ack(0, 0, limit=3)))
    assert sent(effects, "credit") == [("a", {"source": -1, "limit": 3})]
    assert facts(cutter.on_message("a", "item", item(2))) == [("take", 2)]


def test_a_stage_answers_who_asks_for_room():
    assert sent(machine("b").on_message("a", "probe", {"stage": 0})) == [("a", {"source": -1, "limit": 2})]


def test_workers_share_a_stage():
    cutter = machine("b", stages=[Stage("cut", "b", str, workers=2), STAGES[1]])
    calls = []
    for number in range(3):
        effects = cutter.on_message("a", "item", item(number))
        calls += [effect.id for effect in effects if isinstance(effect, Call)]
    assert calls == ["work 0 0", "work 0 1"]
    effects = cutter.on_command(RETURNED, Returned("work 0 1", "ten"))
    assert [effect.id for effect in effects if isinstance(effect, Call)] == ["work 0 2"]


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_failure_is_written_down_and_retried_after_a_pause_that_doubles():
    cutter = machine("b", stages=[Stage("cut", "b", str), STAGES[1]])
    cutter.on_message("a", "item", item(0))
    pauses = []
    for number in range(4):
        effects = list(cutter.on_command(RAISED, Raised("work 0 0", ValueError("no"))))
        assert [type(effect) for effect in effects[:3]] == [Persist, Sync, Observe]
        assert effects[2].data == {  # type: ignore[union-attr]
            "item": 0,
            "stage": "cut",
            "number": number + 1,
            "of": 5,
            "error": "ValueError: no",
        }
        (timer,) = [effect for effect in effects if isinstance(effect, SetTimer)]
        pauses.append((timer.name, timer.delay_ns // MS, timer.spread_ns // MS))
        assert [effect.id for effect in cutter.on_timer("retry 0 0") if isinstance(effect, Call)] == [
            "work 0 0"
        ]
    assert pauses == [
        ("retry 0 0", 100, 50),
        ("retry 0 0", 200, 100),
        ("retry 0 0", 400, 200),
        ("retry 0 0", 800, 400),
    ]


def test_the_last_failure_makes_a_dead_letter_which_goes_to_the_collector():
    cutter, _ = at_work()
    cutter.on_command(RAISED, Raised("work 0 0", ValueError("no")))
    cutter.on_timer("retry 0 0")
    effects = list(cutter.on_command(RAISED, Raised("work 0 0", ValueError("never"))))
    assert facts(effects) == [("fail", 0), ("dead_letter", 0), ("ack", 0)]
    assert sent(effects, "item") == []
    assert sent(effects, "ended") == [
        ("a", {"source": 0, "id": 0, "key": 0, "outcome": ("dead", 10, "ValueError: never", 2, "cut")})
    ]


def test_attempts_are_counted_over_all_lives():
    cutter, disk = at_work()
    disk.keep(cutter.on_command(RAISED, Raised("work 0 0", ValueError("no"))))
    cutter, _ = at_work(disk)
    effects = disk.keep(cutter.on_command(RAISED, Raised("work 0 0", ValueError("no"))))
    assert ("dead_letter", 0) in facts(effects)


def test_a_crash_between_the_last_failure_and_the_dead_letter_needs_no_further_attempt():
    cutter, disk = at_work()
    for _ in range(2):
        effects = list(cutter.on_command(RAISED, Raised("work 0 0", ValueError("no"))))
        disk.keep(effects[:2])  # the failure, and not what follows
        cutter.on_timer("retry 0 0")
    again = machine("b")
    assert facts(again.on_start(disk)) == [("fail", 0)]  # it may not have been observed
    assert facts(again.on_message("a", "item", item(0))) == [("take", 0), ("dead_letter", 0), ("ack", 0)]


def test_an_attempt_that_takes_too_long_is_cancelled_and_counts_as_a_failure():
    cutter, _ = at_work()
    effects = list(cutter.on_timer("timeout 0 0"))
    assert effects[0] == CancelCall("work 0 0")
    (failure,) = [effect for effect in effects if isinstance(effect, Observe) and effect.fact == "fail"]
    assert failure.data["error"] == "TimeoutError: no result in 2 s"
    assert list(cutter.on_command(RETURNED, Returned("work 0 0", "late"))) == []
    assert list(cutter.on_command(RAISED, Raised("work 0 0", ValueError("late")))) == []
    assert list(cutter.on_timer("timeout 0 0")) == []


def test_a_retry_that_comes_too_late_changes_nothing():
    cutter, _ = at_work()
    assert list(cutter.on_timer("retry 0 0")) == []
    assert list(cutter.on_timer("retry 0 3")) == []


def test_a_result_that_is_not_valid_is_a_failure():
    cutter = machine("b", stages=[Stage("cut", "b", str, returns=str, max_attempts=1), STAGES[1]])
    cutter.on_message("a", "item", item(0))
    effects = list(cutter.on_command(RETURNED, Returned("work 0 0", 3)))
    assert facts(effects) == [("fail", 0), ("dead_letter", 0), ("ack", 0)]
    (outcome,) = [payload["outcome"] for _, payload in sent(effects, "ended")]
    assert outcome == ("dead", 10, "the result is not valid: 3 is no str", 1, "cut")


def test_an_item_that_is_not_accepted_is_rejected_without_an_attempt():
    effects = list(machine("b").on_message("a", "item", item(0, "ten")))
    assert facts(effects) == [("take", 0), ("reject", 0), ("ack", 0)]
    assert sent(effects, "ended")[0][1]["outcome"] == ("rejected", "ten", "'ten' is no int", 0, "cut")


# -- collecting, deciding ----------------------------------------------------------------------------------------------


def test_the_collector_acknowledges_an_outcome_when_it_is_durable_and_keeps_the_first():
    feeder, disk = machine("a"), Disk()
    feeder.on_start({})
    first = ("ok", "ten", "", 1, "sew")
    effects = disk.keep(feeder.on_message("c", "ended", {"source": 1, "id": 0, "key": 0, "outcome": first}))
    assert [type(effect) for effect in effects] == [Persist, Sync, Send]
    assert sent(effects) == [("c", {"source": 1, "id": 0})]
    again = machine("a")
    again.on_start(disk)
    other = {"source": 1, "id": 0, "key": 0, "outcome": ("dead", 10, "no", 5, "sew")}
    assert [type(effect) for effect in again.on_message("c", "ended", other)] == [Send]
    assert again.outcomes == {0: list(first)}


def test_with_every_outcome_the_collector_decides_and_everybody_stops():
    feeder, disk = machine("a"), Disk()
    disk.keep(feeder.on_start({}))
    effects: list[Effect] = []
    for id, value in enumerate(ITEMS):
        outcome = ("ok", str(value), "", 1, "sew")
        effects = disk.keep(
            feeder.on_message("c", "ended", {"source": 1, "id": id, "key": id, "outcome": outcome})
        )
    assert feeder.view() == ["10", "20", "30", "40", "50"]
    assert [to for to, _ in sent(effects, "decided")] == ["b", "c"]
    assert CancelTimer("resend -1 0") in effects

    cutter, _ = at_work()
    (told,) = {str(payload): payload for _, payload in sent(effects, "decided")}.values()
    effects = list(cutter.on_message("a", "decided", told))
    assert CancelCall("work 0 0") in effects
    assert cutter.view() == feeder.view()
    assert list(cutter.on_command(RETURNED, Returned("work 0 0", "ten"))) == []
    assert list(cutter.on_message("c", "ack", ack(0, 0))) == []

    again = machine("a")
    assert Decide(feeder.decision.value) in list(again.on_start(disk))
    assert [to for to, _ in sent(again.on_message("b", "item", item(0)), "decided")] == ["b"]
    assert [to for to, _ in sent(again.on_timer("spread"), "decided")] == ["b", "c"]
    assert list(again.on_message("b", "decided", {**told, "ask": False})) == []


def test_when_the_time_is_up_what_has_not_come_out_is_named_and_the_rest_kept():
    feeder = machine("a", Pipeline(deadline_seconds=30), items=[10, 20])
    assert timers(feeder.on_start({}))["deadline"] == 30_000 * MS
    outcome = {"source": 1, "id": 0, "key": 0, "outcome": ("ok", "ten", "", 1, "sew")}
    feeder.on_message("c", "ended", outcome)
    effects = list(feeder.on_timer("deadline"))
    assert facts(effects) == [("abandon", 1)]
    assert feeder.view() == ["ten", Unfinished(20, "has not come out within 30 s")]
    assert [to for to, _ in sent(effects, "decided")] == ["b", "c"]


def test_a_pipeline_under_way_shows_how_far_it_is():
    cutter, _ = at_work()
    assert cutter.view() == Underway(0, 1)
    cutter.on_command(RETURNED, Returned("work 0 0", "ten"))
    assert cutter.view() == Underway(0, 1)
    cutter.on_message("c", "ack", ack(0, 0, limit=3))
    assert cutter.view() == Underway(1, 0)
    assert list(cutter.on_timer("resend 0 0")) == []
    assert PLAIN.output({"b": cutter.view()}) is None


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_stages_on_one_agent_hand_over_without_a_message():
    everything = machine("a", stages=[Stage("cut", "a", str), Stage("sew", "a", str)], items=[10])
    effects = list(everything.on_start({}))
    effects += everything.on_command(RETURNED, Returned("work 0 0", "ten"))
    effects += everything.on_command(RETURNED, Returned("work 1 0", "TEN"))
    assert [fact for fact, _ in facts(effects) if fact != "feed"] == [
        "take",
        "attempt",
        "effect",
        "ack",
        "take",
        "attempt",
        "effect",
        "ack",
    ]
    assert [(to, payload["value"]) for to, payload in sent(effects)] == [
        ("b", everything.decision.value),
        ("c", everything.decision.value),
    ]
    assert everything.view() == ["TEN"]


def test_a_life_begins_by_sending_what_nobody_has_answered_for():
    cutter, disk = at_work()
    disk.keep(cutter.on_command(RETURNED, Returned("work 0 0", "ten")))
    effects = list(machine("b").on_start(disk))
    assert facts(effects) == [("effect", 0)]
    assert [effect.data["recalled"] for effect in effects if isinstance(effect, Observe)] == [True]
    assert sent(effects) == [("c", {"stage": 1, "parcel": (0, 0, None, "ten")})]


@pytest.mark.parametrize("door", ["message", "command"])
def test_what_no_pipeline_knows_is_refused(door):
    cutter = machine("b")
    with pytest.raises(ConvergenceUsageError, match=f"unknown pipeline {door} 'itme'"):
        cutter.on_message("a", "itme", {}) if door == "message" else cutter.on_command("itme", None)


def test_messages_of_agents_that_are_not_configured_are_ignored():
    assert list(machine("b").on_message("x", "item", item(0))) == []


def world(pattern: Pipeline, functions: Mapping[str, Any], **more: Any) -> World:
    return World(AGENTS, lambda agent: machine(agent, pattern), functions=functions, **more)


def test_in_a_calm_world_every_item_comes_out_once():
    functions = {"work cut": str, "work sew": lambda text: f"<{text}>"}
    calm = world(Pipeline(), functions)
    assert calm.run()
    assert calm.views() == SEWN
    assert len(calm.facts("effect")) == 10
    assert calm.foreground == 0


@pytest.mark.parametrize("victim", AGENTS)
def test_a_crash_at_any_step_loses_nothing(victim):
    functions = {"work cut": str, "work sew": lambda text: f"<{text}>"}
    for step in range(0, 60, 3):
        shaken = world(Pipeline(), functions, noise=Noise(until=0))
        for _ in range(step):
            shaken.step()
        shaken.crash(victim)
        shaken.start(victim)
        assert shaken.run(), step
        assert shaken.views() == SEWN
