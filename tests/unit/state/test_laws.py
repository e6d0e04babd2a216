"""The laws of a merge, on merges that keep them and merges that break exactly one."""

import pytest

from pytest_convergence._engine.state.laws import MAX_STATES, MergeLawViolation, assert_merge_laws
from pytest_convergence.errors import ConvergenceUsageError

STATES = [{"n": 1}, {"n": 2, "t": "x"}, {"t": "y"}]


def _greatest(x: dict, y: dict) -> dict:
    return {key: max(state[key] for state in (x, y) if key in state) for key in {*x, *y}}


def _broken(merge, states=STATES) -> MergeLawViolation:
    with pytest.raises(MergeLawViolation) as caught:
        assert_merge_laws(merge, states)
    assert isinstance(caught.value, AssertionError)
    return caught.value


def test_a_join_keeps_the_laws() -> None:
    assert_merge_laws(_greatest, STATES)
    assert_merge_laws(_greatest, iter(STATES))
    assert_merge_laws(_greatest, {"a": {"n": 1}, "b": {"n": 2}})


def test_last_arrival_wins_is_not_commutative() -> None:
    def last_arrival_wins(x: dict, y: dict) -> dict:
        return {**x, **y}

    violation = _broken(last_arrival_wins, [{"n": 1}, {"n": 2}])
    assert violation.law == "commutative"
    assert violation.inputs == ({"n": 1}, {"n": 2})
    assert violation.results == ({"n": 2}, {"n": 1})
    assert str(violation) == (
        "last_arrival_wins is not commutative\n"
        "  x = {'n': 1}\n"
        "  y = {'n': 2}\n"
        "  merge(x, y) = {'n': 2}\n"
        "  merge(y, x) = {'n': 1}"
    )


def test_summed_counters_are_not_idempotent() -> None:
    violation = _broken(lambda x, y: {"n": x["n"] + y["n"]}, [{"n": 1}])
    assert violation.law == "idempotent"
    assert "merge(x, x) = {'n': 2}" in str(violation)


def test_an_average_is_not_associative() -> None:
    violation = _broken(lambda x, y: (x + y) / 2, [0.0, 1.0])
    assert violation.law == "associative"


def test_a_merge_that_counts_a_second_time_is_not_idempotent() -> None:
    def count_when_different(x: frozenset, y: frozenset) -> frozenset:
        return x | y | ({"seen"} if x != y and "seen" not in x | y else {"again"} if x != y else set())

    assert _broken(count_when_different, [frozenset({1}), frozenset({2})]).law in (
        "idempotent",
        "associative",
    )


def test_a_merge_that_changes_its_argument_is_not_pure() -> None:
    def update(x: dict, y: dict) -> dict:
        x.update(y)
        return x

    violation = _broken(update, [{"n": 1}, {"t": 2}])
    assert violation.law == "pure"
    assert "it changed its first argument" in str(violation)


def test_states_are_copied_and_bounded() -> None:
    states = [{"n": [number]} for number in range(MAX_STATES + 5)]
    seen: list[int] = []

    def longest(x: dict, y: dict) -> dict:
        seen.append(max(x["n"][0], y["n"][0]))
        return max(x, y, key=lambda state: state["n"])

    assert_merge_laws(longest, states)
    assert max(seen) == MAX_STATES - 1


def test_nothing_to_check_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match="at least one state"):
        assert_merge_laws(_greatest, [])
    with pytest.raises(ConvergenceUsageError, match="must be a function"):
        assert_merge_laws("union", STATES)  # type: ignore[arg-type]
