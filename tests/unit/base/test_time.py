"""Virtual time: integers inside, seconds for people."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns, to_ns, to_seconds
from pytest_convergence.errors import ConvergenceUsageError


@given(st.integers(0, 10**15))
def test_nanoseconds_survive_the_way_through_seconds(ns: int):
    assert to_ns(to_seconds(ns)) == ns


def test_whole_numbers_are_seconds_too():
    assert to_ns(3) == 3 * NS_PER_SECOND
    assert to_ns(0.0000000015) == 2


@pytest.mark.parametrize("seconds", [-1, -0.1, math.inf, math.nan, "1", None, True])
def test_what_is_no_time_is_refused_by_name(seconds: object):
    with pytest.raises(ConvergenceUsageError, match="patience must be"):
        to_ns(seconds, "patience")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 us"),
        (7, "7 ns"),
        (1_000, "1 us"),
        (250_500, "250.5 us"),
        (120_000_000, "120 ms"),
        (1_234_567, "1.235 ms"),
        (999_999_999, "1000 ms"),
        (3_500_000_000, "3.5 s"),
        (86_400 * NS_PER_SECOND, "86400 s"),
        (999_123_456_000, "999.123 s"),
        (3_600_123_456_000, "3600.123 s"),
        (10**8 * NS_PER_SECOND + 1_000_000, "100000000.001 s"),
    ],
)
def test_durations_are_written_for_people(ns: int, text: str):
    assert format_ns(ns) == text
