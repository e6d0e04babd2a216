"""Two-phase commit, step by step and in small worlds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelCall,
    Effect,
    Persist,
    Raised,
    Returned,
    Send,
    Sync,
)
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.two_phase_commit import (
    TRANSITIONS,
    CommitRules,
    Stage,
    TwoPhaseCommit,
    read_vote,
)
from pytest_convergence.errors import InternalError
from tests.unit.patterns.driver import MS, SECOND, World

THREE = ("a", "b", "c")
RULES = CommitRules("a", 10 * SECOND, 250 * MS)


def world(votes: dict[str, bool | None] | None = None, rules: CommitRules = RULES) -> World:
    given = dict.fromkeys(THREE, True) | (votes or {})
    return World(THREE, lambda agent: TwoPhaseCommit(agent, THREE, given[agent], rules), seed=0)


def machine(name: str, vote: bool | None = True) -> TwoPhaseCommit:
    made = TwoPhaseCommit(name, THREE, vote, RULES)
    list(made.on_start({}))
    return made


def sent(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    return [(effect.to, effect.kind) for effect in effects if isinstance(effect, Send)]


def decisions(run: World) -> set[Any]:
    return {detail["value"] for _, detail in run.facts("decide")}


# -- whole runs --------------------------------------------------------------------------------------------------------


def test_all_yes_commits():
    run = world()
    run.run()
    assert run.views() == dict.fromkeys(THREE, "commit")


@pytest.mark.parametrize("no", THREE)
def test_one_no_aborts(no: str):
    run = world({no: False})
    run.run()
    assert run.views() == dict.fromkeys(THREE, "abort")


def test_an_agent_alone_decides_by_its_own_vote():
    for vote, decision in ((True, "commit"), (False, "abort")):
        alone = TwoPhaseCommit("a", ("a",), vote, RULES)
        list(alone.on_start({}))
        assert alone.view() == decision


def test_a_participant_that_stays_away_makes_the_coordinator_abort():
    run = world()
    run.run(until=0)
    run.crash("c")
    run.run(until=11 * SECOND)
    assert run.views() == {"a": "abort", "b": "abort"}
    run.start("c")
    run.run(until=60 * SECOND)
    assert run.views()["c"] == "abort"


def test_who_is_prepared_waits_for_the_coordinator_however_long_it_takes():
    run = world()
    run.run(when=lambda: bool(run.facts("vote")) and len(run.facts("vote")) == 3)
    run.crash("a")
    run.run(until=3600 * SECOND)
    assert run.views() == {"b": None, "c": None}
    run.start("a")
    run.run(until=3700 * SECOND)
    assert run.views() == dict.fromkeys(THREE, "abort"), "a coordinator without a decision presumes abort"


def test_a_coordinator_that_comes_back_with_a_decision_tells_it():
    run = world()
    run.run(when=lambda: bool(run.facts("decide")))
    run.crash("a")
    run.run(until=100 * SECOND)
    assert set(run.views().values()) <= {None, "commit"}
    run.start("a")
    run.run(until=200 * SECOND)
    assert run.views() == dict.fromkeys(THREE, "commit")


def test_a_participant_that_knows_tells_the_others_while_the_coordinator_is_gone():
    run = world()
    run.run(when=lambda: len(run.facts("vote")) == 3)
    run.blocked = {("a", "c")}
    run.run(when=lambda: run.views().get("b") == "commit")
    run.crash("a")
    run.heal()
    run.run(when=lambda: run.views().get("c") is not None, until=300 * SECOND)
    assert run.views() == {"b": "commit", "c": "commit"}


def test_a_participant_that_was_never_asked_aborts_alone():
    run = world()
    run.blocked = {("a", "b"), ("a", "c")}
    run.run(until=0)
    run.crash("a")
    run.heal()
    run.run(until=21 * SECOND)
    assert run.views() == {"b": "abort", "c": "abort"}
    run.start("a")
    run.run(until=40 * SECOND)
    assert run.views() == dict.fromkeys(THREE, "abort")


# -- single steps ------------------------------------------------------------------------------------------------------


def test_a_vote_is_durable_before_it_is_told():
    effects = list(machine("b").on_message("a", "prepare", None))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Sync) < kinds.index(Send)


def test_a_repeated_yes_is_one_yes():
    coordinator = machine("a")
    for _ in range(3):
        list(coordinator.on_message("b", "vote", {"yes": True}))
    assert coordinator.view() is None
    list(coordinator.on_message("c", "vote", {"yes": True}))
    assert coordinator.view() == "commit"


def test_a_repeated_question_gets_the_same_answer():
    participant = machine("b")
    assert sent(participant.on_message("a", "prepare", None)) == [("a", "vote")]
    assert sent(participant.on_message("a", "prepare", None)) == [("a", "vote")]


def test_only_the_coordinator_may_ask_for_votes():
    assert list(machine("b").on_message("c", "prepare", None)) == []


def test_strangers_are_ignored_and_unknown_messages_refused():
    assert list(machine("b").on_message("x", "prepare", None)) == []
    with pytest.raises(ConvergenceUsageError, match="two-phase commit message"):
        machine("b").on_message("a", "prepair", None)


def test_a_late_vote_is_answered_with_the_decision():
    coordinator = machine("a")
    list(coordinator.on_message("b", "vote", {"yes": False}))
    assert sent(coordinator.on_message("c", "vote", {"yes": True})) == [("c", "decided")]
    assert sent(coordinator.on_message("b", "vote", {"yes": False})) == []


def test_who_has_not_voted_takes_no_commit_but_takes_an_abort():
    participant = machine("b")
    assert list(participant.on_message("a", "decided", {"value": "commit", "ask": False})) == []
    list(participant.on_message("a", "decided", {"value": "abort", "ask": True}))
    assert participant.view() == "abort"


def test_what_the_table_does_not_list_is_an_internal_error():
    assert TRANSITIONS[Stage.COMMITTED] == {}
    coordinator = machine("a")
    for other in "bc":
        list(coordinator.on_message(other, "vote", {"yes": True}))
    with pytest.raises(InternalError, match="committed"):
        coordinator._decide("abort")


# -- vote functions ----------------------------------------------------------------------------------------------------


def test_a_vote_function_is_called_once_and_its_answer_counts():
    participant = machine("b", None)
    assert [effect for effect in participant.on_message("a", "prepare", None) if isinstance(effect, Call)]
    assert list(participant.on_message("a", "prepare", None)) == []
    effects = participant.on_command(RETURNED, Returned("vote", "no"))
    assert sent(effects) == [("a", "vote")]
    assert participant.view() == "abort"


def test_what_a_vote_function_raises_is_not_swallowed():
    participant = machine("b", None)
    list(participant.on_message("a", "prepare", None))
    with pytest.raises(ZeroDivisionError):
        participant.on_command(RAISED, Raised("vote", ZeroDivisionError()))


def test_a_decision_cancels_the_vote_function():
    participant = machine("b", None)
    list(participant.on_message("a", "prepare", None))
    effects = list(participant.on_message("a", "decided", {"value": "abort", "ask": False}))
    assert any(isinstance(effect, CancelCall) for effect in effects)


def test_other_commands_are_refused():
    with pytest.raises(ConvergenceUsageError, match="two-phase commit command"):
        machine("b").on_command("propose", "x")


@pytest.mark.parametrize(
    ("vote", "yes"),
    [("yes", True), ("no", False), ("commit", True), ("abort", False), (True, True), (False, False)],
)
def test_votes_are_read_as_people_write_them(vote: Any, yes: bool):
    assert read_vote(vote) is yes


@pytest.mark.parametrize(("vote", "message"), [("yess", "'yes'"), (1, "not 1"), (None, "not None")])
def test_what_is_no_vote_is_refused_by_name(vote: Any, message: str):
    with pytest.raises(ConvergenceUsageError, match=message):
        read_vote(vote)


# -- the pattern -------------------------------------------------------------------------------------------------------


def test_every_agent_is_needed_for_progress():
    assert Consensus(algorithm="two-phase-commit").quorum_of(THREE) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quorum": 2}, "takes neither quorum= nor max_rounds=: it needs every agent"),
        ({"max_rounds": 2}, "takes neither quorum="),
        ({"tie": "lowest"}, "belong to algorithm='voting'"),
        ({"coordinator": "d"}, "coordinator"),
        ({"vote_seconds": 0}, "vote_seconds must be greater than zero"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConvergenceUsageError, match=message):
        Consensus(algorithm="two-phase-commit", **options).validate(THREE)


def test_a_coordinator_belongs_to_two_phase_commit():
    with pytest.raises(ConvergenceUsageError, match="belongs to algorithm='two-phase-commit'"):
        Consensus(coordinator="a").validate(THREE)


def test_a_proposal_that_is_no_vote_is_refused_before_the_run():
    pattern = Consensus(algorithm="two-phase-commit")
    with pytest.raises(ConvergenceUsageError, match="vote"):
        pattern.check_inputs(THREE, {"proposals": dict.fromkeys(THREE, "maybe")})


def test_a_commit_is_valid_only_where_all_votes_may_be_yes():
    pattern = Consensus(algorithm="two-phase-commit")
    assert pattern.valid("commit", THREE, {"proposals": {"a": "yes", "b": lambda: "no"}})
    assert not pattern.valid("commit", THREE, {"proposals": {"a": "yes", "b": "no"}})
    assert pattern.valid("abort", THREE, {"proposals": {"a": "yes"}})
    assert not pattern.valid("perhaps", THREE, {"proposals": {"a": "yes"}})
