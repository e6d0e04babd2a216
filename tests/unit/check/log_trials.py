"""Runs of replicated logs under noise, with commands and reads, judged by the checkers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.raft import RaftTiming
from pytest_convergence._engine.patterns.raft_replication import Proposal, RaftReplica, ReplicaRules
from tests.unit.check.trials import FIVE, TIMING
from tests.unit.patterns.driver import LEADER_TARGET, MS, SECOND, Noise, World

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
    if world.agents[name].machine is not None:
        world.command(name, "read", f"read {number}")


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


# Elections are short against the time for which a leader is cut off, so that several terms fit into one isolation.
ISOLATED_LEADERS = LEADER_TARGET._replace(latency=(MS, 20 * MS), tail=0.05)
ONE_AT_A_TIME = RULES._replace(max_entries=1, timing=RaftTiming(30 * MS, 150 * MS, 300 * MS))


def figure_8_trial(machine: type[RaftReplica], seed: int) -> set[str]:
    """Run with leaders that are cut off as soon as they are elected, half of which have a command by then.

    That is what figure 8 of the Raft paper takes: entries of several terms, each on few agents. So it wants
    many leaders, and agents that learn no patience.
    """
    impatient = type(f"Impatient{machine.__name__}", (machine,), {"_learn_patience": lambda self: None})
    monitor = Monitor(PropertyRegistry().find_all(LOG.properties), Scope(FIVE))
    chance = random.Random(seed)
    proposed: list[str] = []

    def tell(name: str) -> None:
        if world.agents[name].machine is not None:
            proposed.append(name)
            world.command(name, "propose", Proposal(f"c{len(proposed)}", len(proposed)))

    def watch(event: TraceEvent) -> None:
        monitor.feed(event)
        if event.kind == "observe" and event.detail["fact"] == "leader" and chance.random() < 0.5:
            world._at(world.now + chance.randrange(100 * MS), tell, event.agent)

    make = replica(impatient, ONE_AT_A_TIME)
    world = World(FIVE, make, seed=seed, noise=ISOLATED_LEADERS, watch=watch)
    world.run(until=ISOLATED_LEADERS.until)
    return {violation.property for violation in monitor.violations}
