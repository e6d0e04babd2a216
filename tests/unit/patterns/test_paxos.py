"""Single-decree Paxos, event by event and under noise."""

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.base.effects import Decide, Observe, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.paxos import TRANSITIONS, Event, Paxos, PaxosRules, Phase
from pytest_convergence.errors import InternalError
from tests.unit.patterns.driver import LEADER_TARGET, MS, PROFILES, SECOND, Noise, World

THREE = ("a", "b", "c")
RULES = PaxosRules(quorum=2, max_rounds=None, resend_ns=250 * MS)
NONE = (0, "")


def started(agent="b", rules=RULES) -> Paxos:
    machine = Paxos(agent, THREE, agent.upper(), rules)
    machine.on_start({})
    return machine


def proposing(rules=RULES) -> Paxos:
    machine = started(rules=rules)
    machine.on_timer("turn")
    return machine


def sends(effects) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


def promise(ballot, accepted=NONE, value=None):
    return {"ballot": ballot, "accepted": accepted, "value": value}


def test_an_agent_waits_for_its_turn_by_a_randomised_time_alone():
    (proposal, turn) = Paxos("b", THREE, "B", RULES).on_start({})
    assert proposal == Observe("propose", {"value": "B"})
    assert turn == SetTimer("turn", 0, 1000 * MS)


def test_a_proposer_promises_its_own_ballot_durably_before_it_asks():
    machine = started()
    effects = list(machine.on_timer("turn"))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Sync) < kinds.index(Send)
    assert [(send.to, send.kind, send.payload) for send in sends(effects)] == [
        ("a", "prepare", {"ballot": (1, "b")}),
        ("c", "prepare", {"ballot": (1, "b")}),
    ]


def test_with_the_promises_of_a_quorum_its_own_value_is_asked_for_if_nothing_was_accepted():
    effects = list(proposing().on_message("c", "promise", promise((1, "b"))))
    assert [(send.to, send.payload["value"]) for send in sends(effects)] == [("a", "B"), ("c", "B")]


def test_the_value_of_the_highest_accepted_proposal_takes_precedence():
    machine = proposing(PaxosRules(3, None, 250 * MS))
    machine.highest = 9
    machine.on_timer("turn")
    machine.on_message("a", "promise", promise((10, "b"), (4, "a"), "old"))
    effects = list(machine.on_message("c", "promise", promise((10, "b"), (7, "c"), "newer")))
    assert {send.payload["value"] for send in sends(effects)} == {"newer"}


def test_a_promise_of_another_ballot_does_not_count():
    machine = proposing()
    assert list(machine.on_message("c", "promise", promise((5, "b")))) == []
    assert machine.phase is Phase.PREPARING


def test_a_value_is_decided_when_a_quorum_accepted_it():
    machine = proposing()
    machine.on_message("c", "promise", promise((1, "b")))
    assert list(machine.on_message("c", "accepted", {"ballot": (9, "b")})) == []
    effects = list(machine.on_message("c", "accepted", {"ballot": (1, "b")}))
    assert Decide("B") in effects
    assert machine.view() == "B"


def test_an_acceptor_promises_and_accepts_durably_before_it_answers():
    machine = started()
    effects = list(machine.on_message("a", "prepare", {"ballot": (1, "a")}))
    assert sends(effects) == [Send("a", "promise", promise((1, "a")))]
    assert [type(effect) for effect in effects[:2]] == [Persist, Sync]
    effects = list(machine.on_message("a", "accept", {"ballot": (1, "a"), "value": "A"}))
    assert sends(effects) == [Send("a", "accepted", {"ballot": (1, "a")})]
    assert [type(effect) for effect in effects[:2]] == [Persist, Sync]


def test_repeated_requests_are_answered_again_without_writing():
    machine = started()
    for kind in ("prepare", "accept"):
        request = {"ballot": (1, "a"), "value": "A"}
        machine.on_message("a", kind, request)
        again = list(machine.on_message("a", kind, request))
        assert len(again) == len(sends(again)) == 1


@pytest.mark.parametrize("kind", ["prepare", "accept"])
def test_what_is_below_the_promise_is_refused(kind):
    machine = started()
    machine.on_message("c", "prepare", {"ballot": (3, "c")})
    effects = list(machine.on_message("a", kind, {"ballot": (3, "a"), "value": "A"}))
    assert effects == [Send("a", "refused", {"ballot": (3, "a"), "promised": (3, "c")})]


def test_a_refused_proposer_waits_and_tries_a_higher_ballot():
    machine = proposing()
    effects = list(machine.on_message("a", "refused", {"ballot": (1, "b"), "promised": (6, "c")}))
    assert machine.phase is Phase.WAITING
    assert effects[-1] == SetTimer("turn", 1000 * MS, 2000 * MS)
    assert {send.payload["ballot"] for send in sends(machine.on_timer("turn"))} == {(7, "b")}


def test_a_refusal_of_an_earlier_ballot_teaches_only_the_counter():
    machine = proposing()
    assert list(machine.on_message("a", "refused", {"ballot": (0, "b"), "promised": (6, "c")})) == []
    assert (machine.phase, machine.highest) == (Phase.PREPARING, 6)


