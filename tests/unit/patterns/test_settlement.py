"""The settling machine by itself: messages that come twice, late, from strangers, or torn from storage."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import ByArbitration, ByVote, Conflict, ConvergenceUsageError, Resolution
from pytest_convergence._engine.base.effects import Call, Effect, Persist, Returned, Send, SetTimer, Sync
from pytest_convergence._engine.patterns.ballots import count
from pytest_convergence._engine.patterns.settlement import Settlement
from pytest_convergence._engine.state.court import Verdict
from pytest_convergence._engine.state.plan import as_plan
from pytest_convergence._engine.state.replica import Replica

NAMES = ("a", "b", "c")


def machines(resolve: Any) -> dict[str, Settlement]:
    plan = as_plan(resolve).bound(NAMES)
    return {name: Settlement(Replica(name, resolve=plan), NAMES) for name in NAMES}


def conflict_of(machine: Settlement, *others: Settlement) -> Conflict:
    """Let the replicas of ``machine`` and of ``others`` write at once, and the first meet the conflict."""
    for each in (machine, *others):
        each.replica.set("x", f"from {each.replica.agent}")
    for each in others:
        machine.replica.join(each.replica.delta_since(machine.replica.clock))
    return machine.replica.conflicts[-1]


def sent(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(effect.to, effect.kind) for effect in effects if isinstance(effect, Send)]


def durable_of(*effects: Effect) -> dict[str, Any]:
    return {effect.key: effect.value for effect in effects if isinstance(effect, Persist)}


def test_a_question_is_asked_once_and_repeated_ever_more_slowly() -> None:
    made = machines(ByArbitration(arbiter="c", retry=1, attempts=3))
    a = made["a"]
    conflict = conflict_of(a, made["b"])
    first = list(a.on_command("conflict", conflict))
    assert sent(first) == [("c", "conflict_detected")]
    assert list(a.on_command("conflict", conflict)) == []
    (timer,) = [effect for effect in first if isinstance(effect, SetTimer)]
    delays = [timer.delay_ns]
    backgrounds = [timer.background]
    again: list[Effect] = []
    for _ in range(5):
        again = list(a.on_timer(timer.name))
        (repeated,) = [effect for effect in again if isinstance(effect, SetTimer)]
        delays.append(repeated.delay_ns)
        backgrounds.append(repeated.background)
    assert [delay // 10**9 for delay in delays] == [1, 2, 4, 8, 8, 8]
    assert backgrounds == [False, False, False, True, True, True]
    assert sent(again) == [("c", "conflict_detected"), ("b", "conflict_detected")]
    assert a.waits_on() == ()
    assert [judge for _, judge in a.unanswered()] == ["c"]


def test_a_verdict_is_durable_before_it_is_told_and_the_first_one_counts() -> None:
    made = machines(ByArbitration(arbiter="c"))
    conflict = conflict_of(made["a"], made["b"])
    (ask,) = [each for each in made["a"].on_command("conflict", conflict) if isinstance(each, Send)]
    effects = list(made["c"].on_message("a", ask.kind, ask.payload))
    order = [type(effect) for effect in effects]
    assert order.index(Persist) < order.index(Sync) < order.index(Send)
    again = list(made["c"].on_message("b", ask.kind, ask.payload))
    assert [type(effect) for effect in again] == [Send]
    (answer,) = [effect for effect in effects if isinstance(effect, Send)]
    assert list(made["a"].on_message("c", answer.kind, answer.payload))
    other = {**answer.payload, "verdict": Verdict(Resolution("arbitration", "forged"))}
    assert list(made["a"].on_message("b", answer.kind, other)) == []
    assert made["a"].replica.get("x") == "from b"
    assert list(made["a"].on_timer(f"ask {ask.payload['key']}")) == []
    restarted = Settlement(made["c"].replica, NAMES)
    assert list(restarted.on_start(durable_of(*effects))) == []
    assert restarted.knows(ask.payload["key"])


def test_torn_records_are_not_believed() -> None:
    made = machines(ByArbitration(arbiter="c"))
    machine = made["c"]
    assert list(machine.on_start({"verdict k/0": ["half"], "vote k/0": None, "other": ["x", "end"]})) == []
    assert not machine.knows("k/0")


def test_who_is_not_the_judge_answers_only_what_it_knows() -> None:
    made = machines(ByArbitration(arbiter="c"))
    conflict = conflict_of(made["a"], made["b"])
    (ask,) = [each for each in made["a"].on_command("conflict", conflict) if isinstance(each, Send)]
    assert list(made["b"].on_message("a", ask.kind, ask.payload)) == []
    beyond = {"key": f"{conflict.id}/9", "conflict": conflict}
    assert list(made["c"].on_message("a", ask.kind, beyond)) == []


def test_an_arbiter_asks_its_function_once_however_many_ask() -> None:
    made = machines(ByArbitration(arbiter="c", decide=lambda conflict: "decided"))
    conflict = conflict_of(made["a"], made["b"])
    (ask,) = [each for each in made["a"].on_command("conflict", conflict) if isinstance(each, Send)]
    c = made["c"]
    (call,) = c.on_message("a", ask.kind, ask.payload)
    assert isinstance(call, Call)
    assert call.function in c.functions()
    assert list(c.on_message("b", ask.kind, ask.payload)) == []
    assert c.waits_on() == ("c",)
    told = sent(list(c.on_command("returned", Returned(call.id, "decided"))))
    assert told == [("a", "conflict_resolved"), ("b", "conflict_resolved")]
    assert list(c.on_command("returned", Returned(call.id, "late"))) == []


def test_a_voter_answers_its_teller_alone_and_always_the_same() -> None:
    made = machines(ByVote(teller="c", voters=["a", "c"]))
    conflict = conflict_of(made["a"], made["b"])
    request = {"key": f"{conflict.id}/0", "conflict": conflict}
    assert list(made["a"].on_message("b", "vote_request", request)) == []
    assert list(made["b"].on_message("c", "vote_request", request)) == []
    first = list(made["a"].on_message("c", "vote_request", request))
    assert sent(first) == [("c", "vote_response")]
    second = list(made["a"].on_message("c", "vote_request", request))
    assert [effect.payload for effect in second if isinstance(effect, Send)] == [
        effect.payload for effect in first if isinstance(effect, Send)
    ]
    again = Settlement(made["a"].replica, NAMES)
    list(again.on_start(durable_of(*first)))
    assert sent(list(again.on_message("c", "vote_request", request))) == [("c", "vote_response")]


def test_a_voter_that_still_thinks_is_not_asked_twice() -> None:
    made = machines(ByVote(teller="c", vote=lambda conflict: "a"))
    conflict = conflict_of(made["a"], made["b"])
    request = {"key": f"{conflict.id}/0", "conflict": conflict}
    (call,) = made["a"].on_message("c", "vote_request", request)
    assert isinstance(call, Call)
    assert list(made["a"].on_message("c", "vote_request", request)) == []
    assert sent(list(made["a"].on_command("returned", Returned(call.id, "b")))) == [("c", "vote_response")]


def test_votes_of_strangers_and_late_votes_do_not_count() -> None:
    made = machines(ByVote(teller="c", voters=["a", "b"]))
    conflict = conflict_of(made["a"], made["b"])
    key = f"{conflict.id}/0"
    c = made["c"]
    list(c.on_message("a", "conflict_detected", {"key": key, "conflict": conflict}))
    for voter, vote in (("c", "a"), ("a", "a"), ("a", "b"), ("b", "a")):
        list(c.on_message(voter, "vote_response", {"key": key, "vote": vote}))
    assert c.knows(key)
    c.replica.join(made["a"].replica.delta_since(c.replica.clock))
    assert c.replica.get("x") == "from a"
    assert list(c.on_message("b", "vote_response", {"key": key, "vote": "b"})) == []
    assert list(c.on_timer(f"poll {key}")) == []


@pytest.mark.parametrize(
    ("votes", "winner", "enough", "sure"),
    [
        ({}, None, False, False),
        ({"a": "a"}, None, False, False),
        ({"a": "a", "b": "a"}, "a", True, True),
        ({"a": "a", "b": "b"}, None, True, False),
        ({"a": "a", "b": "b", "c": None}, None, True, True),
        ({"a": None, "b": None, "c": None}, None, True, True),
        ({"a": "a", "b": None}, "a", True, False),
        ({"a": "a", "z": "b", "b": "stranger"}, "a", True, False),
    ],
)
def test_counting(votes: dict[str, str | None], winner: str | None, enough: bool, sure: bool) -> None:
    made = machines("last-write")
    conflict = conflict_of(made["a"], made["b"])
    counted = count(conflict, ByVote(voters=NAMES), votes)
    assert (counted.winner, counted.enough, counted.is_sure) == (winner, enough, sure)


def test_those_who_wrote_the_same_are_one_candidate() -> None:
    made = machines("last-write")
    a, b, c = made.values()
    for machine, value in ((a, "same"), (b, "same"), (c, "other")):
        machine.replica.set("x", value)
    a.replica.join(b.replica.delta_since(a.replica.clock))
    a.replica.join(c.replica.delta_since(a.replica.clock))
    (conflict,) = a.replica.conflicts
    counted = count(
        conflict, ByVote(voters=(*NAMES, "d", "e")), {"a": "a", "b": "b", "c": "c", "d": "c", "e": "b"}
    )
    assert counted.by_candidate == {"a": 3, "c": 2}
    assert counted.winner == "a"


def test_a_weight_of_nothing_elects_nobody() -> None:
    made = machines("last-write")
    conflict = conflict_of(made["a"], made["b"])
    rules = ByVote(voters=NAMES, weights=dict.fromkeys(NAMES, 0), quorum=0)
    assert count(conflict, rules, {"a": "a", "b": "a", "c": "a"}).winner is None


def test_what_is_no_message_and_no_command_is_refused() -> None:
    machine = machines("arbitration")["a"]
    with pytest.raises(ConvergenceUsageError, match="kind of settling message"):
        list(machine.on_message("b", "conflict_detect", {"key": "k/0"}))
    with pytest.raises(ConvergenceUsageError, match="command of settling"):
        list(machine.on_command("conflicts", None))
    assert machine.view() is None  # type: ignore[func-returns-value]
