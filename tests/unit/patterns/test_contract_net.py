"""One agent's side of a contract net, event by event, the ranking, and the configuration."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from pytest_convergence import Award, Competitive, ConvergenceUsageError
from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelCall,
    Effect,
    Observe,
    Raised,
    Returned,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.contract_net import (
    ACCEPT,
    AWARD,
    AWARD_TIMER,
    BID,
    CALL,
    CONFIRM,
    DEADLINE_TIMER,
    GIVE_UP_TIMER,
    INFORM,
    LATE,
    RESEND_TIMER,
    REVOKE,
    ContractNet,
)
from pytest_convergence._engine.patterns.tournament import Entry, Match, play, ranked

AGENTS = ("boss", "a", "b", "c")
MANAGED = Competitive(manager="boss")


def machine(agent: str = "boss", pattern: Competitive = MANAGED, **inputs: Any) -> ContractNet:
    made = pattern.machine(agent, AGENTS, {"task": "T", "compete": len, "score": len, **inputs})
    assert isinstance(made, ContractNet)
    return made


def of(kind: type, effects: Iterable[Effect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def facts(effects: Iterable[Effect], name: str) -> list[Any]:
    return [dict(effect.data) for effect in of(Observe, effects) if effect.fact == name]


def sent(effects: Iterable[Effect], kind: str) -> list[str]:
    return [send.to for send in of(Send, effects) if send.kind == kind]


def bid(value: Any, call: int = 1) -> dict[str, Any]:
    return {"round": call, "part": "", "value": [value]}


def awarded(
    scores: dict[str, Any], pattern: Competitive = MANAGED, **inputs: Any
) -> tuple[ContractNet, list[Effect]]:
    """A manager that has the bids of ``scores`` and has made its award."""
    manager = machine("boss", pattern, **inputs)
    manager.on_start({})
    for agent in ("a", "b", "c"):
        manager.on_message(agent, BID, bid(f"by {agent}" if agent in scores else None))
    effects: list[Effect] = []
    for agent, score in scores.items():
        effects += manager.on_command(RETURNED, Returned(f"score 1 {agent}", score))
    return manager, effects


# -- bids --------------------------------------------------------------------------------------------------------------


def test_a_named_manager_calls_the_others() -> None:
    effects = list(machine().on_start({}))
    assert sent(effects, CALL) == ["a", "b", "c"]
    assert facts(effects, "called")[0]["order"] == list(AGENTS)
    assert not of(Call, effects)


def test_the_first_agent_manages_and_competes_if_none_is_named() -> None:
    effects = list(machine("boss", Competitive()).on_start({}))
    assert sent(effects, CALL) == ["a", "b", "c"]
    assert of(Call, effects) == [Call("compete 1 boss", "compete", ("T",))]


def test_bids_are_taken_once_and_scored_when_all_are_in() -> None:
    manager = machine()
    manager.on_start({})
    assert facts(manager.on_message("a", BID, bid("by a")), "bid") == [{"call": 1, "bidder": "a"}]
    assert list(manager.on_message("a", BID, bid("again"))) == []
    assert list(manager.on_message("a", BID, bid("old", call=0))) == []
    assert not facts(manager.on_message("b", BID, bid(None)), "bid")  # it declines
    effects = list(manager.on_message("c", BID, bid("by c")))
    assert [call.id for call in of(Call, effects)] == ["score 1 a", "score 1 c"]


def test_a_bid_after_the_deadline_is_told_so() -> None:
    manager = machine()
    manager.on_start({})
    manager.on_message("a", BID, bid("by a"))
    assert [call.id for call in of(Call, manager.on_timer(DEADLINE_TIMER))] == ["score 1 a"]
    effects = list(manager.on_message("b", BID, bid("by b")))
    assert sent(effects, LATE) == ["b"]
    assert facts(effects, "bid_late") == [{"call": 1, "bidder": "b"}]
    assert list(manager.on_message("a", BID, bid("by a"))) == []


def test_without_a_bid_nobody_wins() -> None:
    manager = machine()
    manager.on_start({})
    manager.on_timer(DEADLINE_TIMER)
    assert manager.view() == Award(None, None, None, number=0)


def test_calls_are_repeated_to_those_who_have_not_answered() -> None:
    manager = machine()
    manager.on_start({})
    manager.on_message("a", BID, bid("by a"))
    effects = list(manager.on_timer(RESEND_TIMER))
    assert sent(effects, CALL) == ["b", "c"]


# -- awards ------------------------------------------------------------------------------------------------------------


def test_the_winner_is_told_until_it_accepts_and_then_the_contract_is_committed() -> None:
    manager, effects = awarded({"a": 1, "b": 2})
    assert sent(effects, AWARD) == ["b"]
    assert facts(effects, "award") == [{"number": 1, "winner": "b", "call": 1}]
    assert sent(manager.on_timer(RESEND_TIMER), AWARD) == ["b"]
    assert list(manager.on_message("a", ACCEPT, {"number": 1})) == []
    assert list(manager.on_message("b", ACCEPT, {"number": 2})) == []
    done = list(manager.on_message("b", ACCEPT, {"number": 1}))
    assert facts(done, "award_committed") == [{"number": 1, "winner": "b"}]
    assert manager.view() == Award("b", "by b", 2, ("b", "a"), (2, 1), 1)
    assert list(manager.on_message("b", ACCEPT, {"number": 1})) == []  # all is over


def test_an_award_that_is_not_accepted_is_revoked_and_the_next_gets_the_contract() -> None:
    manager, _ = awarded({"a": 1, "b": 2})
    effects = list(manager.on_timer(AWARD_TIMER))
    assert facts(effects, "award_revoked") == [{"number": 1, "winner": "b"}]
    assert sent(effects, REVOKE) == ["b"]
    assert sent(effects, AWARD) == ["a"]
    assert list(manager.on_message("b", ACCEPT, {"number": 1})) == []  # too late
    assert sent(manager.on_timer(RESEND_TIMER), REVOKE) == ["b"]
    assert facts(manager.on_timer(AWARD_TIMER), "award_revoked") == [{"number": 2, "winner": "a"}]
    assert manager.view().winner is None
    assert manager.view().number == 2
    assert list(manager._revoke()) == []


def test_the_winner_performs_when_its_acceptance_is_confirmed() -> None:
    manager, _ = awarded({"a": 1, "b": 2}, perform=len)
    assert list(manager.on_message("b", INFORM, {"number": 1, "value": ["early"]})) == []
    effects = list(manager.on_message("b", ACCEPT, {"number": 1}))
    assert of(Send, effects) == [Send("b", CONFIRM, {"number": 1, "task": "T", "result": "by b"})]
    assert sent(manager.on_timer(RESEND_TIMER), CONFIRM) == ["b"]
    manager.on_message("b", INFORM, {"number": 1, "value": ["done"]})
    assert manager.view()[:3] == ("b", "done", 2)


def test_a_performance_that_fails_costs_the_contract() -> None:
    manager, _ = awarded({"a": 1, "b": 2}, Competitive(manager="boss", errors="flag"), perform=len)
    manager.on_message("b", ACCEPT, {"number": 1})
    assert sent(manager.on_message("b", INFORM, {"number": 1, "error": "no"}), AWARD) == ["a"]


def test_what_score_raises_goes_up() -> None:
    manager = machine("boss", Competitive(manager="boss", errors="flag"))
    manager.on_start({})
    manager.on_message("a", BID, bid("by a"))
    manager.on_timer(DEADLINE_TIMER)
    with pytest.raises(LookupError):
        manager.on_command(RAISED, Raised("score 1 a", LookupError()))


# -- the contractor's side ---------------------------------------------------------------------------------------------


def test_a_contractor_bids_once_and_says_it_as_often_as_it_is_called() -> None:
    contractor = machine("a")
    assert list(contractor.on_start({})) == []
    called = list(contractor.on_message("boss", CALL, {"call": 1, "task": "T"}))
    assert of(Call, called) == [Call("compete 1 a", "compete", ("T",))]
    assert of(SetTimer, called)[0].name == GIVE_UP_TIMER
    made = of(Send, contractor.on_command(RETURNED, Returned("compete 1 a", "mine")))
    assert made == [Send("boss", BID, {"round": 1, "part": "a", "value": ["mine"]})]
    assert of(Send, contractor.on_message("boss", CALL, {"call": 1, "task": "T"})) == made


def test_a_contractor_obeys_the_manager_alone() -> None:
    contractor = machine("a")
    assert list(contractor.on_message("b", CALL, {"call": 1, "task": "T"})) == []
    assert list(contractor.on_message("stranger", CALL, {"call": 1, "task": "T"})) == []
    assert list(contractor.on_message("b", BID, bid("mine"))) == []
    with pytest.raises(ConvergenceUsageError, match="unknown message of a contract net 'biid'"):
        contractor.on_message("boss", "biid", {})


def test_a_contractor_that_knows_an_award_to_be_revoked_does_not_accept_it() -> None:
    contractor = machine("a")
    assert facts(contractor.on_message("boss", AWARD, {"number": 1}), "award_accepted") == [{"number": 1}]
    again = list(contractor.on_message("boss", AWARD, {"number": 1}))
    assert sent(again, ACCEPT) == ["boss"]
    assert not facts(again, "award_accepted")
    contractor.on_message("boss", REVOKE, {"number": 3})
    for kind in (AWARD, CONFIRM, REVOKE):
        payload = {"number": 2, "task": "T", "result": 1}
        assert list(contractor.on_message("boss", kind, payload)) == []


def test_a_performance_stops_when_the_award_is_revoked_or_time_is_up() -> None:
    for stop in ("revoke", "time"):
        contractor = machine("a", perform=len)
        contractor.on_message("boss", AWARD, {"number": 1})
        begun = contractor.on_message("boss", CONFIRM, {"number": 1, "task": "T", "result": "mine"})
        assert of(Call, begun) == [Call("perform 1 a", "perform", ("T", "mine"))]
        if stop == "revoke":
            stopped = contractor.on_message("boss", REVOKE, {"number": 1})
        else:
            stopped = contractor.on_timer(GIVE_UP_TIMER)
        assert of(CancelCall, stopped) == [CancelCall("perform 1 a")]


def test_an_earlier_revocation_does_not_stop_a_later_performance() -> None:
    contractor = machine("a", perform=len)
    contractor.on_message("boss", AWARD, {"number": 2})
    contractor.on_message("boss", CONFIRM, {"number": 2, "task": "T", "result": "mine"})
    assert not of(CancelCall, contractor.on_message("boss", REVOKE, {"number": 1}))


def test_a_late_bidder_knows_that_it_was_late() -> None:
    assert facts(machine("a").on_message("boss", LATE, {"call": 1}), "bid_answered") == [
        {"call": 1, "answer": "late"}
    ]


# -- the ranking -------------------------------------------------------------------------------------------------------


def entries(*scores: tuple[str, Any]) -> Sequence[Entry]:
    return [Entry(agent, None, score) for agent, score in scores]


def test_the_ranking_is_by_score_and_then_by_the_declared_order() -> None:
    given = entries(("c", 2), ("b", 2), ("a", 1))
    assert [entry.agent for entry in ranked(given, AGENTS, "highest")] == ["b", "c", "a"]
    assert [entry.agent for entry in ranked(given, AGENTS, "lowest")] == ["a", "b", "c"]


@pytest.mark.parametrize("score", [None, float("nan")])
def test_a_score_that_says_nothing_is_an_error(score: Any) -> None:
    with pytest.raises(ConvergenceUsageError, match="for the result of 'a', which cannot be ranked"):
        ranked(entries(("a", score)), AGENTS, "highest")


def test_scores_of_two_kinds_are_an_error() -> None:
    with pytest.raises(
        ConvergenceUsageError, match="cannot be compared with one another: 1 for 'a', 'x' for 'b'"
    ):
        ranked(entries(("b", "x"), ("a", 1)), AGENTS, "highest")


def test_neighbours_meet_and_who_has_not_bid_has_lost() -> None:
    ranking = ranked(entries(("a", 1), ("b", 2), ("c", 3)), ("a", "b", "c", "d", "e"), "highest")
    assert play(["a", "b", "c", "d", "e"], ranking) == [
        Match("a", "b", "b"),
        Match("c", "d", "c"),
        Match("e", None, None),
    ]
    assert play(["d", "e", "a"], ranking) == [Match("d", "e", None), Match("a", None, "a")]


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (Competitive(manager="bos"), "did you mean 'boss'"),
        (Competitive(mode="tournement"), "did you mean 'tournament'"),
        (Competitive(best="hihgest"), "did you mean 'highest'"),
        (Competitive(errors="flags"), "did you mean 'flag'"),
        (Competitive(deadline_seconds=0), "deadline_seconds must be greater than zero"),
        (Competitive(award_seconds=0), "award_seconds must be greater than zero"),
        (Competitive(perform_seconds=0), "perform_seconds must be greater than zero"),
        (Competitive(resend_seconds=0), "resend_seconds must be greater than zero"),
    ],
)
def test_options_out_of_range_are_refused(pattern: Competitive, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        pattern.validate(AGENTS)


def test_somebody_must_be_left_to_compete() -> None:
    with pytest.raises(ConvergenceUsageError, match="nobody is left to compete"):
        MANAGED.validate(("boss",))
    with pytest.raises(ConvergenceUsageError, match="at least one agent"):
        Competitive().validate(())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scores": len}, "did you mean 'score'"),
        ({"compete": None}, "compete must be a function"),
        ({"score": 1}, "score must be a function"),
        ({"perform": 1}, "perform must be a function"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(changes: Any, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        Competitive().check_inputs(AGENTS, {"task": 1, "compete": len, "score": len, **changes})
    with pytest.raises(ConvergenceUsageError, match=r"needs run\(task="):
        Competitive().check_inputs(AGENTS, {})


def test_only_a_contractor_can_be_the_winner() -> None:
    assert MANAGED.valid(Award("a", 1, 1), AGENTS, {})
    assert MANAGED.valid(Award(None, None, None), AGENTS, {})
    assert not MANAGED.valid(Award("boss", 1, 1), AGENTS, {})
    assert not MANAGED.valid(None, AGENTS, {})
    assert MANAGED.leader(Award("a", 1, 1)) is None
    assert MANAGED.quorum_of(AGENTS) == 4


def test_a_score_may_leave_the_agent_out() -> None:
    given = {"compete": len, "score": lambda result: result + 1}
    assert MANAGED.functions("boss", AGENTS, given)["score"](1, "a") == 2
    assert "perform" not in MANAGED.functions("boss", AGENTS, given)
