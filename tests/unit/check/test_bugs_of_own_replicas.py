"""Bugs in one way of synchronising, or in the clocks of agents, are caught by the property that is meant for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation, Session
from tests.unit.check import own_replicas
from tests.unit.check.own_replicas import CORRECT, Documents, Member, Stamping, behaviour

AGENTS = ("a", "b", "c")
SEEDS = 12


async def for_a_while(session: Session) -> None:
    await session.sleep(8)


async def with_many_crashes(session: Session) -> None:
    for number in range(30):
        await session.sleep(0.13)
        agent = session.agents[AGENTS[number % len(AGENTS)]]
        if agent.is_alive:
            agent.crash()
            agent.restart()
    await session.sleep(4)


async def with_a_fast_clock(session: Session) -> None:
    session.agents["a"].skew_clock(offset=3600)
    await session.sleep(8)


SCENARIOS: Mapping[type[Member], Any] = {
    **dict.fromkeys((Documents, own_replicas.KeepsByParts), with_many_crashes),
    **dict.fromkeys((Stamping, own_replicas.HearsNoStamps, own_replicas.BelievesAnyClock), with_a_fast_clock),
}


def runs(member: type[Member], seeds: int = SEEDS, network: str = "flaky") -> Counter[str]:
    """Return how many of the runs broke each property."""
    found: Counter[str] = Counter()
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}",
            agents=dict.fromkeys(AGENTS, behaviour(member)),
            network=network,
            faults=["crash", "partition"],
            seed=seed,
            trace=bool(seed % 2),  # the same is found where nothing is recorded
        )
        try:
            session.run(SCENARIOS.get(member, for_a_while))
        except PropertyViolation as violation:
            found.update(each.property for each in violation.violations)
    return found


@pytest.mark.parametrize(
    ("bug", "name", "at_least"),
    [
        pytest.param("AppliesByParts", "atomic_apply", 8, id="a document is applied by parts"),
        pytest.param("KeepsByParts", "atomic_apply", 1, id="a document is kept by parts"),
        pytest.param("JoinsWhateverComes", "interval_covered", 6, id="a delta leaves a hole"),
        pytest.param("SentIsAcked", "resent_until_acked", 6, id="sent is acknowledged"),
        pytest.param("SentOnce", "resent_until_acked", 3, id="told once"),
        pytest.param("TakesTwice", "log_without_gap", 8, id="an event twice"),
        pytest.param("LeavesGaps", "log_without_gap", 3, id="a gap in a log"),
        pytest.param("FoldsTwice", "fold_is_state", 8, id="a snapshot that counts twice"),
        pytest.param("TakesOver", "inflationary", 6, id="an older state takes back"),
        pytest.param("KeepsOverwritten", "antichain", 8, id="overwritten siblings stay"),
        pytest.param("LongestClockWins", "antichain", 8, id="a sibling is lost"),
        pytest.param("WritesBlindly", "causal_context", 8, id="the clock of a write is not merged"),
        pytest.param("TicksOnly", "clock_is_happens_before", 8, id="a vector clock is not merged"),
        pytest.param("KnowsTooMuch", "clock_is_happens_before", 8, id="a vector clock runs ahead"),
        pytest.param("StartsAnew", "clock_is_happens_before", 2, id="a vector clock is forgotten"),
        pytest.param("HearsNoStamps", "hybrid_clock", 8, id="a hybrid clock is not merged"),
        pytest.param("BelievesAnyClock", "hybrid_clock", 8, id="a hybrid clock runs ahead"),
    ],
)
def test_a_bug_in_a_users_own_replica_or_clock_is_caught(bug: str, name: str, at_least: int) -> None:
    found = runs(getattr(own_replicas, bug))
    assert found[name] >= at_least, found


@pytest.mark.parametrize("network", ["perfect", "lan", "wan", "lossy", "flaky", "chaos"])
@pytest.mark.parametrize("member", CORRECT, ids=[member.__name__.lower() for member in CORRECT])
def test_without_the_bug_nothing_is_reported(member: type[Member], network: str) -> None:
    assert not runs(member, 4, network)
