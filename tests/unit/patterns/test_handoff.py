"""The words of handing over: tables, tokens, records, and who is asked first."""

import itertools

import pytest

from pytest_convergence import ConvergenceUsageError, FencingToken, HandoffReason, InternalError
from pytest_convergence._engine.patterns.capabilities import CapabilityRegistry, Standing
from pytest_convergence._engine.patterns.handoff import (
    HANDOFF_TRANSITIONS,
    HandoffEvent,
    HandoffState,
    Work,
    advance_handoff,
    continuation_of,
    guardians_of,
    parse_continuation,
)
from pytest_convergence._engine.state.values import checksum_of


def work(**changes):
    record = Work(
        "w",
        "task",
        {"n": 1},
        checksum_of(["task", {"n": 1}]),
        0,
        0,
        1,
        "a",
        ("a",),
        0,
        16,
        ("review",),
        "delegation",
        0,
    )
    return record._replace(**changes)


def test_a_hand_off_goes_from_offered_through_accepted_to_transferred():
    state = advance_handoff(HandoffState.OFFERED, HandoffEvent.ACCEPT)
    assert state is HandoffState.ACCEPTED
    assert advance_handoff(state, HandoffEvent.CONFIRM) is HandoffState.TRANSFERRED


@pytest.mark.parametrize("final", [HandoffState.REFUSED, HandoffState.EXPIRED, HandoffState.TRANSFERRED])
@pytest.mark.parametrize("event", HandoffEvent)
def test_nothing_follows_a_final_state(final, event):
    with pytest.raises(InternalError):
        advance_handoff(final, event)


def test_every_state_can_be_reached_and_none_but_by_the_table():
    reached = {HandoffState.OFFERED, *HANDOFF_TRANSITIONS.values()}
    assert reached == set(HandoffState)
    with pytest.raises(InternalError):
        advance_handoff(HandoffState.OFFERED, HandoffEvent.CONFIRM)


def test_there_are_seven_reasons():
    assert [reason.value for reason in HandoffReason] == [
        "capability",
        "load-balancing",
        "escalation",
        "failure-recovery",
        "delegation",
        "pipeline-step",
        "timeout",
    ]


def test_tokens_are_ordered_by_epoch_and_then_by_number():
    tokens = [FencingToken(0, 1), FencingToken(0, 2), FencingToken(1, 1), FencingToken(1, 3)]
    assert all(one < other for one, other in itertools.pairwise(tokens))
    assert str(tokens[-1]) == "1.3"


def test_a_record_survives_the_wire():
    record = work(path=("a", "b"))
    assert Work.read(record.wire()) == record


def test_a_record_whose_state_was_cut_off_is_not_intact():
    assert work().is_intact
    assert not work(state={}).is_intact
    assert work().with_state({"n": 2}).is_intact


def test_handing_over_counts_hops_and_makes_a_greater_token():
    after = work().handed_to("b", "escalation")
    assert (after.owner, after.path, after.hops, after.reason) == ("b", ("a", "b"), 1, "escalation")
    assert after.token > work().token


def test_everybody_guards_among_few_and_five_among_many():
    assert guardians_of("w", ["a", "b", "c"]) == ("a", "b", "c")
    many = [f"agent-{number}" for number in range(40)]
    assert len(set(guardians_of("w", many))) == 5
    assert guardians_of("w", many) == guardians_of("w", many)
    assert len({guardians_of(f"work-{number}", many) for number in range(20)}) > 5


def test_a_continuation_token_names_its_work():
    assert parse_continuation(continuation_of(work(id="w@1"))) == "w@1"


@pytest.mark.parametrize("text", ["", "w", "w@", "w@1.2", "w@1.x:abc", "@1.2:abc", 5])
def test_what_is_no_continuation_token_is_refused(text):
    with pytest.raises(ConvergenceUsageError, match="continuation"):
        parse_continuation(text)


def standing(agent, load=0, priority=0, capacity=None, capabilities=("review",)):
    return Standing(agent, capabilities, load, capacity, priority, declared=True)


@pytest.mark.parametrize(
    ("standings", "first"),
    [
        pytest.param([standing("a", 2), standing("b", 1)], "b", id="the least loaded"),
        pytest.param([standing("a"), standing("b", priority=5)], "b", id="then by priority"),
        pytest.param([standing("b"), standing("a")], "a", id="then by name"),
        pytest.param([standing("a", 2, capacity=2), standing("b", 7)], "b", id="only with room"),
        pytest.param([standing("a", capabilities=()), standing("b", 7)], "b", id="only the able"),
        pytest.param(
            [standing("a")._replace(declared=False), standing("b", 7)], "b", id="only who takes work"
        ),
        pytest.param([standing("a", 1, capacity=1)], None, id="nobody"),
    ],
)
def test_whom_to_ask_first(standings, first):
    assert CapabilityRegistry(standings).choose(["review"]) == first


def test_who_has_refused_is_not_asked_again():
    registry = CapabilityRegistry([standing("a"), standing("b", 3)])
    assert registry.choose(["review"], {"a"}) == "b"


def test_the_latest_word_of_an_agent_counts():
    registry = CapabilityRegistry([standing("a"), standing("b", 1)])
    registry.note(standing("a", 9))
    assert registry.choose(["review"]) == "b"
    assert len(registry) == 2
    assert "a" in registry
