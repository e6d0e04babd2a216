"""Consensus by voting rounds, event by event and under noise."""

from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.base.effects import Decide, Observe, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.voting import Voting, VotingRules
from tests.unit.patterns.driver import MS, PROFILES, SECOND, Noise, World

THREE = ("a", "b", "c")
FIVE = ("a", "b", "c", "d", "e")
RULES = VotingRules(quorum=2, max_rounds=3, resend_ns=250 * MS)


def ballot(
    round_: int, vote: Any, confirm: list[Any] | None = None, *, free: bool = True, ask: bool = False
) -> Any:
    return {"round": round_, "vote": vote, "confirm": confirm, "free": free, "ask": ask}


def started(proposal="A", rules=RULES, agents=THREE) -> Voting:
    machine = Voting("a", agents, proposal, rules)
    machine.on_start({})
    return machine


def sent(effects) -> list[tuple[str, str]]:
    return [(effect.to, effect.kind) for effect in effects if isinstance(effect, Send)]


def written(effects) -> dict[str, Any]:
    return {effect.key: effect.value for effect in effects if isinstance(effect, Persist)}


def facts(effects) -> list[str]:
    return [effect.fact for effect in effects if isinstance(effect, Observe)]


# -- one agent ---------------------------------------------------------------------------------------------------------


def test_an_agent_proposes_and_votes_durably_before_it_tells():
    effects = list(Voting("a", THREE, "A", RULES).on_start({}))
    assert facts(effects) == ["propose", "round", "vote"]
    assert sent(effects) == [("b", "vote"), ("c", "vote")]
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Sync) < kinds.index(Send)


def test_a_value_with_a_quorum_of_votes_is_confirmed_and_decided_when_a_quorum_confirmed_it():
    machine = started()
    effects = list(machine.on_message("b", "vote", ballot(1, "A")))
    assert sent(effects) == [("b", "confirm"), ("c", "confirm")]
    assert machine.view() is None
    effects = list(machine.on_message("b", "confirm", ballot(1, "A", ["A"])))
    assert Decide("A") in effects
    assert sent(effects) == [("b", "decided"), ("c", "decided")]
    assert machine.view() == "A"


def test_votes_without_a_possible_quorum_confirm_nothing():
    machine = started()
    machine.on_message("b", "vote", ballot(1, "B"))
    effects = list(machine.on_message("c", "vote", ballot(1, "C")))
    assert Observe("confirm", {"round": 1, "value": None}) in effects


def test_a_repeated_or_changed_vote_of_a_round_does_not_count():
    machine = started(rules=VotingRules(3, 3, 250 * MS), agents=FIVE)
    for vote in ("A", "A", "B"):
        machine.on_message("b", "vote", ballot(1, vote))
    assert machine.votes == {"a": "A", "b": "A"}


def test_a_ballot_is_repeated_to_those_whose_part_is_missing():
    machine = started()
    machine.on_message("b", "vote", ballot(1, "B"))
    effects = list(machine.on_timer("round"))
    assert sent(effects) == [("c", "vote")]
    assert [effect.payload["ask"] for effect in effects if isinstance(effect, Send)] == [True]


def test_who_is_asked_answers_with_its_ballot():
    assert sent(started().on_message("b", "vote", ballot(1, "B", ask=True))) == [("b", "vote")]
    assert sent(started().on_message("b", "vote", ballot(1, "B"))) == []


def test_patience_ends_with_the_votes_of_a_quorum_but_not_with_fewer():
    machine = started(agents=FIVE, rules=VotingRules(3, 3, 250 * MS))
    for _ in range(5):
        machine.on_timer("round")
    assert "a" not in machine.confirms
    machine.on_message("b", "vote", ballot(1, "B"))
    machine.on_message("c", "vote", ballot(1, "B"))
    effects = list(machine.on_timer("round"))
    assert Observe("confirm", {"round": 1, "value": None}) in effects


def after_a_split(rules=RULES, proposal="A") -> Voting:
    """An agent that is about to leave round 1 of three different votes: one confirmation is missing."""
    machine = started(proposal, rules)
    machine.on_message("b", "vote", ballot(1, "B"))
    machine.on_message("c", "vote", ballot(1, "C"))
    machine.on_message("b", "confirm", ballot(1, "B", []))
    return machine


def test_a_round_that_decides_nothing_is_followed_by_another_with_the_same_votes():
    machine = after_a_split()
    effects = list(machine.on_message("c", "confirm", ballot(1, "C", [])))
    assert (machine.round, machine.vote, machine.free) == (2, "A", True)
    assert sent(effects) == [("b", "vote"), ("c", "vote")]


def test_a_confirmed_value_is_adopted_even_by_those_that_never_revise():
    machine = after_a_split()
    machine.on_message("c", "confirm", ballot(1, "C", ["C"]))
    assert (machine.round, machine.vote, machine.free) == (2, "C", False)


