"""Network conditions: the documented numbers hold, links keep their order, and every fate has its words."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import (
    DUPLICATED,
    FATES,
    LOST,
    OVERTAKEN,
    PROFILES,
    FateDomain,
    Network,
)
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import run_session

COUNT = 4_000


def _arrivals(network: Any, **options: Any) -> tuple[list[int], list[float], Any]:
    """The numbers in order of arrival, their latencies, and the outcome."""
    numbers, latencies = [], []

    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        for number in range(COUNT):
            await a.send("b", number)
            await session.sleep(options.get("gap", 10.0))
            while (message := b._mailbox.take()) is not None:  # type: ignore[union-attr]
                numbers.append(message.payload)

    seed = options.get("seed", 1)
    outcome = run_session(
        scenario, agents=["a", "b"], network=network, seed=seed, trace=200_000, timeout=10**6
    )
    sent = {message.uid: message.sent_at_ns for message in outcome.trace.messages}
    assert len(sent) == COUNT
    for event in outcome.trace:
        if event.kind == "receive" and event.message is not None:
            latencies.append((event.at_ns - sent[event.message.uid]) / 1e9)
    return numbers, latencies, outcome


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_loses_and_duplicates_as_often_as_it_says(name: str):
    profile = PROFILES[name]
    _, _, outcome = _arrivals(name)
    assert outcome.metrics.lost / COUNT == pytest.approx(profile.loss, abs=0.02)
    assert outcome.metrics.duplicated / COUNT == pytest.approx(profile.duplicate, abs=0.015)


@pytest.mark.parametrize("name", PROFILES)
def test_the_latency_of_a_profile_is_spread_over_its_range(name: str):
    profile = PROFILES[name]
    domain = FateDomain(profile)
    extras = [domain.decode(step / COUNT) for step in range(COUNT)]
    delays = [option >> 2 for option in extras if option & 3 == 0]
    spread = profile.greatest_ns - profile.least_ns
    assert min(delays) == 0
    assert max(delays) <= spread
    if spread:
        assert sum(delays) / len(delays) == pytest.approx(spread / 2, rel=0.02)
    kinds = Counter(FATES[option & 3] for option in extras)
    assert kinds["lost"] / COUNT == pytest.approx(profile.loss, abs=0.001)
    assert kinds["duplicated"] / COUNT == pytest.approx(profile.duplicate, abs=0.001)
    assert kinds["overtaken"] / COUNT == pytest.approx(profile.reorder, abs=0.001)


@pytest.mark.parametrize("seed", range(3))
def test_a_link_keeps_its_order_unless_it_reorders(seed: int):
    numbers, _, _ = _arrivals(Network(latency=(0.001, 1.0), loss=0.1), gap=0.01, seed=seed)
    assert numbers == sorted(numbers)


def test_a_link_that_reorders_lets_later_messages_overtake():
    numbers, _, _ = _arrivals(Network(latency=(0.001, 0.1), reorder=0.2), gap=0.01)
    assert numbers != sorted(numbers)
    late = sum(number < greatest for greatest, number in zip(_running_maximum(numbers), numbers, strict=True))
    assert 0.1 < late / COUNT < 0.25


def _running_maximum(numbers: list[int]) -> list[int]:
    greatest, result = -1, []
    for number in numbers:
        result.append(greatest)
        greatest = max(greatest, number)
    return result


def test_a_duplicate_comes_later_than_its_original():
    seen: list[Any] = []

    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        await a.send("b", "twice")
        for _ in range(2):
            await b.receive()
            seen.append(session.now)

    schedule = Schedule.of({"deliver a→b #1": DUPLICATED | 2_000_000_000 << 2})
    run_session(scenario, agents=["a", "b"], schedule=schedule, network=Network(latency=1))
    assert seen == [1, 3]


def test_an_overtaken_message_is_late_by_what_the_schedule_says():
    async def scenario(session: Session) -> list[Any]:
        a, b = session.agents.values()
        for number in range(3):
            await a.send("b", number)
        return [((await b.receive()).payload, session.now) for _ in range(3)]

    schedule = Schedule.of({"deliver a→b #1": OVERTAKEN | 500_000_000 << 2})
    outcome = run_session(scenario, agents=["a", "b"], schedule=schedule, network=Network(latency=1))
    assert outcome.output == [(1, 1), (2, 1), (0, 1.5)]


def test_a_delayed_message_holds_up_those_behind_it():
    async def scenario(session: Session) -> list[Any]:
        a, b = session.agents.values()
        for number in range(3):
            await a.send("b", number)
        return [((await b.receive()).payload, session.now) for _ in range(3)]

    schedule = Schedule.of({"deliver a→b #1": 500_000_000 << 2})
    outcome = run_session(scenario, agents=["a", "b"], schedule=schedule, network=Network(latency=1))
    assert outcome.output == [(0, 1.5), (1, 1.5), (2, 1.5)]


def test_links_are_independent():
    async def scenario(session: Session) -> list[Any]:
        a, b, c = session.agents.values()
        await a.send("c", "late")
        await b.send("c", "early")
        return [(await c.receive()).payload for _ in range(2)]

    schedule = Schedule.of({"deliver a→c #1": 500_000_000 << 2})
    assert run_session(scenario, agents=["a", "b", "c"], schedule=schedule).output == ["early", "late"]


def test_an_agent_can_send_to_itself():
    async def scenario(session: Session) -> Any:
        a = session.agents["a"]
        await a.send("a", "note to self")
        return (await a.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == "note to self"


# -- domains -----------------------------------------------------------------------------------------------------------

SHARES = st.floats(0, 1 / 3)
NETWORKS = st.builds(
    lambda least, more, loss, duplicate, reorder: Network(
        latency=(least, least + more), loss=loss, duplicate=duplicate, reorder=reorder
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    SHARES,
    SHARES,
    SHARES,
)


@given(
    NETWORKS | st.sampled_from([Network(loss=1.0), Network(reorder=1.0), Network(duplicate=0.5, loss=0.5)])
)
def test_zero_is_calm_whatever_the_network(network: Network):
    assert FateDomain(network).decode(0) == 0


@given(NETWORKS, st.floats(0, 1, exclude_max=True))
def test_every_draw_is_a_fate_with_words(network: Network, u: float):
    domain = FateDomain(network)
    option = domain.decode(u)
    assert option >= 0
    words = domain.describe(option)
    assert words.split()[0].rstrip(",") in FATES


def test_fates_are_told_in_words():
    domain = FateDomain(Network())
    assert domain.describe(LOST) == "lost"
    assert domain.describe(DUPLICATED | 3_000_000 << 2) == "duplicated, the copy 3 ms later"
    assert domain.describe(OVERTAKEN | 1_500_000_000 << 2) == "overtaken 1.5 s"
    assert domain.describe(120_000_000 << 2) == "delayed 120 ms"


@given(NETWORKS, st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=200))
def test_drawing_in_batches_draws_the_same(network: Network, draws: list[float]):
    domain = FateDomain(network)
    endless = iter([*draws, *[0.0] * 200])
    fused = domain.fuse(lambda: next(endless))
    assert [fused() for _ in draws] == [domain.decode(u) for u in draws]


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latency": -1}, "latency must be"),
        ({"latency": (0.2, 0.1)}, "latency must be .least, greatest."),
        ({"latency": float("nan")}, "latency must be"),
        ({"loss": 1.5}, "loss must be a probability"),
        ({"duplicate": -0.1}, "duplicate must be a probability"),
        ({"reorder": "often"}, "reorder must be a probability"),
        ({"loss": True}, "loss must be a probability"),
        ({"loss": 0.5, "duplicate": 0.4, "reorder": 0.2}, "must not exceed 1"),
    ],
)
def test_wrong_conditions_are_refused(options: dict[str, Any], words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        Network(**options)


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(
        ConvergenceUsageError, match=r"unknown network profile 'lossi': did you mean 'lossy'\?"
    ):
        Network.of("lossi")
    assert Network.of("lossy") is PROFILES["lossy"]
    assert Network.of(network := Network()) is network


def test_named_faults_raise_the_odds_and_never_lower_them():
    worse = Network(loss=0.5).with_faults(frozenset({"loss", "duplicate", "reorder", "delay", "crash"}))
    assert (worse.loss, worse.duplicate, worse.reorder) == (0.5, 0.05, 0.1)
    assert worse.greatest_ns - worse.least_ns == 100_000_000
    assert Network(latency=(0, 1)).with_faults(frozenset({"delay"})).latency == (0, 1)


def test_only_a_network_without_choices_is_harmless():
    assert Network(latency=3).is_harmless
    assert not any(
        network.is_harmless for network in (Network(latency=(0, 1)), Network(loss=0.1), Network(reorder=0.1))
    )
    assert [name for name, profile in PROFILES.items() if profile.is_harmless] == ["perfect"]
