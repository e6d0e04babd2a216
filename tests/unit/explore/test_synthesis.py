"""Of a failure that is known, small schedules are thought out that may fail in the same way."""

from collections.abc import Callable

import pytest

from pytest_convergence import Network
from pytest_convergence._engine.base.survey import Sent, Step, Survey
from pytest_convergence._engine.sim.conditions import FateDomain
from pytest_convergence._engine.sim.isolating import Isolation
from pytest_convergence.explore.shrinking import Deviation
from pytest_convergence.explore.synthesis import synthesize

Deviations = tuple[Deviation, ...]

MS = 1_000_000
NAMES = "abc"
LATE = Network(latency=(0.001, 0.5), reorder=0.1, loss=0.1)
CALM = Survey(
    steps=[Step(number * 10 * MS, name, number) for number in range(1, 40) for name in NAMES],
    faults={
        **{f"isolate {name}": Isolation([other for other in NAMES if other != name]) for name in NAMES},
        "deliver b→a": FateDomain(LATE),
        "deliver c→a": FateDomain(LATE),
    },
    sent=[
        Sent("deliver a→b #1", "ask", 10 * MS, 20 * MS),
        Sent("deliver b→a #1", "vote", 20 * MS, 30 * MS),
        Sent("deliver c→a #1", "vote", 20 * MS, 30 * MS),
        *(Sent(f"deliver b→a #{number}", "beat", number * 10 * MS, 0) for number in range(4, 40)),
    ],
)
"""``a`` asks the others for a vote, and has theirs at 30 ms."""


def thought_out(
    fails: Callable[[Deviations], bool], decisive: str = "vote", *, may_go_on: bool = True
) -> tuple[Deviations | None, list[Deviations], list[int]]:
    tried: list[Deviations] = []
    horizons: list[int] = []

    def run(candidate: Deviations, horizon_ns: int) -> bool:
        tried.append(candidate)
        horizons.append(horizon_ns)
        return fails(candidate)

    found = synthesize(run, {decisive} - {""}, CALM, 0, 1_000 * MS, lambda: may_go_on)
    return found, tried, horizons


def is_the_bug(candidate: Deviations) -> bool:
    """``a`` is cut off as the others vote, and one of the votes comes late."""
    labels = {one.label for one in candidate}
    return "isolate a #3" in labels and "deliver c→a #1" in labels


def test_an_outage_and_a_late_message_are_found() -> None:
    found, tried, _ = thought_out(is_the_bug)
    assert found is not None
    assert is_the_bug(found)
    assert found == tried[-1]
    assert len(tried) < 200


def test_it_is_the_same_each_time() -> None:
    assert thought_out(is_the_bug) == thought_out(is_the_bug)


def test_only_what_decides_is_disturbed_and_at_the_instants_at_which_it_does() -> None:
    found, tried, _ = thought_out(lambda _: False)
    assert found is None
    assert len(tried) == 1_000
    assert {one.label for candidate in tried for one in candidate} == {
        "deliver b→a #1",
        "deliver c→a #1",
        *(f"isolate {name} #{step}" for name in NAMES for step in (2, 3)),
    }
    assert {len(candidate) for candidate in tried} == {1, 2}


def test_a_fault_that_is_alone_may_strike_later_messages_too() -> None:
    found, tried, horizons = thought_out(lambda candidate: len(candidate) == 1, "beat")
    assert found is not None
    _, tried, horizons = thought_out(lambda _: False, "beat")
    pairs = {one.label for candidate in tried for one in candidate if len(candidate) == 2}
    alone = {one.label for candidate in tried for one in candidate if len(candidate) == 1}
    assert {label for label in pairs if "deliver" in label} == {f"deliver b→a #{n}" for n in range(4, 10)}
    assert {label for label in alone if "deliver" in label} == {f"deliver b→a #{n}" for n in range(4, 20)}
    for candidate, horizon_ns in zip(tried, horizons, strict=True):
        if candidate[0].label == "deliver b→a #19":
            assert horizon_ns > 190 * MS


def test_a_run_is_given_up_soon_after_its_faults_are_over() -> None:
    _, tried, horizons = thought_out(lambda _: False)
    for candidate, horizon_ns in zip(tried, horizons, strict=True):
        for each in candidate:
            if each.label.startswith("isolate"):
                lasts_ns = Isolation(["b", "c"]).duration_ns(each.option)
                assert horizon_ns >= 30 * MS + lasts_ns or lasts_ns == MS


def test_long_faults_are_tried_less_often_than_short_ones() -> None:
    _, _, horizons = thought_out(lambda _: False)
    assert sum(horizon > 500 * MS for horizon in horizons) < len(horizons) / 5
    assert max(horizons) > 300 * MS


@pytest.mark.parametrize("decisive", ["", "unheard-of"])
def test_nothing_is_thought_out_if_nobody_knows_what_decides(decisive: str) -> None:
    assert thought_out(lambda _: True, decisive) == (None, [], [])


def test_nothing_is_tried_when_the_time_is_up() -> None:
    assert thought_out(lambda _: True, may_go_on=False) == (None, [], [])


def test_messages_of_links_that_cannot_be_disturbed_are_left_alone() -> None:
    _, tried, _ = thought_out(lambda _: False, "ask")
    assert {one.label.partition(" ")[0] for candidate in tried for one in candidate} == {"isolate"}


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Network(latency=0.001), []),
        (Network(latency=(0.001, 0.5)), ["delayed 40 ms"]),
        (Network(latency=0.001, loss=0.1), ["lost"]),
        (Network(latency=0.01, duplicate=0.1), ["duplicated, the copy 40 ms later"]),
        (Network(latency=0.001, duplicate=0.1), ["duplicated, the copy 4 ms later"]),
        (LATE, ["overtaken 40 ms", "lost"]),
    ],
)
def test_a_message_is_late_or_twice_or_lost_as_far_as_the_network_does_such_things(
    network: Network, words: list[str]
) -> None:
    domain = FateDomain(network)
    options = domain.lasting(40 * MS)
    assert [domain.describe(option) for option in options] == words
    assert not any(map(domain.companions, options))
