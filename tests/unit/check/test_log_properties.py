"""The properties of replicated logs, of reads and of commits, fact by fact."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import Violation
from tests.unit.check.events import MS, crash, fact, judge

LOG = (
    "leader_completeness",
    "log_matching",
    "state_machine_safety",
    "committed_on_quorum",
    "committed_is_durable",
    "no_stale_read",
)


def append(agent: str, index: int, term: int = 1, value: Any = "x") -> TraceEvent:
    return fact(agent, "append", index=index, term=term, value=value)


def commit(agent: str, index: int, term: int = 1) -> TraceEvent:
    return fact(agent, "commit", index=index, term=term)


def apply(agent: str, index: int, value: Any = "x") -> TraceEvent:
    return fact(agent, "apply", index=index, value=value)


def broken(name: str, *events: TraceEvent) -> Violation:
    violation = judge(name, events)
    assert violation is not None
    return violation


REPLICATED = [
    fact("a", "leader", term=1),
    append("a", 1, value=None),
    append("a", 2),
    append("b", 1, value=None),
    append("b", 2),
    commit("a", 2),
    apply("a", 1, None),
    apply("a", 2),
    commit("b", 2),
    apply("b", 1, None),
    apply("b", 2),
]


@pytest.mark.parametrize("name", LOG)
def test_a_log_that_was_replicated_as_it_should_is_fine(name: str) -> None:
    crashed = [crash("b"), fact("b", "log", entries=[(1, None), (1, "x")]), commit("b", 1), commit("b", 2)]
    elected = [fact("b", "leader", term=2), append("b", 3, 2, "y"), append("c", 1, 1, None)]
    assert judge(name, [*REPLICATED, *crashed, *elected]) is None


# -- leader completeness -----------------------------------------------------------------------------------------------


def test_a_leader_without_a_committed_entry_is_reported() -> None:
    violation = broken("leader_completeness", *REPLICATED, fact("c", "leader", term=2))
    assert violation.message == (
        "c became leader of term 2 without entry 1 (no command of term 1), which was committed in term 1"
    )
    assert violation.agents == ("c",)


def test_a_leader_with_another_entry_at_that_index_is_reported() -> None:
    events = [*REPLICATED, append("c", 1, value=None), append("c", 2, 2, "z"), fact("c", "leader", term=3)]
    violation = broken("leader_completeness", *events)
    assert violation.facts == {"index": 2, "value": "x", "committed in": 1, "leader of": 3}


def test_a_leader_of_an_earlier_term_need_not_have_what_a_later_one_commits() -> None:
    late = [append("a", 1, 3), append("b", 1, 3), commit("a", 1, 3), fact("c", "leader", term=2)]
    assert judge("leader_completeness", late) is None


def test_a_commit_that_is_learnt_late_concerns_the_leaders_elected_since() -> None:
    events = [append("a", 1), append("b", 1), fact("c", "leader", term=2), commit("a", 1, 1)]
    violation = broken("leader_completeness", *events)
    assert "c became leader of term 2 without entry 1" in violation.message


def test_without_terms_leaders_are_not_compared() -> None:
    assert judge("leader_completeness", [*REPLICATED, fact("c", "leader")]) is None
    untold = [append("a", 1), fact("a", "commit", index=1), fact("c", "leader", term=2)]
    assert judge("leader_completeness", untold) is None


def test_the_term_of_a_commit_is_that_of_its_agent_where_it_does_not_say() -> None:
    events = [
        fact("a", "term", term=1),
        append("a", 1),
        fact("a", "commit", index=1),
        fact("c", "leader", term=2),
    ]
    assert judge("leader_completeness", events) is not None


def test_a_leader_that_says_so_twice_is_judged_once() -> None:
    events = [fact("c", "leader", term=2), append("a", 1, 2), append("b", 1, 2), commit("a", 1, 2)]
    assert judge("leader_completeness", [*events, fact("c", "leader", term=2)]) is None


# -- log matching ------------------------------------------------------------------------------------------------------


def test_two_commands_at_one_index_of_one_term_are_reported() -> None:
    violation = broken("log_matching", append("a", 1), append("b", 1, 1, "y"))
    assert violation.message == "b holds 'y' of term 1 at index 1, where a has held 'x' of term 1"


def test_one_entry_after_two_different_ones_is_reported() -> None:
    violation = broken(
        "log_matching", append("a", 1, 1), append("a", 2, 3), append("b", 1, 2), append("b", 2, 3)
    )
    assert "after an entry of term 2, where a has held it after one of term 1" in violation.message


def test_other_terms_at_one_index_and_gaps_are_fine() -> None:
    assert judge("log_matching", [append("a", 1, 1), append("b", 1, 2), append("c", 7, 1)]) is None


def test_a_log_that_is_told_after_a_restart_counts_too() -> None:
    restarted = fact("b", "log", entries=[(1, "y")])
    assert judge("log_matching", [append("a", 1), crash("b"), restarted]) is not None


# -- state machine safety ----------------------------------------------------------------------------------------------


def test_two_commands_applied_at_one_index_are_reported() -> None:
    violation = broken("state_machine_safety", apply("a", 4), apply("b", 4, "y"))
    assert violation.message == "at index 4 a has applied 'x', and b applied 'y'"


# -- committed on a quorum, and durable --------------------------------------------------------------------------------


def test_a_commit_that_too_few_hold_is_reported() -> None:
    violation = broken("committed_on_quorum", append("a", 1), append("b", 1, 2), commit("a", 1))
    assert violation.message == (
        "a says that entry 1 ('x' of term 1) is committed, but only a hold it: 1 of 3 agents, and 2 are needed"
    )


def test_an_agent_that_is_crashed_still_holds_what_it_has_on_disk() -> None:
    assert judge("committed_on_quorum", [append("a", 1), append("b", 1), crash("b"), commit("a", 1)]) is None


def test_what_a_crash_took_is_not_held() -> None:
    events = [append("a", 1), append("b", 1), crash("b"), fact("b", "log", entries=[]), commit("a", 1)]
    assert judge("committed_on_quorum", events) is not None


def test_who_commits_what_it_does_not_hold_is_reported() -> None:
    violation = broken("committed_on_quorum", append("a", 1), commit("a", 2))
    assert "1" in violation.message
    events = [append("a", 1), append("b", 1), commit("a", 1), append("b", 2), commit("a", 2)]
    assert "which it does not hold itself" in broken("committed_on_quorum", *events).message


def test_who_never_speaks_of_its_log_is_not_judged_by_it() -> None:
    assert judge("committed_on_quorum", [commit("a", 3)]) is None


@pytest.mark.parametrize(
    ("loss", "how"),
    [
        ([crash("b"), fact("b", "log", entries=[(1, None)])], "when it restarted"),
        ([fact("b", "truncate", index=1)], "by removing it from its log"),
        ([append("b", 2, 2, "z")], "by removing it from its log"),
    ],
)
def test_an_agent_that_loses_a_committed_entry_is_reported(loss: list[TraceEvent], how: str) -> None:
    violation = broken("committed_is_durable", *REPLICATED, *loss)
    assert violation.message.startswith("b lost entry")
    assert how in violation.message


def test_what_is_not_committed_may_be_lost_and_saying_an_entry_again_loses_nothing() -> None:
    again = [append("b", 1, value=None), append("b", 3, 1, "y"), fact("b", "truncate", index=3)]
    assert judge("committed_is_durable", [*REPLICATED, *again]) is None


def test_who_has_not_come_to_the_term_of_a_commitment_may_still_remove_its_copy_at_an_older_leaders_word() -> (
    None
):
    def copies(term_of_d: int, loss: TraceEvent) -> list[TraceEvent]:
        held = [append(agent, 1, 9) for agent in "abcd"]
        committed = [append("a", 2, 11), fact("d", "term", term=term_of_d), commit("a", 2, 11)]
        return [*held, *committed, loss]

    truncate = fact("d", "truncate", index=1)
    assert judge("committed_is_durable", copies(10, truncate)) is None
    broken("committed_is_durable", *copies(11, truncate))
    broken("committed_is_durable", *copies(10, fact("d", "log", entries=[])))


# -- reads -------------------------------------------------------------------------------------------------------------


def test_a_read_that_misses_what_was_committed_before_it_began_is_reported() -> None:
    events = [commit("a", 4), fact("c", "read_request", id=1, at=3 * MS), fact("c", "read", id=1, index=3)]
    violation = broken("no_stale_read", *events)
    assert violation.message == (
        "c answered the read 1 as of index 3; when it began, at 3 ms, a had committed up to index 4"
    )


@pytest.mark.parametrize(
    "events",
    [
        [fact("c", "read_request", id=1), commit("a", 4), fact("c", "read", id=1, index=0)],
        [commit("a", 4), fact("c", "read_request", id=1), fact("c", "read", id=1, index=4)],
        [commit("a", 4), fact("c", "read", id=1, index=0)],
        [commit("a", 4), fact("c", "read_request", id=1), crash("c"), fact("c", "read", id=1, index=0)],
        [commit("a", 4), commit("b", 1), fact("b", "read_request", id=1), fact("c", "read", id=1, index=0)],
    ],
)
def test_other_reads_are_fine(events: list[TraceEvent]) -> None:
    assert judge("no_stale_read", events) is None


# -- commits -----------------------------------------------------------------------------------------------------------


def vote(agent: str, value: Any = "yes") -> TraceEvent:
    return fact(agent, "vote", round=1, value=value)


def test_a_commit_without_all_votes_is_reported() -> None:
    violation = broken("commit_validity", vote("a"), vote("b", "no"), fact("a", "decide", value="commit"))
    assert violation.message == "a committed, although b voted 'no', c did not vote"
    assert violation.agents == ("a", "b", "c")


def test_a_commit_by_all_votes_and_any_abort_are_fine() -> None:
    all_yes = [vote("a"), vote("b", True), vote("c", "commit")]
    assert judge("commit_validity", [*all_yes, fact("a", "decide", value="commit")]) is None
    assert judge("commit_validity", [vote("a"), fact("a", "decide", value="abort")]) is None