def test_unanswered_requests_are_repeated_in_both_phases():
    machine = proposing()
    assert [send.to for send in sends(machine.on_timer("resend"))] == ["a", "c"]
    machine.on_message("c", "promise", promise((1, "b")))
    assert [send.kind for send in sends(machine.on_timer("resend"))] == ["accept", "accept"]


def test_a_restarted_agent_never_uses_a_ballot_twice_and_keeps_its_word():
    first = started()
    disk = {effect.key: effect.value for effect in first.on_timer("turn") if isinstance(effect, Persist)}
    second = Paxos("b", THREE, "B", RULES)
    effects = list(second.on_start(disk))
    assert Observe("promise", {"name": "ballot", "at_least": (1, "b")}) in effects
    assert {send.payload["ballot"] for send in sends(second.on_timer("turn"))} == {(2, "b")}


def test_a_restarted_agent_remembers_its_decision():
    first = started()
    effects = first.on_message("a", "decided", {"value": "A", "ask": False})
    disk = {effect.key: effect.value for effect in effects if isinstance(effect, Persist)}
    second = Paxos("b", THREE, "B", RULES)
    assert Decide("A") in list(second.on_start(disk))


def test_who_has_decided_answers_requests_with_the_decision_and_ignores_the_rest():
    machine = started()
    machine.on_message("a", "decided", {"value": "A", "ask": True})
    assert [send.kind for send in sends(machine.on_message("c", "prepare", {"ballot": (9, "c")}))] == [
        "decided"
    ]
    assert list(machine.on_message("c", "accepted", {"ballot": (1, "b")})) == []
    assert [send.to for send in sends(machine.on_timer("spread"))] == ["c"]
    again = list(machine.on_message("a", "decided", {"value": "A", "ask": True}))
    assert [send.kind for send in sends(again)] == ["decided"]


def test_after_its_last_ballot_an_agent_proposes_no_more():
    machine = proposing(PaxosRules(2, 1, 250 * MS))
    effects = list(machine.on_timer("turn"))
    assert effects[-1] == Observe("undecided", {"round": 1})


def test_an_agent_that_hears_nothing_stops_keeping_the_world_awake():
    machine = started()
    turns = [next(e for e in machine.on_timer("turn") if isinstance(e, SetTimer)) for _ in range(9)]
    assert [turn.background for turn in turns] == [False] * 7 + [True] * 2


def test_strangers_are_ignored_and_unknown_messages_and_commands_refused():
    machine = started()
    assert list(machine.on_message("x", "prepare", {"ballot": (9, "x")})) == []
    with pytest.raises(ConvergenceUsageError, match="did you mean 'prepare'"):
        machine.on_message("a", "prepar", {})
    with pytest.raises(ConvergenceUsageError, match="unknown Paxos command"):
        machine.on_command("propose", "B")


def test_what_the_table_does_not_list_is_a_fault_of_the_package():
    with pytest.raises(InternalError, match="waiting cannot take"):
        started()._move(Event.PROMISED)
    assert set(TRANSITIONS) == set(Phase)


# -- whole runs --------------------------------------------------------------------------------------------------------

PATTERN = Consensus(algorithm="paxos")


def world(values="ABCDE", pattern=PATTERN, seed=None, noise=Noise(until=0)):  # noqa: B008 - immutable
    proposals = dict(zip("abcde", values, strict=False))
    agents = tuple(proposals)
    inputs = {"proposals": proposals}
    return World(agents, lambda name: pattern.machine(name, agents, inputs), seed=seed, noise=noise)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_in_calm_the_first_agent_gets_its_proposal_through(size):
    running = world("ABCDE"[:size])
    running.run()
    assert set(running.views().values()) == {"A"}
    assert len(running.facts("round")) == 1


@pytest.mark.parametrize("latency_ms", [20, 50, 100])
def test_over_slow_links_the_calm_backoff_ends_the_race_of_proposers(latency_ms):
    running = world(noise=Noise((latency_ms * MS, latency_ms * MS), until=0))
    assert running.run(until=20 * SECOND, when=lambda: PATTERN.output(running.views()) is not None)


def test_a_minority_decides_nothing():
    running = world()
    running.partition(["a", "b"])
    running.run(until=10 * SECOND)
    views = running.views()
    assert views["a"] is views["b"] is None
    assert views["c"] == views["d"] == views["e"] == "C"


@pytest.mark.parametrize("noise", [*PROFILES, LEADER_TARGET], ids=["uniform", "fast", "tail", "leader"])
@pytest.mark.parametrize("quorum", [None, 4])
def test_under_noise_nobody_decides_differently_and_in_the_end_all_decide(noise, quorum):
    pattern = Consensus(algorithm="paxos", quorum=quorum)
    for seed in range(25):
        running = world("ABCDE", pattern, seed, noise)
        running.run(until=noise.until)
        assert running.settle(60 * SECOND, lambda: pattern.output(running.views()) is not None), seed  # noqa: B023
        assert len({data["value"] for _, data in running.facts("decide")}) == 1, seed
        assert not running.facts("unsynced_send")
