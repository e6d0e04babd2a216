"""Runs of replicated logs under noise, with commands and reads, judged by the checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.raft_replication import Proposal, RaftReplica, ReplicaRules
from tests.unit.check.trials import FIVE, TIMING
from tests.unit.patterns.driver import SECOND, Noise, World

LOG = LeaderFollower(replicate=True)
RULES = ReplicaRules(TIMING, pre_vote=False)
COMMANDS = 20


def replica(machine: type[RaftReplica], rules: ReplicaRules = RULES) -> Callable[[str], Machine]:
    """Make replicas of one class."""
    return lambda agent: machine(agent, FIVE, rules)


def busy(world: World, noise: Noise, commands: int = COMMANDS) -> None:
    """Have agents propose commands, and read, all the time that there is noise."""
    for number in range(commands):
        at = noise.until * number // commands
        name = world.names[number % len(world.names)]
        world._at(at, _tell, world, name, number)


def _tell(world: World, name: str, number: int) -> None:
    if world.agents[name].machine is not None:
        world.command(name, "propose", Proposal(f"command {number}", number))
        world.command(name, "read", f"read {number}") if world.agents[name].machine is not None else None


def log_trial(
    make: Callable[[str], Machine],
    seed: int,
    noise: Noise,
    *,
    pattern: LeaderFollower = LOG,
    agents: Sequence[str] = FIVE,
    settle: int = 30 * SECOND,
) -> set[str]:
    """Run once with noise, then in peace; return the names of the properties that were broken."""
    monitor = Monitor(PropertyRegistry().find_all(pattern.properties), Scope(tuple(agents)))
    world = World(agents, make, seed=seed, noise=noise, watch=monitor.feed)
    busy(world, noise)
    world.run(until=noise.until)
    world.settle(settle, lambda: bool(monitor.violations) or pattern.output(world.views()) is not None)
    if not monitor.violations:
        world.run(until=world.now + 2 * SECOND)
    monitor.finish(FinalState(world.now, world.live(), world.views(), not monitor.violations))
    return {violation.property for violation in monitor.violations}
