"""The passes of a reduction have shares of simulated work, and of real time where that is up first."""

import pytest

from pytest_convergence.explore.effort import Effort

SECOND = 10_000
"""Steps that stand for a second."""
A_RUN = 100
"""Those that stand for a run in which nobody takes any."""


class Clock:
    """A real clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def effort(clock: Clock) -> Effort:
    return Effort(10.0, clock)


def work(effort: Effort, seconds: float) -> None:
    """Do as much in one run as a slow machine does in so many seconds."""
    effort.ran(int(seconds * SECOND) - A_RUN)


def test_a_share_is_spent_when_so_many_steps_were_taken_though_no_time_has_passed(effort: Effort) -> None:
    work(effort, 5)
    may_go_on = effort.part(1 / 5)
    work(effort, 1.9)
    assert may_go_on()
    work(effort, 0.1)
    assert not may_go_on()


def test_a_share_is_spent_when_its_real_time_is_up_though_hardly_a_step_was_taken(
    effort: Effort, clock: Clock
) -> None:
    may_go_on = effort.part(1 / 5)
    clock.seconds += 2.9  # a share may take half as much again in real time
    assert may_go_on()
    clock.seconds += 0.2
    assert not may_go_on()


def test_time_is_left_for_what_comes_last(effort: Effort, clock: Clock) -> None:
    clock.seconds += 5
    shares = effort.part(1 / 2), effort.until(2 / 3)
    clock.seconds += 1.6
    assert all(may_go_on() for may_go_on in shares)
    clock.seconds += 0.1
    assert not any(may_go_on() for may_go_on in shares)
    assert effort.is_left


def test_a_run_costs_something_even_if_nobody_takes_a_step(effort: Effort) -> None:
    may_go_on = effort.part(1 / 10)
    for _ in range(100):
        assert may_go_on()
        effort.ran(0)
    assert not may_go_on()
    assert effort.runs == 100


def test_a_share_may_be_counted_from_the_beginning(effort: Effort) -> None:
    may_go_on = effort.until(1 / 2)
    work(effort, 4.9)
    assert may_go_on()
    assert effort.until(1 / 2)()
    assert not effort.until(1 / 4)()


def test_what_follows_does_not_wait_for_ever_where_steps_take_long(effort: Effort, clock: Clock) -> None:
    may_go_on = effort.until(2 / 5)
    clock.seconds += 4.9
    assert may_go_on()
    clock.seconds += 0.2
    assert not may_go_on()
    assert effort.until(2 / 3)()


def test_a_share_from_the_beginning_is_spent_by_steps(effort: Effort) -> None:
    may_go_on = effort.until(1 / 2)
    work(effort, 4.9)
    assert may_go_on()
    work(effort, 0.1)
    assert not may_go_on()


def test_half_of_what_is_left_is_a_share_too(effort: Effort, clock: Clock) -> None:
    work(effort, 4)
    may_go_on = effort.half_of_the_rest()
    work(effort, 2.9)
    assert may_go_on()
    work(effort, 0.1)
    assert not may_go_on()
    clock.seconds += 8
    may_go_on = Effort(10.0, clock).half_of_the_rest()
    assert may_go_on()
    clock.seconds += 5
    assert not may_go_on()


def test_only_real_time_ends_the_whole(effort: Effort, clock: Clock) -> None:
    work(effort, 1_000)
    assert effort.is_left
    clock.seconds += 10
    assert effort.seconds == 10
    assert not effort.is_left
    assert not Effort(0.0, clock).is_left