def test_who_saw_no_dissent_is_not_free_to_revise():
    rules = VotingRules(4, 3, 250 * MS, revise=lambda agent, own, tally: "Z")
    machine = started(rules=rules, agents=FIVE)
    for other in ("b", "c", "d"):
        machine.votes[other] = "A"  # a quorum, but patience ended before they came
    machine.confirms = {"a": (), "b": (), "c": ()}
    machine._leave()
    assert (machine.round, machine.vote, machine.free) == (2, "A", False)


def test_a_free_agent_revises_and_a_new_value_is_a_proposal():
    rules = RULES._replace(revise=lambda agent, own, tally: "compromise")
    machine = after_a_split(rules)
    effects = list(machine.on_message("c", "confirm", ballot(1, "C", [])))
    assert machine.vote == "compromise"
    assert Observe("propose", {"value": "compromise"}) in effects


def test_after_the_last_round_the_agent_is_undecided_and_quiet_but_still_answers():
    machine = after_a_split(RULES._replace(max_rounds=1))
    effects = list(machine.on_message("c", "confirm", ballot(1, "C", [])))
    assert facts(effects) == ["undecided"]
    assert not any(isinstance(effect, SetTimer) for effect in effects)
    assert machine.view() is None
    assert sent(machine.on_message("b", "confirm", ballot(1, "B", [], ask=True))) == [("b", "confirm")]
    effects = list(machine.on_message("b", "decided", {"value": "B", "ask": True}))
    assert Decide("B") in effects


def test_an_agent_behind_is_shown_the_present_ballot():
    machine = after_a_split()
    machine.on_message("c", "confirm", ballot(1, "C", []))
    assert sent(machine.on_message("b", "vote", ballot(1, "B"))) == [("b", "vote")]


@pytest.mark.parametrize(
    ("free", "revise", "expected"), [(True, "plurality", "A"), (False, "plurality", "B"), (False, None, "A")]
)
def test_who_joins_a_later_round_keeps_its_value_only_where_that_is_safe(free, revise, expected):
    machine = started(rules=RULES._replace(revise=revise))
    effects = list(machine.on_message("b", "vote", ballot(2, "B", free=free)))
    assert (machine.round, machine.vote) == (2, expected)
    assert ("b", "vote") in sent(effects)


def test_a_restarted_agent_goes_on_with_the_ballot_that_it_cast():
    first = Voting("a", THREE, "A", RULES)
    disk = written(first.on_start({}))
    disk.update(written(first.on_message("b", "vote", ballot(1, "A"))))
    second = Voting("a", THREE, "something else", RULES)
    effects = list(second.on_start(disk))
    assert (second.round, second.vote, second.confirms) == (1, "A", {"a": ("A",)})
    assert facts(effects) == ["vote", "confirm"]
    assert all(effect.payload["ask"] for effect in effects if isinstance(effect, Send))


def test_a_restarted_agent_remembers_its_decision():
    first = started()
    disk = written(first.on_message("b", "decided", {"value": "B", "ask": False}))
    second = Voting("a", THREE, "A", RULES)
    effects = list(second.on_start(disk))
    assert Decide("B") in effects
    assert second.view() == "B"


def test_a_decision_is_told_until_everybody_is_known_to_know_it():
    machine = started()
    machine.on_message("b", "decided", {"value": "B", "ask": False})
    effects = list(machine.on_timer("spread"))
    assert sent(effects) == [("c", "decided")]
    assert all(effect.background for effect in effects if isinstance(effect, SetTimer))
    assert sent(machine.on_message("c", "decided", {"value": "B", "ask": True})) == [("c", "decided")]
    assert list(machine.on_timer("spread")) == []


def test_who_has_decided_answers_a_ballot_with_the_decision():
    machine = started()
    machine.on_message("b", "decided", {"value": "B", "ask": False})
    assert sent(machine.on_message("c", "vote", ballot(1, "C"))) == [("c", "decided")]


def test_an_agent_that_hears_nothing_stops_keeping_the_world_awake_until_it_hears_something():
    machine = started()
    timers = [
        effect for _ in range(25) for effect in machine.on_timer("round") if isinstance(effect, SetTimer)
    ]
    assert [timer.background for timer in timers] == [False] * 19 + [True] * 6
    assert timers[-1].delay_ns == 8 * 250 * MS
    woken = list(machine.on_message("b", "vote", ballot(1, "B")))
    assert woken[-1] == SetTimer("round", 250 * MS)


def test_strangers_are_ignored_and_unknown_messages_and_commands_refused():
    machine = started()
    assert list(machine.on_message("x", "vote", ballot(1, "A"))) == []
    with pytest.raises(ConvergenceUsageError, match="did you mean 'confirm'"):
        machine.on_message("b", "comfirm", {})
    with pytest.raises(ConvergenceUsageError, match="unknown voting command"):
        machine.on_command("propose", "B")


