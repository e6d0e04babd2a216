"""A replicated log, step by step and in small worlds."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError, LeaderFollower
from pytest_convergence._engine.base.effects import Effect, Send, SetTimer
from pytest_convergence._engine.patterns.raft import Role
from pytest_convergence._engine.patterns.raft_progress import Lease, lease_ns
from pytest_convergence._engine.patterns.raft_replication import (
    Proposal,
    RaftReplica,
    ReplicaRules,
    ReplicaView,
)
from tests.unit.check.trials import TIMING
from tests.unit.patterns.driver import MS, SECOND, World

THREE = ("a", "b", "c")
RULES = ReplicaRules(TIMING)
LEASES = RULES._replace(lease=True)


def world(rules: ReplicaRules = RULES, agents: tuple[str, ...] = THREE) -> World:
    return World(agents, lambda agent: RaftReplica(agent, agents, rules), seed=0)


def replica(run: World, name: str) -> RaftReplica:
    machine = run.agents[name].machine
    assert isinstance(machine, RaftReplica)
    return machine


def leader_of(run: World) -> str:
    """Run until somebody leads and has committed an entry of its own."""

    def leaders() -> list[str]:
        return [
            name
            for name in run.live()
            if replica(run, name).role is Role.LEADER
            and replica(run, name).log.term_at(replica(run, name).commit) == replica(run, name).term
        ]

    assert run.run(when=lambda: bool(leaders()), until=run.now + 60 * SECOND)
    return leaders()[-1]


def propose(run: World, name: str, command: Any, id: str | None = None) -> None:
    run.command(name, "propose", Proposal(id or str(command), command))


def settled(run: World) -> dict[str, Any]:
    run.run(until=run.now + 2 * SECOND)
    return {name: view.state for name, view in run.views().items()}


# -- proposing ---------------------------------------------------------------------------------------------------------


def test_commands_of_all_agents_are_applied_by_all_in_one_order():
    run = world()
    for number, name in enumerate("abcab"):
        propose_at(run, name, number)
    states = settled(run)
    assert sorted(states["a"]) == [0, 1, 2, 3, 4]
    assert states["a"] == states["b"] == states["c"]


def propose_at(run: World, name: str, command: Any) -> None:
    run._at(MS, lambda: propose(run, name, command))


def test_a_command_that_is_proposed_twice_enters_the_log_once():
    run = world()
    leader = leader_of(run)
    for name in THREE:
        propose(run, name, "x", "the id")
    assert set(settled(run).values()) == {("x",)}
    propose(run, leader, "x", "the id")
    assert set(settled(run).values()) == {("x",)}
    answer = replica(run, leader).answer("the id")
    assert answer is not None
    assert answer[0].command == "x"


def test_a_proposal_survives_the_loss_of_the_leader_that_took_it():
    run = world()
    first = leader_of(run)
    other = next(name for name in THREE if name != first)
    propose(run, other, "x")
    run.run(when=lambda: replica(run, first).log.index_of("x") is not None)
    run.crash(first)
    run.run(when=lambda: replica(run, other).answer("x") is not None, until=60 * SECOND)
    assert replica(run, other).view().state == ("x",)


def test_a_leader_that_is_cut_off_commits_nothing_and_follows_when_it_is_back():
    run = world()
    old = leader_of(run)
    run.partition([old])
    propose(run, old, "lost?")
    run.run(until=run.now + 5 * SECOND)
    assert replica(run, old).view().state == ()
    new = next(name for name in THREE if replica(run, name).role is Role.LEADER)
    propose(run, new, "kept")
    run.run(until=run.now + SECOND)
    run.heal()
    states = settled(run)
    assert states == dict.fromkeys(THREE, ("kept", "lost?")), "the old leader goes on proposing"


def test_many_entries_travel_in_messages_of_bounded_size():
    run = world(RULES._replace(max_entries=2))
    leader = leader_of(run)
    behind = next(name for name in THREE if name != leader)
    run.partition([behind])
    for number in range(9):
        propose(run, leader, number)
    run.run(until=run.now + SECOND)
    run.heal()
    assert settled(run)[behind] == tuple(range(9))
    sizes = {
        len(event.message.payload["entries"])
        for event in run.trace
        if event.kind == "send" and event.message is not None and event.message.type == "append"
    }
    assert max(sizes) == 2


def test_commands_are_applied_by_the_users_function():
    run = world(RULES._replace(apply=lambda state, command: {**state, **command}, initial={"x": 0}))
    leader = leader_of(run)
    propose(run, leader, {"x": 1})
    propose(run, leader, {"y": 2}, "second")
    assert settled(run)["a"] == {"x": 1, "y": 2}


def test_none_is_no_command_and_unknown_commands_are_refused():
    run = world()
    leader = leader_of(run)
    with pytest.raises(ConvergenceUsageError, match="None cannot be proposed"):
        propose(run, leader, None, "id")
    with pytest.raises(ConvergenceUsageError, match="leader-follower command"):
        run.command(leader, "propse")


def test_a_restarted_agent_knows_its_log_and_learns_again_what_is_committed():
    run = world()
    leader = leader_of(run)
    propose(run, leader, "x")
    settled(run)
    other = next(name for name in THREE if name != leader)
    run.crash(other)
    run.start(other)
    assert replica(run, other).log.last_index == 2
    assert replica(run, other).view() == ReplicaView(None, 1, 0, ())
    assert settled(run)[other] == ("x",)


# -- reading -----------------------------------------------------------------------------------------------------------


def reads(run: World) -> list[tuple[str, int]]:
    return [(agent, detail["index"]) for agent, detail in run.facts("read")]


@pytest.mark.parametrize("rules", [RULES, LEASES], ids=["read-index", "lease"])
def test_any_agent_reads_what_is_committed(rules: ReplicaRules):
    run = world(rules)
    leader = leader_of(run)
    propose(run, leader, "x")
    run.run(when=lambda: replica(run, leader).applied == 2)
    for name in THREE:
        run.command(name, "read", f"by {name}")
    run.run(until=run.now + SECOND)
    assert sorted(reads(run)) == [("a", 2), ("b", 2), ("c", 2)]
    assert all(replica(run, name).answer(f"by {name}") == (("x",),) for name in THREE)


@pytest.mark.parametrize("rules", [RULES, LEASES], ids=["read-index", "lease"])
def test_a_leader_of_the_past_does_not_answer_reads(rules: ReplicaRules):
    run = world(rules)
    old = leader_of(run)
    run.partition([old])
    new = None
    while new is None:
        run.run(until=run.now + 100 * MS)
        new = next((name for name in THREE if name != old and replica(run, name).role is Role.LEADER), None)
    run.command(old, "read", "stale?")
    run.run(until=run.now + SECOND)
    assert reads(run) == []


def test_a_read_waits_for_the_first_commit_of_a_new_leader():
    run = world()
    run.run(when=lambda: any(detail for _, detail in run.facts("leader")))
    leader = run.facts("leader")[0][0]
    run.command(leader, "read", "early")
    assert replica(run, leader).early == {"early": leader}
    run.run(until=run.now + SECOND)
    assert reads(run) == [(leader, 1)]


def test_an_agent_alone_reads_and_writes_at_once():
    run = world(agents=("a",))
    run.command("a", "read", "first") if run.agents["a"].machine else None
    leader_of(run)
    propose(run, "a", "x")
    run.command("a", "read", "second")
    assert replica(run, "a").answer("second") == (("x",),)


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_lease_is_shortened_by_what_two_clocks_may_drift_apart():
    assert lease_ns(1_000_000, 0.0) == 1_000_000
    assert lease_ns(1_000_000, 0.05) == 904_761


def test_a_lease_lasts_from_the_sending_of_a_heartbeat_that_a_quorum_answered():
    lease = Lease("a", THREE, 450, 100)
    lease.begin()
    timers = [lease.turn()]
    assert not lease.is_held
    lease.answered("b", 1)
    assert lease.is_held
    timers.append(lease.turn())
    lease.ran_out(timers[0].name)
    assert not lease.is_held
    lease.answered("b", 2)
    assert lease.is_held
    assert len({lease.turn().name for _ in range(10)}) == 6, "hourglasses are used again"


def test_a_leader_holds_its_lease_and_loses_it_with_its_quorum():
    run = world(LEASES)
    leader = leader_of(run)
    run.run(until=run.now + 300 * MS)
    assert replica(run, leader).holds_lease
    run.partition([leader])
    run.run(until=run.now + 600 * MS)
    assert not replica(run, leader).holds_lease


def test_a_vow_stands_against_requests_for_a_vote_and_outlives_a_restart():
    run = world(LEASES._replace(pre_vote=False))
    leader = leader_of(run)
    run.run(until=run.now + 300 * MS)
    other = next(name for name in THREE if name != leader)
    request = {"term": 9, "last_term": 9, "last_index": 9}
    for machine in (replica(run, other), again(run, other)):
        assert list(machine.on_message(leader, "vote_request", request)) == []
        assert machine.term == 1
        list(machine.on_timer("vow"))
        assert list(machine.on_message(leader, "vote_request", request))
        assert machine.term == 9


def again(run: World, name: str) -> RaftReplica:
    run.crash(name)
    run.start(name)
    return replica(run, name)


def test_who_has_made_a_vow_does_not_stand_when_it_is_told_to():
    run = world(LEASES)
    leader = leader_of(run)
    run.run(until=run.now + 300 * MS)
    other = next(name for name in THREE if name != leader)
    run.command(other, "campaign")
    assert replica(run, other).role is Role.FOLLOWER


def test_a_leader_that_gave_up_on_a_quorum_whose_answers_come_after_all_gives_the_next_one_more_time():
    run = world()
    leader = leader_of(run)
    machine = replica(run, leader)
    answer = {"term": machine.term, "matches": True, "index": 1, "round": 1, "beat": 0}
    machine.heard.clear()
    list(machine.on_timer("quorum"))
    assert (machine.role, machine.patience) == (Role.FOLLOWER, 0)
    list(machine.on_message(next(name for name in THREE if name != leader), "append_response", answer))
    assert machine.patience == 1
    timer = machine._quorum_timer()
    assert isinstance(timer, SetTimer)
    assert timer.delay_ns == 2 * TIMING.election_min_ns


# -- what breaks the protocol is not obeyed ----------------------------------------------------------------------------


def answers(effects: Any) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, Send)]


def test_a_second_leader_of_the_same_term_is_not_followed():
    run = world()
    leader = leader_of(run)
    payload = {
        "term": 1, "prev_index": 0, "prev_term": 0, "entries": [], "commit": 0, "round": 1, "beat": 0,
    }  # fmt: skip
    other = next(name for name in THREE if name != leader)
    assert list(replica(run, leader).on_message(other, "append", payload)) == []
    assert answers(replica(run, other).on_message(leader, "append", {**payload, "term": 0}))


def test_late_answers_and_late_refusals_change_nothing():
    run = world()
    leader = leader_of(run)
    other = next(name for name in THREE if name != leader)
    machine = replica(run, leader)
    settled(run)
    before = dict(machine.next_index)
    late = {
        "term": 1,
        "round": 1,
        "beat": 0,
        "matches": False,
        "index": 0,
        "conflict_term": 0,
        "conflict_index": 1,
    }
    assert answers(machine.on_message(other, "append_response", late)) == []
    assert answers(machine.on_message(other, "append_response", {**late, "term": 0})) == []
    assert machine.next_index == before
    assert list(machine.on_message(other, "read_response", {"term": 1, "id": "?", "index": 1})) == []


# -- the pattern -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicate": True, "algorithm": "bully"}, "replicate=True needs algorithm='raft'"),
        ({"lease": True}, "lease= needs replicate=True"),
        ({"apply": max}, "apply= needs replicate=True"),
        ({"replicate": True, "apply": 3}, "apply must be a function"),
        ({"replicate": True, "max_clock_drift": 1.0}, "max_clock_drift must be"),
        ({"replicate": True, "max_clock_drift": "5%"}, "max_clock_drift must be"),
        ({"replicate": True, "lease": True, "max_clock_drift": 0.9}, "less than two heartbeats"),
        ({"replicate": True, "max_entries": 0}, "max_entries must be"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConvergenceUsageError, match=message):
        LeaderFollower(**options).validate(THREE)


def test_the_view_of_an_agent_of_the_users_is_read_from_its_facts():
    facts = [
        ("follow", {"leader": "a", "term": 2}),
        ("apply", {"index": 1, "value": None}),
        ("apply", {"index": 2, "value": 5}),
    ]
    assert LeaderFollower(replicate=True).observed("b", facts) == ReplicaView("a", 2, 2, (5,))
    total = LeaderFollower(replicate=True, apply=lambda state, more: state + more, initial=1)
    assert total.observed("b", facts) == ReplicaView("a", 2, 2, 6)
    assert LeaderFollower(replicate=True).observed("b", facts[1:]) is None
