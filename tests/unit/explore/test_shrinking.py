"""A failure is reduced to the deviations that it needs, each as weak as it may be."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.choices import smaller, split_label
from pytest_convergence.explore.shrinking import Deviation, Shrinker

Deviations = tuple[Deviation, ...]


def deviations(number: int, option: int = 100) -> Deviations:
    return tuple(Deviation(0, f"deliver a→b #{place}", option) for place in range(1, number + 1))


def no_weaker(_: Deviation) -> Sequence[int]:
    return ()


def always() -> bool:
    return True


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=4))
def test_what_is_left_is_exactly_what_the_failure_needs(number: int, places: set[int]) -> None:
    found = deviations(number)
    needed = {found[place] for place in places if place < number}
    least = Shrinker(lambda candidate: needed <= set(candidate), no_weaker, always).shrink(found)
    assert set(least) == needed


def test_a_failure_that_needs_one_of_two_keeps_one() -> None:
    one, other = found = deviations(2)
    least = Shrinker(lambda candidate: one in candidate or other in candidate, no_weaker, always).shrink(
        found
    )
    assert len(least) == 1


def test_nothing_is_left_of_a_failure_that_is_always_there() -> None:
    shrinker = Shrinker(lambda _: True, no_weaker, always)
    assert shrinker.shrink(deviations(300)) == ()
    assert shrinker.runs == 1


def test_whole_kinds_and_agents_go_first() -> None:
    """Interleaved with the rest, they would cost delta debugging hundreds of runs."""
    found = tuple(
        Deviation(0, label, 100)
        for step in range(1, 101)
        for label in (f"stall a #{step}", f"timer a/wake #{step}", f"deliver b→c #{step}", f"crash c #{step}")
    )
    needed = {Deviation(0, "crash c #40", 100), Deviation(0, "deliver b→c #80", 100)}
    shrinker = Shrinker(lambda candidate: needed <= set(candidate), no_weaker, always)
    assert set(shrinker._drop_groups(found)) == {
        one for one in found if one.label.startswith(("crash", "deliver"))
    }
    assert shrinker.runs <= 9
    assert set(shrinker.shrink(found)) == needed


@pytest.mark.parametrize("least_option", [1, 7, 50, 99, 100])
def test_options_become_as_weak_as_the_failure_allows(least_option: int) -> None:
    def fails(candidate: Deviations) -> bool:
        return any(one.option >= least_option for one in candidate)

    (left,) = Shrinker(fails, lambda one: smaller(one.option), always).shrink(deviations(1))
    assert least_option <= left.option < 2 * least_option or left.option == 100


def test_what_is_weaker_is_not_kept_if_the_failure_goes() -> None:
    found = deviations(3)
    shrinker = Shrinker(lambda candidate: candidate == found, lambda one: smaller(one.option), always)
    assert shrinker.shrink(found) == found


def test_no_candidate_is_run_twice() -> None:
    seen: list[Deviations] = []

    def fails(candidate: Deviations) -> bool:
        seen.append(candidate)
        return {one.label for one in candidate} >= {"deliver a→b #3", "deliver a→b #9"}

    shrinker = Shrinker(fails, lambda one: smaller(one.option), always)
    shrinker.shrink(deviations(12))
    assert len(seen) == len(set(seen)) == shrinker.runs


def test_three_hundred_deviations_take_a_hundred_runs_or_so() -> None:
    shrinker = Shrinker(
        lambda candidate: {"deliver a→b #17", "deliver a→b #230"} <= {one.label for one in candidate},
        no_weaker,
        always,
    )
    assert len(shrinker.shrink(deviations(300))) == 2
    assert shrinker.runs < 120


def test_when_the_time_is_up_the_best_so_far_is_returned() -> None:
    left = iter(range(5))
    found = deviations(64)
    shrinker = Shrinker(
        lambda candidate: found[0] in candidate, no_weaker, lambda: next(left, None) is not None
    )
    least = shrinker.shrink(found)
    assert shrinker.runs == 5
    assert found[0] in least
    assert len(least) < len(found)


def at(step: int, who: str = "a") -> Deviation:
    return Deviation(0, f"crash {who} #{step}", 1)


def around(deviation: Deviation) -> list[Deviation]:
    step = int(deviation.label.rpartition("#")[2])
    return [at(other) for away in range(1, 9) for other in (step - away, step + away) if other > 0]


def test_a_fault_at_another_step_may_do_without_those_that_shifted_it():
    late = deviations(3)
    fails = lambda candidate: at(4) in candidate or {at(9), *late} <= set(candidate)  # noqa: E731
    shrinker = Shrinker(
        fails, no_weaker, always, elsewhere=lambda one: around(one) if "crash" in one.label else ()
    )
    assert shrinker.shrink((at(9), *late)) == (at(4),)


def test_moving_a_fault_drops_one_after_another():
    one, two, needed = deviations(3)
    ways = [{at(9), one, two, needed}, {at(8), two, needed}, {at(7), needed}]
    fails = lambda candidate: any(way <= set(candidate) for way in ways)  # noqa: E731
    shrinker = Shrinker(
        fails, no_weaker, always, elsewhere=lambda each: around(each) if "crash" in each.label else ()
    )
    assert set(shrinker.shrink((at(9), one, two, needed))) == {at(7), needed}


def test_nothing_is_moved_without_time_or_company():
    tried: list[tuple[Deviation, ...]] = []

    def fails(candidate: tuple[Deviation, ...]) -> bool:
        tried.append(candidate)
        return at(9) in candidate

    Shrinker(fails, no_weaker, always, elsewhere=around).shrink((at(9),))
    Shrinker(fails, no_weaker, always, elsewhere=around, may_move=lambda: False).shrink(
        (at(9), *deviations(1))
    )
    assert all(one == at(9) or "crash" not in one.label for candidate in tried for one in candidate)


@pytest.mark.parametrize("number", [2, 7])
def test_a_fault_at_another_step_may_need_one_of_many_only(number: int) -> None:
    """Six deviations that together bring step 25 to where the crash does harm; with one loss alone that is step 4."""
    loss, crash = Deviation(0, f"deliver a→b #{number}", 1), Deviation(0, "crash a #25", 1)
    needed = loss._replace(label="deliver a→b #2")
    found = (*deviations(1), loss, *(Deviation(0, f"stall c #{step}", 1) for step in (1, 2, 3)), crash)

    def fails(candidate: Deviations) -> bool:
        return candidate == found or candidate == (needed, crash._replace(label="crash a #4"))

    def elsewhere(deviation: Deviation) -> Sequence[Deviation]:
        if deviation != crash:
            return ()
        return [deviation._replace(label=f"crash a #{step}") for step in range(24, 15, -1)]

    def earlier(deviation: Deviation) -> Sequence[Deviation]:
        stem, number = split_label(deviation.label)
        return [deviation._replace(label=f"{stem} #{each}") for each in range(1, number + 1)]

    shrinker = Shrinker(fails, no_weaker, always, elsewhere=elsewhere, earlier=earlier)
    assert shrinker.shrink(found) == (needed, crash._replace(label="crash a #4"))


def test_what_came_last_is_dropped_first_where_without_the_first_everything_comes_differently() -> None:
    found = deviations(500)
    needed = {found[20], found[400]}

    def fails(candidate: Deviations) -> bool:
        """What comes after something that was left out comes differently, but for what does the harm."""
        as_before = next(
            (place for place, one in enumerate(candidate) if one != found[place]), len(candidate)
        )
        return needed <= set(candidate) and set(candidate[as_before:]) <= needed

    shrinker = Shrinker(fails, no_weaker, always)
    assert set(shrinker.drop(found)) == needed
    assert shrinker.runs < 80
