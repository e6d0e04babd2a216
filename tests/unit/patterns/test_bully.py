"""The bully algorithm, event by event."""

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.base.effects import Observe, Send, SetTimer
from pytest_convergence._engine.patterns.bully import TRANSITIONS, BullyElection, BullyTiming, Event, Role
from pytest_convergence._engine.patterns.raft import LeaderView
from pytest_convergence.errors import InternalError
from tests.unit.patterns.driver import MS

TIMING = BullyTiming(100 * MS, 500 * MS)
THREE = ("a", "b", "c")


def started(agent: str) -> BullyElection:
    machine = BullyElection(agent, THREE, TIMING)
    machine.on_start({})
    return machine


def sent(effects) -> list[tuple[str, str]]:
    return [(effect.to, effect.kind) for effect in effects if isinstance(effect, Send)]


def test_the_strongest_agent_leads_without_asking():
    machine = BullyElection("a", THREE, TIMING)
    assert sent(machine.on_start({})) == [("b", "coordinator"), ("c", "coordinator")]
    assert machine.view() == LeaderView("a", 0)


def test_a_weaker_agent_asks_the_stronger_ones_and_waits():
    machine = BullyElection("c", THREE, TIMING)
    effects = list(machine.on_start({}))
    assert sent(effects) == [("a", "leader_election"), ("b", "leader_election")]
    assert SetTimer("answer", 500 * MS) in effects
    assert machine.view() == LeaderView(None, 0)


def test_who_gets_no_answer_leads():
    machine = started("b")
    assert sent(machine.on_timer("answer")) == [("a", "coordinator"), ("c", "coordinator")]
    assert machine.role is Role.LEADING


def test_who_is_answered_waits_for_the_coordinator_and_asks_again_if_none_appears():
    machine = started("b")
    machine.on_message("a", "answer", {})
    assert machine.role is Role.WAITING
    assert list(machine.on_message("a", "answer", {})) == []
    assert sent(machine.on_timer("takeover")) == [("a", "leader_election")]


def test_a_follower_that_is_asked_answers_and_holds_an_election_of_its_own():
    machine = started("b")
    machine.on_message("a", "coordinator", {})
    assert sent(machine.on_message("c", "leader_election", {})) == [("c", "answer"), ("a", "leader_election")]


def test_an_agent_that_is_electing_only_answers():
    assert sent(started("b").on_message("c", "leader_election", {})) == [("c", "answer")]


def test_a_leader_that_is_asked_says_that_it_leads():
    assert sent(started("a").on_message("b", "leader_election", {})) == [
        ("b", "answer"),
        ("b", "coordinator"),
    ]


def test_a_question_of_a_stronger_agent_needs_no_answer():
    assert list(started("b").on_message("a", "leader_election", {})) == []


def test_a_follower_that_misses_its_leader_holds_an_election():
    machine = started("c")
    first = list(machine.on_message("b", "coordinator", {}))
    assert Observe("follow", {"leader": "b"}) in first
    assert list(machine.on_message("b", "heartbeat", {})) == [SetTimer("detect", 500 * MS, background=True)]
    assert sent(machine.on_timer("detect")) == [("a", "leader_election"), ("b", "leader_election")]


def test_a_leader_sends_heartbeats():
    machine = started("a")
    effects = list(machine.on_timer("heartbeat"))
    assert sent(effects) == [("b", "heartbeat"), ("c", "heartbeat")]
    assert SetTimer("heartbeat", 100 * MS, background=True) in effects


def test_a_weaker_leader_is_bullied_out_of_office():
    strong, weak = started("a"), started("b")
    weak.on_timer("answer")
    assert sent(strong.on_message("b", "heartbeat", {})) == [("b", "coordinator")]
    assert strong.elections == 1, "it would win another one anyway"
    effects = list(weak.on_message("a", "coordinator", {}))
    assert weak.view() == LeaderView("a", 0)
    assert Observe("step_down", {"reason": "stronger leader heard"}) in effects


def timeouts(effects) -> list[int]:
    timers = [effect for effect in effects if isinstance(effect, SetTimer)]
    return [timer.delay_ns for timer in timers if timer.name != "success"]


def test_a_leader_that_was_given_up_too_early_gets_twice_the_time():
    machine = started("b")
    for patience in range(10):
        machine.on_message("a", "coordinator", {})
        heard = list(machine.on_message("a", "heartbeat", {}))
        assert timeouts(heard) == [(500 * MS) << min(patience, 8)], "256 times, and no more"
        assert timeouts(machine.on_timer("detect")) == [(500 * MS) << min(patience, 8)]


def test_who_led_because_nobody_stronger_answered_waits_longer_next_time():
    machine = started("b")
    machine.on_timer("answer")
    machine.on_message("a", "answer", {})
    machine.on_message("a", "coordinator", {})
    assert timeouts(machine.on_timer("detect")) == [1000 * MS]


def test_after_a_leader_that_lasted_the_next_one_gets_less_time():
    machine = started("c")
    machine.on_message("b", "coordinator", {})
    machine.on_timer("detect")
    effects = list(machine.on_message("b", "heartbeat", {}))
    assert SetTimer("success", 4 * 1000 * MS, background=True) in effects
    assert list(machine.on_timer("success")) == []
    assert timeouts(machine.on_message("b", "heartbeat", {})) == [1000 * MS], "this one keeps what it has"
    assert timeouts(machine.on_message("a", "coordinator", {})) == [500 * MS]


def test_an_agent_that_is_electing_already_ignores_a_weaker_leader():
    assert list(started("b").on_message("c", "heartbeat", {})) == []


def test_strangers_are_ignored_and_unknown_messages_refused():
    machine = started("b")
    assert list(machine.on_message("x", "leader_election", {})) == []
    with pytest.raises(ConvergenceUsageError, match="did you mean 'coordinator'"):
        machine.on_message("a", "coordinater", {})


def test_an_agent_can_be_told_to_hold_an_election_and_nothing_else():
    machine = started("b")
    assert sent(machine.on_command("campaign", None)) == [("a", "leader_election")]
    with pytest.raises(ConvergenceUsageError, match="unknown bully command 'resign'"):
        machine.on_command("resign", None)


def test_what_the_table_does_not_list_is_a_fault_of_the_package():
    machine = started("b")
    machine.on_message("a", "coordinator", {})
    with pytest.raises(InternalError, match="following cannot take"):
        machine._move(Event.UNANSWERED)
    assert set(TRANSITIONS) == set(Role)
