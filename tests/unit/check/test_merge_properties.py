"""The properties of parallel merges, fact by fact."""

from typing import Any

import pytest

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Scope, Violation
from tests.unit.check.events import MS, THREE, crash, event, fact, judge

SECOND = 1000 * MS


def begin(number: int = 1, *, at: int = 0, **data: Any) -> TraceEvent:
    return fact("a", "round", at=at, round=number, parts=["x", "y"], **data)


def count(part: str, value: Any = 1, *, number: int = 1, by: str | None = None, at: int = 0) -> TraceEvent:
    return fact("a", "part_counted", at=at, round=number, part=part, by=by or part, value=value)


def merged(value: Any = None, *, number: int = 1, at: int = 0, **data: Any) -> TraceEvent:
    return fact("a", "merged", at=at, round=number, value=value, **data)


def said(violation: Violation | None) -> str:
    assert violation is not None
    return violation.message


# -- each_part_once, hedge_idempotent ----------------------------------------------------------------------------------


def test_a_part_that_counts_twice_is_reported() -> None:
    assert judge("each_part_once", [begin(), count("x"), count("y"), count("x", number=2)]) is None
    assert said(judge("each_part_once", [begin(), count("x"), count("x")])) == (
        "a counted the part 'x' of round 1 twice, both times by x"
    )


def test_what_is_no_part_of_the_round_does_not_count() -> None:
    assert "which has no such part" in said(judge("each_part_once", [begin(), count("z")]))
    assert judge("each_part_once", [count("z")]) is None  # nobody said what the parts are


def test_after_a_restart_counts_what_the_agent_says_that_it_kept() -> None:
    lost = [begin(), count("x"), crash("a"), begin(), count("x")]
    kept = [begin(), count("x"), crash("a"), begin(counted=["x"]), count("x")]
    assert judge("each_part_once", lost) is None
    assert judge("each_part_once", kept) is not None


def test_a_hedge_that_counts_beside_the_first_is_reported() -> None:
    assert judge("hedge_idempotent", [begin(), count("x"), count("x")]) is None
    assert said(judge("hedge_idempotent", [begin(), count("x"), count("x", by="y")])) == (
        "a counted the part 'x' of round 1 by x and once more by y, who was asked for the same"
    )


# -- round_isolation ---------------------------------------------------------------------------------------------------


def answer(number: int, value: Any, part: str = "x") -> TraceEvent:
    return fact("x", "part_answered", round=number, part=part, value=value)


def test_an_answer_of_an_earlier_round_is_reported() -> None:
    assert judge("round_isolation", [answer(1, "old"), count("x", "old")]) is None
    assert judge("round_isolation", [answer(1, 5), answer(2, 5), count("x", 5, number=2)]) is None
    early = [answer(1, "old"), answer(2, "new"), count("x", "old", number=2)]
    assert said(judge("round_isolation", early)) == (
        "a counted in round 2 what x had answered to 'x' in round 1"
    )


def test_an_answer_that_was_never_given_is_reported() -> None:
    assert "never gave" in said(judge("round_isolation", [answer(1, 1), count("x", 2)]))


def test_where_nobody_says_what_was_answered_there_is_nothing_to_judge_by() -> None:
    assert judge("round_isolation", [count("x")]) is None
    silent = fact("x", "part_answered", round=1)
    assert judge("round_isolation", [silent, count("x")]) is None


class Opaque:
    """Equal to nothing but itself, so that no copy of it can be told."""


def test_values_that_do_not_compare_are_not_compared() -> None:
    assert judge("round_isolation", [answer(1, Opaque()), count("x", Opaque())]) is None


# -- completeness_or_flag ----------------------------------------------------------------------------------------------


def test_a_result_that_lacks_a_part_says_so() -> None:
    assert judge("completeness_or_flag", [begin(), count("x"), count("y"), merged()]) is None
    assert judge("completeness_or_flag", [begin(), count("x"), merged(missing=["y"])]) is None
    assert said(judge("completeness_or_flag", [begin(), count("x"), merged()])) == (
        "a merged round 1 without 'y', and does not say so"
    )


# -- merge_order_independent -------------------------------------------------------------------------------------------


def listed(results: Any) -> list[Any]:
    return list(results.values())


def order(value: Any, merge: Any = listed, **data: Any) -> Violation | None:
    events = [begin(), count("y", 2), count("x", 1), merged(value, **data)]
    return judge("merge_order_independent", events, Scope(THREE, inputs={"merge": merge}))


def test_a_result_in_the_order_of_arrival_is_reported() -> None:
    assert said(order([2, 1])) == (
        "a merged the parts of round 1 in the order y, x, which gave [2, 1]; in the declared order (x, y) they give [1, 2]"
    )


