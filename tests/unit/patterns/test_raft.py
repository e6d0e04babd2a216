"""Raft's election, event by event: the tables of the paper, and what each section asks."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.base.effects import (
    CancelTimer,
    Effect,
    Observe,
    Persist,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.patterns.raft import (
    TRANSITIONS,
    Event,
    LeaderView,
    RaftElection,
    RaftTiming,
    Role,
)
from pytest_convergence.errors import InternalError
from tests.unit.patterns.driver import MS

TIMING = RaftTiming(100 * MS, 500 * MS, 1000 * MS)
THREE = ("a", "b", "c")


def election(agents=THREE, agent="a", *, durable=None, pre_vote=False) -> RaftElection:
    machine = RaftElection(agent, agents, TIMING, pre_vote=pre_vote)
    machine.on_start(durable or {})
    return machine


def saved(term: int, voted_for: str | None) -> dict[str, Any]:
    return {"raft.0": [1, {"term": term, "voted_for": voted_for}, "end"]}


def sends(effects: Iterable[Effect], kind: str) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send) and effect.kind == kind]


def facts(effects: Iterable[Effect]) -> list[str]:
    return [effect.fact for effect in effects if isinstance(effect, Observe)]


def timers(effects: Iterable[Effect]) -> dict[str, SetTimer]:
    return {effect.name: effect for effect in effects if isinstance(effect, SetTimer)}


def role(machine: RaftElection) -> Role:
    return machine.role


def leader(agents=THREE) -> RaftElection:
    machine = election(agents)
    machine.on_timer("election")
    for other in machine.others:
        machine.on_message(other, "vote_response", {"term": 1, "granted": True})
    assert role(machine) is Role.LEADER
    return machine


def test_one_round_of_an_election_goes_as_the_papers_table_says(vectors: Path):
    cases = json.loads((vectors / "raft" / "paper_tables.json").read_text())["election_one_round"]["cases"]
    for case in cases:
        machine = election([str(number) for number in range(1, case["size"] + 1)], "1")
        machine.on_timer("election")
        for voter, granted in case["votes"].items():
            machine.on_message(voter, "vote_response", {"term": 1, "granted": granted})
        assert machine.role == case["state"], case
        assert machine.term == 1


def test_a_vote_is_granted_once_per_term_as_the_papers_table_says(vectors: Path):
    cases = json.loads((vectors / "raft" / "paper_tables.json").read_text())["vote_once_per_term"]["cases"]
    for case in cases:
        voted_for = None if case["voted_for"] is None else str(case["voted_for"])
        machine = election(("1", "2", "3"), "1", durable=saved(1, voted_for))
        candidate = str(case["candidate"])
        (answer,) = sends(machine.on_message(candidate, "vote_request", {"term": 1}), "vote_response")
        assert answer == Send(candidate, "vote_response", {"term": 1, "granted": not case["reject"]})


def test_an_agent_begins_as_a_follower_and_waits_for_a_randomised_election_timeout():
    effects = list(RaftElection("a", THREE, TIMING).on_start({}))
    assert timers(effects) == {"election": SetTimer("election", 500 * MS, 500 * MS)}
    assert facts(effects) == ["term"]


def test_an_agent_remembers_term_and_vote_of_its_earlier_lives():
    machine = RaftElection("a", THREE, TIMING)
    effects = list(machine.on_start(saved(4, "b")))
    assert (machine.term, machine.voted_for) == (4, "b")
    assert Observe("term", {"term": 4}) in effects
    assert Observe("vote", {"term": 4, "candidate": "b"}) in effects


def test_term_and_vote_are_durable_before_anybody_is_told():
    machine = election()
    effects = list(machine.on_timer("election"))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Sync) < kinds.index(Send)
    effects = list(machine.on_message("b", "vote_request", {"term": 2}))
    assert isinstance(effects[-1], Send)
    last_write = max(place for place, effect in enumerate(effects) if isinstance(effect, Persist))
    assert isinstance(effects[last_write + 1], Sync)


def test_a_candidate_asks_again_those_who_have_not_answered():
    machine = election()
    first = list(machine.on_timer("election"))
    assert [send.to for send in sends(first, "vote_request")] == ["b", "c"]
    assert "resend" in timers(first)
    machine.on_message("b", "vote_response", {"term": 1, "granted": False})
    assert [send.to for send in sends(machine.on_timer("resend"), "vote_request")] == ["c"]


def test_repeated_answers_of_one_voter_count_once():
    machine = election(("a", "b", "c", "d", "e"))
    machine.on_timer("election")
    for _ in range(5):
        machine.on_message("b", "vote_response", {"term": 1, "granted": True})
    assert role(machine) is Role.CANDIDATE


def test_a_vote_of_an_older_term_does_not_count():
    machine = election()
    machine.on_timer("election")
    machine.on_timer("election")
    assert machine.term == 2
    machine.on_message("b", "vote_response", {"term": 1, "granted": True})
    assert role(machine) is Role.CANDIDATE


def test_answers_of_agents_that_are_not_configured_are_ignored():
    machine = election()
    machine.on_timer("election")
    assert machine.on_message("x", "vote_response", {"term": 9, "granted": True}) == ()
    assert role(machine) is Role.CANDIDATE


def test_a_candidate_whose_election_is_lost_tries_again_at_its_next_timeout():
    machine = election()
    machine.on_timer("election")
    for voter in ("b", "c"):
        machine.on_message(voter, "vote_response", {"term": 1, "granted": False})
    assert role(machine) is Role.FOLLOWER
    machine.on_timer("election")
    assert (machine.role, machine.term) == (Role.CANDIDATE, 2)


def test_a_new_leader_says_so_at_once_and_keeps_saying_it():
    machine = election()
    machine.on_timer("election")
    effects = list(machine.on_message("b", "vote_response", {"term": 1, "granted": True}))
    assert [send.to for send in sends(effects, "heartbeat")] == ["b", "c"]
    assert timers(effects)["heartbeat"] == SetTimer("heartbeat", 100 * MS, background=True)
    assert CancelTimer("election") in effects
    assert "leader" in facts(effects)
    assert machine.view() == LeaderView("a", 1)
    assert [send.to for send in sends(machine.on_timer("heartbeat"), "heartbeat")] == ["b", "c"]


def test_an_agent_alone_leads_without_asking():
    machine = RaftElection("a", ("a",), TIMING)
    machine.on_start({})
    effects = list(machine.on_timer("election"))
    assert machine.view() == LeaderView("a", 1)
    assert not any(isinstance(effect, Send) for effect in effects)
    assert "heartbeat" not in timers(effects)


def test_a_follower_answers_each_heartbeat_and_renews_its_lease():
    machine = election()
    first = list(machine.on_message("b", "heartbeat", {"term": 1}))
    assert "follow" in facts(first)
    assert machine.view() == LeaderView("b", 1)
    for _ in range(2):
        effects = list(machine.on_message("b", "heartbeat", {"term": 1}))
        assert effects == [
            SetTimer("lease", 500 * MS, background=True),
            Send("b", "heartbeat_response", {"term": 1}),
        ]


def test_a_follower_that_hears_nothing_waits_the_randomised_rest_and_stands():
    machine = election()
    machine.on_message("b", "heartbeat", {"term": 1})
    assert machine.on_timer("lease") == [SetTimer("election", 0, 500 * MS)]
    machine.on_timer("election")
    assert machine.view() == LeaderView(None, 2)


def test_a_heartbeat_after_the_lease_ran_out_renews_it():
    machine = election()
    machine.on_message("b", "heartbeat", {"term": 1})
    machine.on_timer("lease")
    effects = list(machine.on_message("b", "heartbeat", {"term": 1}))
    assert CancelTimer("election") in effects
    assert "lease" in timers(effects)
    assert "follow" not in facts(effects)


def test_a_leader_of_the_past_is_told_the_present_term():
    machine = election(durable=saved(5, None))
    assert machine.on_message("b", "heartbeat", {"term": 3}) == [Send("b", "heartbeat_response", {"term": 5})]


@pytest.mark.parametrize("kind", ["heartbeat_response", "vote_response", "vote_request", "heartbeat"])
def test_a_leader_steps_down_when_it_sees_a_higher_term(kind):
    machine = leader()
    effects = list(machine.on_message("b", kind, {"term": 7, "granted": False}))
    assert role(machine) is Role.FOLLOWER
    assert machine.term == 7
    assert CancelTimer("heartbeat") in effects
    assert "step_down" in facts(effects)


def test_a_leader_ignores_another_leader_of_its_term():
    machine = leader()
    assert machine.on_message("b", "heartbeat", {"term": 1}) == []
    assert role(machine) is Role.LEADER


def test_a_leader_that_hears_a_quorum_stays_and_one_that_does_not_steps_down():
    machine = leader(("a", "b", "c", "d", "e"))
    for other in ("b", "c"):
        machine.on_message(other, "heartbeat_response", {"term": 1})
    assert machine.on_timer("quorum") == [SetTimer("quorum", 500 * MS, background=True)]
    machine.on_message("b", "heartbeat_response", {"term": 1})
    effects = list(machine.on_timer("quorum"))
    assert machine.view() == LeaderView(None, 1)
    assert timers(effects)["election"].background is False


def test_an_answer_to_a_heartbeat_of_an_older_term_is_no_sign_of_life_in_this_one():
    machine = leader()
    machine.on_message("b", "heartbeat_response", {"term": 0})
    machine.on_timer("quorum")
    assert role(machine) is Role.FOLLOWER


def test_a_follower_that_knows_the_leader_grants_no_other_vote_in_the_term():
    machine = election()
    machine.on_message("b", "heartbeat", {"term": 3})
    (answer,) = sends(machine.on_message("c", "vote_request", {"term": 3}), "vote_response")
    assert answer.payload["granted"] is False


def test_a_granted_vote_restarts_the_election_timeout():
    machine = election()
    assert "election" in timers(machine.on_message("b", "vote_request", {"term": 1}))
    assert timers(machine.on_message("b", "vote_request", {"term": 1})) == {}


def test_pre_vote_asks_without_taking_the_term():
    machine = election(pre_vote=True)
    effects = list(machine.on_timer("election"))
    assert sends(effects, "pre_vote_request") == [
        Send("b", "pre_vote_request", {"term": 1}),
        Send("c", "pre_vote_request", {"term": 1}),
    ]
    assert machine.term == 0
    assert not any(isinstance(effect, Persist) for effect in effects)
    machine.on_message("b", "pre_vote_response", {"term": 0, "for_term": 1, "granted": True})
    assert (machine.role, machine.term) == (Role.CANDIDATE, 1)


def test_a_pre_vote_that_is_refused_by_a_quorum_costs_no_term():
    machine = election(pre_vote=True)
    machine.on_timer("election")
    for other in ("b", "c"):
        machine.on_message(other, "pre_vote_response", {"term": 0, "for_term": 1, "granted": False})
    assert (machine.role, machine.term) == (Role.FOLLOWER, 0)


def test_an_answer_to_an_earlier_pre_vote_does_not_count():
    machine = election(pre_vote=True)
    machine.on_timer("election")
    machine.on_message("b", "pre_vote_response", {"term": 0, "for_term": 4, "granted": True})
    assert role(machine) is Role.PRE_CANDIDATE


def test_a_refused_pre_vote_teaches_a_higher_term():
    machine = election(pre_vote=True)
    machine.on_timer("election")
    machine.on_message("b", "pre_vote_response", {"term": 6, "for_term": 1, "granted": False})
    assert (machine.role, machine.term) == (Role.FOLLOWER, 6)


def test_a_granted_pre_vote_of_an_agent_ahead_does_not_change_the_term():
    machine = election(pre_vote=True)
    machine.on_timer("election")
    machine.on_message("b", "pre_vote_response", {"term": 1, "for_term": 1, "granted": True})
    assert role(machine) is Role.CANDIDATE


def pre_vote_answer(machine: RaftElection, term: int, sender: str = "c") -> bool:
    effects = machine.on_message(sender, "pre_vote_request", {"term": term})
    (answer,) = sends(effects, "pre_vote_response")
    return bool(answer.payload["granted"])


def test_who_hears_a_leader_grants_no_pre_vote():
    machine = election()
    machine.on_message("b", "heartbeat", {"term": 1})
    assert pre_vote_answer(machine, 2) is False
    machine.on_timer("lease")
    assert pre_vote_answer(machine, 2) is True
    assert machine.term == 1


def test_a_leader_grants_no_pre_vote():
    assert pre_vote_answer(leader(), 2) is False


def test_a_pre_vote_for_the_present_term_needs_a_vote_that_is_free():
    assert pre_vote_answer(election(durable=saved(3, None)), 3) is True
    assert pre_vote_answer(election(durable=saved(3, "c")), 3) is True
    assert pre_vote_answer(election(durable=saved(3, "b")), 3) is False
    assert pre_vote_answer(election(durable=saved(3, None)), 2) is False


def test_a_pre_candidate_that_grants_its_vote_follows():
    machine = election(pre_vote=True)
    machine.on_timer("election")
    assert role(machine) is Role.PRE_CANDIDATE
    effects = list(machine.on_message("b", "vote_request", {"term": 0}))
    assert role(machine) is Role.FOLLOWER
    assert CancelTimer("resend") in effects


def test_a_leader_can_be_told_to_step_down_and_a_follower_to_stand():
    machine = leader()
    assert list(machine.on_command("campaign", None)) == []
    effects = list(machine.on_command("step_down", None))
    assert role(machine) is Role.FOLLOWER
    assert "election" in timers(effects)
    assert list(machine.on_command("step_down", None)) == []
    machine.on_command("campaign", None)
    assert role(machine) is Role.CANDIDATE


def test_elections_that_bring_no_leader_stretch_the_timeout_until_a_leader_is_heard():
    machine = election()
    stretched = [timers(machine.on_timer("election")) for _ in range(6)]
    assert [each["election"].delay_ns // (500 * MS) for each in stretched] == [1, 2, 4, 8, 8, 8]
    assert [each["resend"].delay_ns // (200 * MS) for each in stretched] == [1, 2, 4, 8, 8, 8]
    machine.on_message("b", "heartbeat", {"term": 9})
    machine.on_timer("lease")
    assert timers(machine.on_timer("election"))["election"] == SetTimer("election", 500 * MS, 500 * MS)


def wrong_about(term: int, machine: RaftElection) -> None:
    """The machine gives up the term, in which it follows b, and then hears of b once more."""
    machine.on_message("b", "heartbeat", {"term": term})
    machine.on_timer("lease")
    machine.on_timer("election")
    machine.on_message("b", "heartbeat", {"term": term})


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_follower_that_was_wrong_to_give_up_its_leader_doubles_all_its_timeouts(pre_vote):
    machine = election(pre_vote=pre_vote)
    for doublings, term in enumerate((3, 7, 11), start=1):
        wrong_about(term, machine)
        assert machine.patience == doublings
        machine.on_message("b", "heartbeat", {"term": term})  # once more teaches nothing more
        assert machine.patience == doublings
    armed = timers(machine.on_message("c", "heartbeat", {"term": 20}))
    assert armed["lease"].delay_ns == 8 * 500 * MS
    assert timers(machine.on_timer("lease"))["election"] == SetTimer("election", 0, 8 * 500 * MS)
    assert timers(machine.on_timer("election"))["election"] == SetTimer(
        "election", 8 * 500 * MS, 8 * 500 * MS
    )


def test_a_leader_that_was_wrong_to_give_up_its_quorum_doubles_all_its_timeouts():
    machine = election()
    machine.on_timer("election")
    machine.on_message("b", "vote_response", {"term": 1, "granted": True})
    machine.on_timer("quorum")
    assert (role(machine), machine.patience) == (Role.FOLLOWER, 0)
    machine.on_message("c", "heartbeat_response", {"term": 1})
    assert machine.patience == 1
    machine.on_timer("election")
    effects = machine.on_message("b", "vote_response", {"term": 2, "granted": True})
    assert timers(effects)["quorum"].delay_ns == 2 * 500 * MS


def test_a_leader_that_lasts_takes_one_doubling_back_for_the_next_term():
    machine = election(pre_vote=True)
    wrong_about(3, machine)
    wrong_about(5, machine)
    armed = timers(machine.on_message("b", "heartbeat", {"term": 6}))
    assert armed["success"] == SetTimer("success", 4 * 4 * 500 * MS, background=True)
    machine.on_timer("success")
    assert machine.patience == 2
    machine.on_message("c", "heartbeat", {"term": 7})
    assert machine.patience == 1
    assert CancelTimer("success") in machine.on_message("b", "heartbeat", {"term": 8})
    assert machine.patience == 1, "its leader has not lasted"


def test_who_was_cut_off_and_hears_of_a_new_term_learns_no_patience():
    machine = election()
    machine.on_message("b", "heartbeat", {"term": 3})
    machine.on_timer("lease")
    machine.on_timer("election")
    machine.on_message("c", "heartbeat", {"term": 9})
    assert machine.patience == 0


def test_whom_others_refuse_after_the_longest_backoff_learns_patience_once_for_each_election():
    machine = election()
    patience = []
    for _ in range(6):
        machine.on_timer("election")
        for other in ("b", "c"):
            machine.on_message(other, "vote_response", {"term": machine.term, "granted": False})
        patience.append(machine.patience)
    assert patience == [0, 0, 0, 1, 2, 3], "the backoff is 1, 1, 2, 4, 8 times"


def test_patience_has_a_bound():
    machine = election(pre_vote=True)
    for term in range(3, 40, 2):
        wrong_about(term, machine)
    assert machine.patience == 8
    machine.on_timer("election")
    machine.on_timer("election")
    assert timers(machine.on_timer("election"))["election"].delay_ns == 256 * 500 * MS


def test_an_unknown_command_or_message_names_the_nearest():
    with pytest.raises(ConvergenceUsageError, match="did you mean 'step_down'"):
        election().on_command("stepdown", None)
    with pytest.raises(ConvergenceUsageError, match="did you mean 'heartbeat'"):
        election().on_message("b", "hartbeat", {"term": 1})


def test_what_the_table_does_not_list_is_a_fault_of_the_package():
    with pytest.raises(InternalError, match="leader cannot take"):
        leader()._move(Event.ELECTION_WON)


def test_every_role_of_the_table_can_be_reached():
    reached = {role for row in TRANSITIONS.values() for role in row.values()}
    assert reached == set(Role) == set(TRANSITIONS)
