"""Logical clocks, against public vectors and by their laws."""

import copy
import json
import pickle
from itertools import permutations
from pathlib import Path

import pytest

from pytest_convergence._engine.base.clocks import ClockDriftError, HybridClock, LamportClock, VectorClock
from pytest_convergence.errors import ConvergenceUsageError


@pytest.fixture(scope="module")
def data(vectors: Path) -> dict:
    return json.loads((vectors / "clocks" / "vector_clock.json").read_text())


def _clock(counts: list[int]) -> VectorClock:
    return VectorClock({f"agent-{place}": count for place, count in enumerate(counts)})


def _relation(a: VectorClock, b: VectorClock) -> str:
    found = [
        name
        for name, holds in [
            ("equal", a == b), ("before", a < b), ("after", a > b), ("concurrent", a.concurrent_with(b)),
        ]
        if holds
    ]  # fmt: skip
    assert len(found) == 1
    return found[0]


def test_comparison_agrees_with_the_published_cases(data: dict) -> None:
    for case in data["compare"]:
        assert _relation(_clock(case["a"]), _clock(case["b"])) == case["expect"], case


def test_merge_agrees_with_the_published_cases(data: dict) -> None:
    for case in data["merge"]:
        assert _clock(case["a"]) | _clock(case["b"]) == _clock(case["expect"]), case
    for case in data["merge_named"]:
        for clocks in permutations(case["clocks"]):
            merged = VectorClock()
            for counts in clocks:
                merged |= VectorClock(counts)
            assert merged == VectorClock(case["expect"]), case


def test_tick_agrees_with_the_published_cases(data: dict) -> None:
    for case in data["increment"]:
        clock = _clock(case["start"])
        for place in case["at"]:
            clock = clock.tick(f"agent-{place}")
        assert clock == _clock(case["expect"]), case


def test_covering_agrees_with_the_published_cases(data: dict) -> None:
    for case in data["descends"]["cases"]:
        assert (VectorClock(case["x"]) >= VectorClock(case["y"])) is case["expect"], case
    for case in data["subtract_dots"]:
        clock = VectorClock(case["clock"])
        left = {agent: count for agent, count in case["dots"].items() if not clock.covers(agent, count)}
        assert left == case["expect"]


def test_equal_clocks_have_equal_hashes(data: dict) -> None:
    for a, b in data["equal_implies_equal_hash"]:
        assert _clock(a) == _clock(b)
        assert hash(_clock(a)) == hash(_clock(b))


def test_an_agent_that_a_clock_does_not_name_counts_zero() -> None:
    clock = VectorClock({"a": 2, "b": 0})
    assert clock["a"] == 2
    assert clock["b"] == clock["nobody"] == 0
    assert "b" not in clock
    assert clock.get("nobody") == 0
    assert clock.get("nobody", None) is None
    assert len(clock) == 1
    assert clock.total() == 2


def test_a_clock_is_walked_and_printed_in_the_order_of_names() -> None:
    clock = VectorClock({"b": 1, "a": 2})
    assert list(clock) == ["a", "b"]
    assert list(clock.items()) == [("a", 2), ("b", 1)]
    assert dict(clock) == {"a": 2, "b": 1}
    assert repr(clock) == "VectorClock({'a': 2, 'b': 1})"


def test_the_meet_is_what_both_clocks_know() -> None:
    assert VectorClock({"a": 2, "b": 1}) & VectorClock({"a": 1, "c": 4}) == VectorClock({"a": 1})


def test_a_clock_cannot_be_changed() -> None:
    clock = VectorClock({"a": 1})
    with pytest.raises(AttributeError, match="immutable"):
        clock._counts = {}
    with pytest.raises(AttributeError, match="immutable"):
        del clock._counts
    with pytest.raises(AttributeError):
        clock.extra = 1  # type: ignore[attr-defined]
    clock.tick("a")
    assert clock == VectorClock({"a": 1})


def test_a_clock_is_independent_of_the_mapping_it_was_made_from() -> None:
    counts = {"a": 1}
    clock = VectorClock(counts)
    counts["a"] = 9
    assert clock["a"] == 1
    assert VectorClock(clock) == clock


def test_a_copied_or_pickled_clock_is_equal() -> None:
    clock = VectorClock({"a": 1, "b": 3})
    assert copy.copy(clock) == copy.deepcopy(clock) == pickle.loads(pickle.dumps(clock)) == clock


def test_a_clock_does_not_compare_with_other_things() -> None:
    clock = VectorClock({"a": 1})
    assert clock != {"a": 1}
    for operation in ("__lt__", "__le__", "__gt__", "__ge__", "__or__", "__and__", "__eq__"):
        assert getattr(clock, operation)({"a": 1}) is NotImplemented


@pytest.mark.parametrize("counts", [{"a": -1}, {"a": 1.0}, {"a": True}, {"a": None}, {1: 1}])
def test_a_count_that_is_no_count_is_refused(counts: dict) -> None:
    with pytest.raises(ConvergenceUsageError, match="vector clock"):
        VectorClock(counts)


def test_a_tick_of_something_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match="by agent name"):
        VectorClock().tick(3)  # type: ignore[arg-type]


def test_lamport_reception_is_after_both_sides() -> None:
    sent = LamportClock(agent="a").tick()
    received = LamportClock(5, "b").receive(sent)
    assert sent == LamportClock(1, "a")
    assert received == LamportClock(6, "b")
    assert LamportClock(0, "b").receive(LamportClock(7, "a")) == LamportClock(8, "b")


def test_lamport_ties_are_ordered_by_name() -> None:
    assert LamportClock(1, "a") < LamportClock(1, "b") < LamportClock(2, "a")
    with pytest.raises(ConvergenceUsageError, match="from 0 up"):
        LamportClock(-1)


def test_hybrid_clock_follows_physical_time_while_it_moves() -> None:
    assert HybridClock().tick(10) == HybridClock(10, 0)
    assert HybridClock(10, 3).tick(11) == HybridClock(11, 0)


def test_hybrid_clock_counts_when_physical_time_stands_or_goes_back() -> None:
    assert HybridClock(10, 0).tick(10) == HybridClock(10, 1)
    assert HybridClock(10, 1).tick(4) == HybridClock(10, 2)


@pytest.mark.parametrize(
    ("own", "other", "physical_ns", "expected"),
    [
        (HybridClock(10, 1), HybridClock(10, 4), 9, HybridClock(10, 5)),
        (HybridClock(10, 1), HybridClock(8, 4), 9, HybridClock(10, 2)),
        (HybridClock(8, 1), HybridClock(10, 4), 9, HybridClock(10, 5)),
        (HybridClock(8, 1), HybridClock(9, 4), 12, HybridClock(12, 0)),
    ],
)
def test_hybrid_reception_is_after_both_sides(own, other, physical_ns, expected) -> None:
    received = own.receive(other, physical_ns)
    assert received == expected
    assert received > own
    assert received > other


def test_hybrid_clock_refuses_a_timestamp_too_far_ahead() -> None:
    clock = HybridClock(10, 0)
    assert clock.receive(HybridClock(15, 0), 10, max_drift_ns=5) == HybridClock(15, 1)
    with pytest.raises(ClockDriftError, match=r"6 ns ahead .* at most 5 ns"):
        clock.receive(HybridClock(16, 0), 10, max_drift_ns=5)
    with pytest.raises(ConvergenceUsageError, match="no negative parts"):
        HybridClock(-1, 0)
