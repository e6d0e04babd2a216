"""A verdict comes with the few facts that prove it."""

from collections.abc import Mapping

import pytest

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.committed_is_durable import COMMITTED_IS_DURABLE
from pytest_convergence._engine.check.election_safety import ELECTION_SAFETY
from pytest_convergence._engine.check.evidence import evidence
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.no_acked_loss import NO_ACKED_LOSS
from pytest_convergence._engine.check.predicates import Always
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

SCOPE = Scope(("a", "b", "c"))


def said(*facts: tuple[str, str, Mapping[str, object]]) -> list[TraceEvent]:
    """Events of agents that say something, a nanosecond apart."""
    return [
        TraceEvent(number, number, "observe", agent, None, {"fact": fact, **data})
        for number, (agent, fact, data) in enumerate(facts)
    ]


def proof(prop: Property, events: list[TraceEvent], final: FinalState | None = None) -> list[int]:
    """The places of the facts that prove the first violation."""
    monitor = Monitor((prop,), SCOPE)
    found = monitor.feed_all(events) or (() if final is None else monitor.finish(final))
    return [event.index for event in evidence(prop, SCOPE, events, found[0], final)]


def test_two_leaders_of_a_term_are_the_proof_out_of_a_long_election():
    events = said(
        *[("c", "term", {"term": number}) for number in range(50)],
        ("a", "leader", {"term": 7}),
        *[("c", "leader", {"term": 8 + number}) for number in range(50)],
        ("b", "leader", {"term": 7}),
        ("c", "leader", {"term": 99}),
    )
    assert proof(ELECTION_SAFETY, events) == [50, 101]


def test_a_lost_entry_is_proved_by_who_wrote_it_who_committed_it_and_who_lost_it():
    events = said(
        ("a", "append", {"index": 1, "term": 1, "value": "x"}),
        ("b", "append", {"index": 1, "term": 1, "value": "x"}),
        ("c", "append", {"index": 1, "term": 1, "value": "x"}),
        ("a", "commit", {"index": 1, "term": 1}),
        ("c", "commit", {"index": 1, "term": 1}),
        ("b", "truncate", {"index": 1}),
    )
    assert proof(COMMITTED_IS_DURABLE, events) == [1, 2, 4, 5], "of several proofs the latest facts stay"


def test_what_is_judged_at_the_end_is_proved_by_what_was_said_and_what_never_came():
    events = said(
        ("a", "feed", {"item": 1}),
        ("b", "ack", {"item": 1}),
        ("b", "ack", {"item": 2}),
        ("b", "effect", {"item": 2}),
    )
    assert proof(NO_ACKED_LOSS, events, FinalState(9, core=("a", "b", "c"))) == [1]


def test_a_predicate_of_the_tests_own_reads_no_facts():
    violation = Violation("calm", "it was not", 3)
    events = said(("a", "leader", {"term": 1}))
    assert evidence(Always("calm", lambda _: False), SCOPE, events, violation, None) == ()


def test_nothing_is_told_where_the_facts_do_not_prove_it():
    events = said(("a", "leader", {"term": 1}))
    assert evidence(ELECTION_SAFETY, SCOPE, events, Violation("election_safety", "two", 3), None) == ()


class Fussy:
    """A checker of a user's that wants all that there was."""

    kinds = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self.seen: list[TraceEvent] = []

    def feed(self, event: TraceEvent) -> Violation | None:
        self.seen.append(event)
        if self.seen[0].index:
            raise LookupError("the first one is missing")
        return Violation("fussy", "enough", event.at_ns) if len(self.seen) == 3 else None

    def finish(self, final: FinalState) -> None:
        return None


@pytest.mark.parametrize("number", [3, 4])
def test_a_checker_that_fails_on_a_part_of_a_run_has_no_evidence(number: int):
    events = said(*[("a", "note", {"n": n}) for n in range(number)])
    fussy = Property("fussy", Kind.ALWAYS, "", Fussy)
    assert evidence(fussy, SCOPE, events, Violation("fussy", "enough", 2), None) == ()


class Counts(Fussy):
    """A checker that needs a great many facts."""

    def feed(self, event: TraceEvent) -> Violation | None:
        self.seen.append(event)
        return Violation("counts", "enough", event.at_ns) if len(self.seen) == 3_000 else None


def test_too_many_facts_are_no_evidence():
    events = said(*[("a", "note", {"n": n}) for n in range(3_000)])
    counts = Property("counts", Kind.ALWAYS, "", Counts)
    assert evidence(counts, SCOPE, events, Violation("counts", "enough", 2_999), None) == ()
