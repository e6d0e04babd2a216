"""What lasts, from the event that begins it to the one that ends it."""

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence.explore.report.spans import Span, spans_of


def rule(at_ns: int, words: str, what: str) -> TraceEvent:
    return TraceEvent(0, at_ns, "rule", "a", None, {"rule": words, "what": what})


def test_a_crash_ends_a_pause() -> None:
    events = [
        TraceEvent(0, 1, "pause", "a"),
        TraceEvent(1, 2, "crash", "a"),
        TraceEvent(2, 3, "restart", "a"),
    ]
    assert spans_of(events) == [Span("pause", "a", "", 1, 2), Span("crash", "a", "", 2, 3)]


def test_what_does_not_end_is_open_and_what_began_earlier_is_unknown() -> None:
    assert spans_of([TraceEvent(0, 1, "resume", "a"), TraceEvent(1, 2, "crash", "b")]) == [
        Span("crash", "b", "", 2, None)
    ]


def test_equal_rules_end_in_the_order_of_their_beginning() -> None:
    events = [
        rule(1, "drop", "began"),
        rule(2, "drop", "began"),
        rule(3, "drop", "healed"),
        rule(4, "drop", "healed"),
    ]
    assert spans_of(events) == [Span("rule", None, "drop", 1, 3), Span("rule", None, "drop", 2, 4)]


def test_a_stall_says_itself_how_long_it_lasts() -> None:
    assert spans_of([TraceEvent(0, 5, "stall", "a", None, {"step": 1, "us": 2})]) == [
        Span("stall", "a", "", 5, 2_005)
    ]
