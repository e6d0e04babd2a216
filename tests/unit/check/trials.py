"""Runs of machines under noise, judged by the checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.patterns.raft import RaftTiming
from tests.unit.patterns.driver import MS, PROFILES, SECOND, Noise, World

FIVE = ("a", "b", "c", "d", "e")
TIMING = RaftTiming(100 * MS, 500 * MS, 1000 * MS)
RAFT = LeaderFollower()


def trial(
    make: Callable[[str], Machine],
    pattern: Pattern,
    seed: int,
    noise: Noise,
    *,
    agents: Sequence[str] = FIVE,
    settle: int = 20 * SECOND,
) -> set[str]:
    """Run once with noise, then in peace; return the names of the properties that were broken."""
    properties = PropertyRegistry().find_all(pattern.properties)
    monitor = Monitor(properties, Scope(tuple(agents)))
    world = World(agents, make, seed=seed, noise=noise, watch=monitor.feed)
    world.run(until=noise.until)
    world.settle(settle, lambda: bool(monitor.violations) or _has_ended(pattern, world))
    if not monitor.violations:
        world.run(until=world.now + 2 * SECOND)
    settled = not monitor.violations
    monitor.finish(FinalState(world.now, world.live(), world.views(), settled))
    return {violation.property for violation in monitor.violations}


def _has_ended(pattern: Pattern, world: World) -> bool:
    return pattern.output(world.views()) is not None or world.foreground == 0


def trials(
    make: Callable[[str], Machine],
    pattern: Pattern,
    seeds: int,
    *,
    profiles: Sequence[Noise] = PROFILES,
    agents: Sequence[str] = FIVE,
) -> dict[str, int]:
    """Return how many runs broke each property, over ``seeds`` runs under each profile."""
    broken: dict[str, int] = {}
    for noise in profiles:
        for seed in range(seeds):
            for name in trial(make, pattern, seed, noise, agents=agents):
                broken[name] = broken.get(name, 0) + 1
    return broken