def test_an_order_that_makes_no_difference_is_none_of_our_business() -> None:
    assert order(3, lambda results: sum(results.values())) is None
    assert order(3, lambda one, other: one + other) is None
    assert order(2, "crdt") is None


def test_the_declared_order_is_taken_at_its_word() -> None:
    def never(results: Any) -> Any:
        raise AssertionError("merged again")

    assert order([1, 2], never, order=["x", "y"]) is None


@pytest.mark.parametrize(
    "merge", [None, lambda agent, results: 1], ids=["no merge", "one that needs an agent"]
)
def test_without_a_merge_that_can_be_asked_nothing_is_reported(merge: Any) -> None:
    assert order([2, 1], merge) is None


def test_parts_that_nobody_declared_or_counted_cannot_be_merged_again() -> None:
    scope = Scope(THREE, inputs={"merge": listed})
    for events in (
        [count("y", 2), count("x", 1), merged([2, 1])],
        [begin(counted=["y"]), count("x", 1), merged([2, 1], order=["y", "x"])],
        [begin(), fact("a", "merged", round=1)],
    ):
        assert judge("merge_order_independent", events, scope) is None


def test_results_that_do_not_compare_are_not_compared() -> None:
    assert order(Opaque(), lambda results: Opaque()) is None


# -- merge_laws --------------------------------------------------------------------------------------------------------


class Value:
    """A user's own value with a merge."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.number == other.number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number})"

    __hash__ = None  # type: ignore[assignment]


class First(Value):
    def merge(self, other: "First") -> "First":
        return self


class Middle(Value):
    """Idempotent and commutative, and yet not associative."""

    def merge(self, other: "Middle") -> "Middle":
        return Middle((self.number + other.number) // 2)


def laws(*values: Any, merge: Any = "crdt") -> Violation | None:
    events = [count(f"part {place}", value) for place, value in enumerate(values)]
    return judge("merge_laws", [begin(), *events, merged()], Scope(THREE, inputs={"merge": merge}))


def test_a_join_that_depends_on_the_order_is_reported() -> None:
    assert said(laws(First(1), First(2))) == (
        "the join of round 1 is not commutative: it gives First(1) and First(2)"
    )
    assert "is not associative" in said(laws(Middle(0), Middle(4), Middle(8)))


def test_the_laws_are_asked_of_joins_alone() -> None:
    assert laws(First(1), First(2), merge=listed) is None


def test_values_without_a_join_have_no_laws_to_keep() -> None:
    assert laws("a", "b", "c") is None
    assert laws([1], [1, 2], [10]) is None
    assert laws({1}, {2}, {3}) is None


# -- straggler_bound ---------------------------------------------------------------------------------------------------

CLOSED = fact("a", "round_closed", at=14 * SECOND, round=1)
END = FinalState(60 * SECOND, THREE)


def test_a_round_that_goes_on_past_its_deadline_is_reported() -> None:
    assert judge("straggler_bound", [begin(deadline=12), CLOSED], final=END) is None
    assert said(judge("straggler_bound", [begin(deadline=8), CLOSED])) == (
        "round 1 of a took 14 s; with its deadline and a quarter it may take 10 s"
    )
    assert judge("straggler_bound", [begin(), CLOSED], final=END) is None  # there is no deadline


def test_the_deadline_begins_anew_with_a_restart() -> None:
    again = begin(deadline=8, at=10 * SECOND)
    assert judge("straggler_bound", [begin(deadline=8), crash("a"), again, CLOSED], final=END) is None


def test_time_for_which_the_agent_was_held_does_not_count() -> None:
    held = [
        event("pause", "a", at=SECOND),
        event("pause", "a", at=SECOND),
        event("resume", "a", at=6 * SECOND),
    ]
    assert judge("straggler_bound", [begin(deadline=8), *held, CLOSED], final=END) is None
    others = [event("pause", "b", at=SECOND), event("resume", "b", at=6 * SECOND)]
    assert judge("straggler_bound", [begin(deadline=8), *others, CLOSED]) is not None
    still = [event("pause", "a", at=SECOND)]
    assert judge("straggler_bound", [begin(deadline=8), *still, CLOSED], final=END) is None


def test_a_round_that_never_ends_is_reported_where_somebody_could_have_ended_it() -> None:
    violation = judge("straggler_bound", [begin(deadline=8)], final=END)
    assert "has not ended after 1 min" in said(violation) or "has not ended after 60 s" in said(violation)
    without = FinalState(60 * SECOND, ("b", "c"))
    assert judge("straggler_bound", [begin(deadline=8)], final=without) is None
    unsettled = FinalState(60 * SECOND, THREE, settled=False)
    assert judge("straggler_bound", [begin(deadline=8)], final=unsettled) is None