# -- whole votings -----------------------------------------------------------------------------------------------------


def world(proposals, pattern=Consensus(), seed=None, noise=Noise(until=0)):  # noqa: B008 - immutable
    agents = tuple(proposals)
    inputs = {"proposals": proposals}
    return World(agents, lambda name: pattern.machine(name, agents, inputs), seed=seed, noise=noise)


def proposals(*values):
    return dict(zip("abcdefg", values, strict=False))


@pytest.mark.parametrize(
    ("pattern", "values", "expected"),
    [
        (Consensus(), "AAB", "A"),
        (Consensus(), "A", "A"),
        (Consensus(), "ABC", None),
        (Consensus(), "AABB", None),
        (Consensus(revise="plurality"), "AABC", "A"),
        (Consensus(revise="plurality"), "AABBC", None),
        (Consensus(revise="plurality", tie="highest"), "AABBC", "B"),
        (Consensus(tie="lowest"), "AB", "A"),
        (Consensus(tie="first-agent"), "BA", "B"),
        (Consensus(tie="lowest"), "AABC", None),
        (Consensus(tie=lambda tied: sorted(tied)[-1]), "AB", "B"),
        (Consensus(revise=lambda agent, own, tally: "Z"), "ABC", "Z"),
        (Consensus(quorum=1.0), "AAB", None),
        (Consensus(quorum=1.0, revise="plurality"), "AAB", "A"),
        (Consensus(quorum=2 / 3), "AAB", "A"),
        (Consensus(quorum=4), "AAAB", None),
    ],
)
def test_in_calm_the_rules_decide_and_the_world_comes_to_rest(pattern, values, expected):
    running = world(proposals(*values), pattern)
    running.run()
    assert set(running.views().values()) == {expected}
    assert pattern.output(running.views()) == expected
    assert running.now < 5 * SECOND


def test_a_split_vote_ends_after_max_rounds():
    running = world(proposals("A", "B", "C"), Consensus(max_rounds=4))
    running.run()
    assert {data["round"] for _, data in running.facts("undecided")} == {4}


def test_a_minority_of_crashed_agents_does_not_block_a_revision():
    running = world(proposals("A", "A", "B", "B", "C"), Consensus(revise="plurality", tie="lowest"))
    running.run(until=0)  # everybody has cast its first vote
    running.crash("e")
    running.run()
    assert set(running.views().values()) == {"A"}


def test_a_minority_side_decides_nothing_and_learns_the_decision_when_the_partition_heals():
    running = world(proposals("A", "A", "A", "B", "B"), Consensus(revise="plurality"))
    running.partition(["d", "e"])
    running.run(until=20 * SECOND)
    assert running.views() == {"a": "A", "b": "A", "c": "A", "d": None, "e": None}
    running.heal()
    running.run(until=25 * SECOND)
    assert set(running.views().values()) == {"A"}


def test_an_agent_alone_in_the_world_does_not_keep_it_awake():
    running = world(proposals("A", "A", "A"))
    running.run(until=0)
    running.crash("b")
    running.crash("c")
    running.run()
    assert running.live() == ("a",)
    assert running.now < 20 * SECOND


COMPROMISE = Consensus(
    revise=lambda agent, own, tally: own + tally.leading[0][0] if len(own) < 3 else tally.leading[-1]
)


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
@pytest.mark.parametrize(
    ("pattern", "live"),
    [
        (Consensus(), False),
        (Consensus(revise="plurality", tie="lowest"), True),
        (Consensus(tie="highest"), False),
        (Consensus(quorum=0.8, revise="plurality", tie="lowest"), True),
        (Consensus(quorum=1.0, revise="plurality", tie="first-agent"), True),
        (COMPROMISE, False),
    ],
    ids=["fixed", "plurality", "tie", "four-fifths", "all", "compromise"],
)
def test_under_noise_nobody_decides_differently(noise, pattern, live):
    for seed in range(20):
        running = world(proposals("A", "A", "B", "B", "C"), pattern, seed, noise)
        running.run(until=noise.until)
        decided = running.settle(30 * SECOND, lambda: pattern.output(running.views()) is not None)  # noqa: B023
        values = {data["value"] for _, data in running.facts("decide")}
        assert len(values) <= 1, (seed, values)
        assert decided or not live, seed
        assert not running.facts("unsynced_send")


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
def test_a_majority_of_equal_proposals_is_decided_whatever_happens(noise):
    for seed in range(25):
        running = world(proposals("A", "A", "B"), Consensus(), seed, noise)
        running.run(until=noise.until)
        assert running.settle(30 * SECOND, lambda: set(running.views().values()) == {"A"}), seed  # noqa: B023
