"""Hierarchies and reactive agents in a world where agents crash between any two effects, judged by their properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_convergence import Hierarchical, Publish, Reactive, Saga, Step
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.pattern import Pattern
from tests.unit.patterns.driver import MS, PROFILES, SECOND, Noise, World

SEEDS = 12
TREE = {"boss": ["left", "right"], "left": ["a", "b"], "right": ["c"]}
TEAM = ("boss", "left", "right", "a", "b", "c")
SHOP = ("shop", "depot", "bank", "ledger")


def play(
    pattern: Pattern,
    agents: tuple[str, ...],
    inputs: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]],
    seed: int,
    noise: Noise,
) -> tuple[Any, list[str]]:
    """Run with noise, then in peace; return the result and the violations."""
    names = (*pattern.properties, "agreement", "decision_stable", "reply_before_sync")
    monitor = Monitor(PropertyRegistry().find_all(names), Scope(agents))
    world = World(
        agents,
        lambda agent: pattern.machine(agent, agents, inputs),
        seed=seed,
        noise=noise,
        watch=monitor.feed,
        functions=functions,
    )
    world.run(until=noise.until)
    world.settle(
        900 * SECOND, lambda: len({repr(view) for view in world.views().values()}) == 1 != _open(world)
    )
    world.run(until=world.now + 5 * SECOND)
    monitor.finish(FinalState(world.now, world.live(), {n: {"pattern": v} for n, v in world.views().items()}))
    return next(iter(world.views().values())), [str(violation) for violation in monitor.violations]


def _open(world: World) -> int:
    """1 while somebody does not know the result."""
    return int(any(view is None for view in world.views().values()))


def halves(task: list[int], children: tuple[str, ...]) -> list[list[int]]:
    middle = len(task) // 2
    return [task[:middle], task[middle:]]


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
@pytest.mark.parametrize("restart", ["one_for_one", "one_for_all", "rest_for_one"])
def test_a_hierarchy_whose_agents_crash_between_any_two_effects(restart: str, noise: Noise) -> None:
    pattern = Hierarchical(restart, max_restarts=20)
    inputs = {"tree": TREE, "task": list(range(8)), "split": halves, "work": sum, "combine": sum}
    functions: dict[str, Callable[..., Any]] = {"split": halves, "work": sum, "combine": sum}
    results = []
    for seed in range(SEEDS):
        busy = noise._replace(work=(MS, 3 * SECOND))
        result, violations = play(pattern, TEAM, inputs, functions, seed, busy)
        assert violations == [], seed
        results.append(result)
    assert set(map(repr, results)) <= {
        "{'result': 28}",
        *(repr(each) for each in results if "gave_up" in each),
    }
    assert {"result": 28} in results


def refuse(amount: int) -> int:
    if amount > 1:
        raise ValueError("too much")
    return amount


BUY = Saga(
    [
        Step("reserve", "depot", refuse, refuse),
        Step("charge", "bank", refuse, refuse),
        Step("ship", "shop", refuse),
    ],
    pivot="charge",
)
HANDLERS = {
    "ordered": {"depot": lambda n: Publish("packed", n), "ledger": lambda n: Publish("packed", n)},
    "packed": {"ledger": lambda n: n, "shop": lambda n: n, "depot": lambda n: n},
    "buy": BUY,
}


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
@pytest.mark.parametrize("order", ["fifo", "causal"])
def test_reactive_agents_that_crash_between_any_two_effects(order: str, noise: Noise) -> None:
    pattern = Reactive(order=order)
    inputs = {"handlers": HANDLERS, "events": [("ordered", 1), ("buy", 1), ("ordered", 2), ("buy", 2)]}
    functions = {
        "handle ordered": lambda n: Publish("packed", n),
        "handle packed": lambda n: n,
        **{name: function for agent in SHOP for name, function in pattern.functions(agent, SHOP, inputs).items()
           if not name.startswith("handle")},
    }  # fmt: skip
    for seed in range(SEEDS):
        busy = noise._replace(work=(MS, SECOND))
        result, violations = play(pattern, SHOP, inputs, functions, seed, busy)
        assert violations == [], seed
        assert result is not None
        assert result["packed"] == {agent: [1, 1, 2, 2] for agent in ("ledger", "shop", "depot")}
        assert [each["saga"] for each in result["buy"]["depot"]] == ["done", "undone"]
