"""Long faults take the place of several short deviations, where the failure comes about all the same."""

from collections.abc import Callable, Sequence

import pytest

from pytest_convergence._engine.base.survey import Lasting, Step, Survey
from pytest_convergence._engine.sim.faults import _USUAL
from pytest_convergence._engine.sim.isolating import Isolation
from pytest_convergence.explore.coarsening import Coarsener
from pytest_convergence.explore.shrinking import Deviation, Shrinker

Deviations = tuple[Deviation, ...]

MS = 1_000_000
NAMES = "abc"
FOUND = tuple(
    Deviation(0, label, 7)
    for label in ("deliver a→b #1", "deliver b→a #1", "deliver a→c #1", "crash b #9", "deliver b→c #1")
)
"""The last one has nothing to do with ``a``."""
MOMENTS = dict(zip((one.label for one in FOUND), (10 * MS, 20 * MS, 30 * MS, 35 * MS, 40 * MS), strict=True))
WITHOUT_A = set(FOUND[:3])


def survey(_: Deviations) -> Sequence[Survey | None]:
    isolations = {name: Isolation([other for other in NAMES if other != name]) for name in NAMES}
    return [
        Survey(
            steps=[Step(number * 5 * MS, name, number) for number in range(1, 11) for name in NAMES],
            moments=MOMENTS,
            faults={f"isolate {name}": each for name, each in isolations.items()},
        )
    ]


def isolates_a(candidate: Deviations) -> bool:
    """Whether ``a`` is cut off alone, from before the first message on and until the last one."""
    for one in candidate:
        if one.label in ("isolate a #1", "isolate a #2"):
            domain = Isolation(["b", "c"])
            begins_ns = MOMENTS["deliver a→b #1"] - (0 if one.label.endswith("2") else 5 * MS)
            if not domain.companions(one.option):
                return begins_ns + domain.duration_ns(one.option) > MOMENTS["deliver a→c #1"]
    return False


def fails(candidate: Deviations) -> bool:
    """Nobody hears ``a``, nor ``a`` anybody; and c does not hear b, whatever becomes of a."""
    return FOUND[4] in candidate and (set(candidate) >= WITHOUT_A or isolates_a(candidate))


def drop(fails: Callable[[Deviations], bool]) -> Callable[[Deviations], Deviations]:
    return Shrinker(fails, lambda _: (), lambda: True).drop


def coarsen(found: Deviations, *, may_go_on: bool = True, most: int = 1_000) -> Deviations:
    coarsener = Coarsener(fails, drop(fails), survey, lambda: may_go_on, most=most)
    return coarsener.coarsen(found)


def test_an_agent_whom_nobody_heard_was_cut_off() -> None:
    least = coarsen(tuple(one for one in FOUND if not one.label.startswith("crash")))
    assert len(least) == 2
    assert isolates_a(least)
    assert FOUND[4] in least


def test_the_fault_stands_where_it_begins() -> None:
    fault, late = coarsen(FOUND)
    assert fault.label.startswith("isolate a")
    assert late == FOUND[4]


def test_what_concerns_one_agent_may_be_needless_too() -> None:
    def needs_a_crash(candidate: Deviations) -> bool:
        return FOUND[4] in candidate and (set(candidate) >= {*FOUND[:1], FOUND[3]} or isolates_a(candidate))

    found = (FOUND[0], FOUND[3], FOUND[4])
    least = Coarsener(needs_a_crash, drop(needs_a_crash), survey, lambda: True, most=1_000).coarsen(found)
    assert len(least) == 2
    assert isolates_a(least)


@pytest.mark.parametrize("found", [(), FOUND[:1], FOUND[:2]])
def test_two_deviations_are_left_alone(found: Deviations) -> None:
    def fails(_: Deviations) -> bool:
        raise AssertionError

    assert Coarsener(fails, drop(fails), survey, lambda: True).coarsen(found) == found


def test_nothing_is_tried_when_the_time_is_up() -> None:
    assert coarsen(FOUND, may_go_on=False) == FOUND
    assert coarsen(FOUND, most=0) == FOUND


def test_nothing_is_known_of_a_run_that_was_not_surveyed() -> None:
    assert Coarsener(fails, drop(fails), lambda _: [None], lambda: True).coarsen(FOUND) == FOUND


def test_a_fault_that_no_failure_comes_of_is_no_substitute() -> None:
    def fails(candidate: Deviations) -> bool:
        return set(candidate) >= set(FOUND)

    assert Coarsener(fails, drop(fails), survey, lambda: True, most=1_000).coarsen(FOUND) == FOUND


@pytest.mark.parametrize(("kind", "companions"), [("pause", [()]), ("crash", [()])])
def test_outages_of_a_length_are_named(kind: str, companions: list[tuple[str, ...]]) -> None:
    domain = _USUAL[kind]
    assert isinstance(domain, Lasting)
    options = domain.lasting(30 * MS)
    assert [domain.companions(option) for option in options] == companions
    assert all("30 ms" in domain.describe(option) for option in options)


def test_isolations_of_a_length_are_named_alone_and_with_each_other_agent() -> None:
    domain = Isolation(["b", "c"])
    options = domain.lasting(30 * MS)
    assert [domain.companions(option) for option in options] == [[], ["b"], ["c"]]
    assert {domain.duration_ns(option) for option in options} == {30 * MS}
    assert [Isolation(["b"]).companions(option) for option in Isolation(["b"]).lasting(MS)] == [[]]
