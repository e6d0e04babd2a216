"""Parallel merge and contract net in a world that may crash an agent between any two effects."""

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.competitive import Competitive
from pytest_convergence._engine.patterns.parallel_merge import ParallelMerge
from pytest_convergence._engine.patterns.pattern import Pattern
from tests.unit.patterns.driver import PROFILES, SECOND, Noise, World

FIVE = ("a", "b", "c", "d", "e")
SCORES = {"a": 1, "b": 3, "c": 3, "d": 2, "e": 1}
PARTS: Mapping[str, Any] = {
    "tasks": [dict.fromkeys(FIVE, 1), {"b": 2, "e": 3}],
    "work": lambda task: 10 * task,
    "merge": lambda results: list(results.values()),
}
CONTEST: Mapping[str, Any] = {
    "task": "T",
    "compete": lambda task: task,
    "score": lambda result, agent: SCORES[agent],
    "perform": lambda task, result: f"{result}, done",
}


def judged(pattern: Pattern, inputs: Mapping[str, Any], seed: int, noise: Noise) -> tuple[Any, list[str]]:
    """Run once with noise, then in peace; return the output and the violations."""
    monitor = Monitor(PropertyRegistry().find_all(pattern.properties), Scope(FIVE, quorum=5, inputs=inputs))
    functions = pattern.functions("a", FIVE, inputs)
    world = World(
        FIVE,
        lambda agent: pattern.machine(agent, FIVE, inputs),
        seed=seed,
        noise=noise,
        watch=monitor.feed,
        functions=functions,
    )
    world.run(until=noise.until)
    ended = world.settle(900 * SECOND, lambda: pattern.output(world.views()) is not None)
    monitor.finish(FinalState(world.now, world.live(), world.views(), ended))
    return pattern.output(world.views()), [str(violation) for violation in monitor.violations]


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
def test_every_part_is_merged_once_in_the_order_of_the_tasks(noise: Noise) -> None:
    for seed in range(25):
        found = judged(ParallelMerge(hedge_seconds=1), PARTS, seed, noise)
        assert found == (([10] * 5, [20, 30]), []), f"seed {seed}"


@pytest.mark.parametrize("mode", ["contract-net", "tournament"])
@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
def test_the_contract_goes_to_one_by_the_rule(noise: Noise, mode: str) -> None:
    for seed in range(25):
        award, violations = judged(Competitive(mode=mode), CONTEST, seed, noise)
        assert violations == [], f"seed {seed}"
        assert award.winner == award.ranking[award.number - 1]
        assert award.result == "T, done"


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
def test_awards_that_time_out_are_revoked_first(noise: Noise) -> None:
    hasty = Competitive(award_seconds=0.1, perform_seconds=0.1, manager="e")
    revoked = 0
    for seed in range(25):
        award, violations = judged(hasty, CONTEST, seed, noise)
        assert violations == [], f"seed {seed}"
        revoked += award.number > 1
    assert revoked > 0
