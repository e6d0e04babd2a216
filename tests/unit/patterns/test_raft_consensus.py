"""Consensus by a replicated log: what is committed first is decided, by everybody, for ever."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import Consensus, ConvergenceEngine, ConvergenceUsageError
from tests.unit.patterns.driver import SECOND, World

FIVE = ("a", "b", "c", "d", "e")
PROPOSALS = dict(zip(FIVE, "ABCDE", strict=True))
RAFT = Consensus(algorithm="raft")


def world(agents: tuple[str, ...] = FIVE) -> World:
    inputs = {"proposals": PROPOSALS}
    return World(agents, lambda agent: RAFT.machine(agent, agents, inputs), seed=0)


def decided(run: World) -> set[Any]:
    return {value for value in run.views().values() if value is not None}


def test_one_of_the_proposals_is_decided_by_all():
    run = world()
    run.run(until=5 * SECOND)
    (value,) = set(run.views().values())
    assert value in PROPOSALS.values()
    assert run.foreground == 0, "a decided world has nothing left to do but upkeep"


def test_an_agent_alone_decides_its_own_value():
    run = world(("b",))
    run.run(until=5 * SECOND)
    assert run.views() == {"b": "B"}


def test_a_minority_decides_nothing_and_the_others_go_on():
    run = world()
    run.partition(["a", "b"])
    run.run(until=10 * SECOND)
    views = run.views()
    assert (views["a"], views["b"]) == (None, None)
    assert len({views["c"], views["d"], views["e"]}) == 1
    run.heal()
    run.run(until=20 * SECOND)
    assert set(run.views().values()) == {views["c"]}


def test_a_decision_outlives_the_crash_of_everybody():
    run = world()
    run.run(when=lambda: bool(decided(run)))
    (value,) = decided(run)
    for name in FIVE:
        run.crash(name)
    for name in FIVE:
        run.start(name)
    assert set(run.views().values()) == {None}, "how far a log is committed is volatile"
    run.run(until=run.now + 20 * SECOND)
    assert set(run.views().values()) == {value}


def test_a_leader_that_has_decided_takes_no_more_proposals():
    run = world()
    run.run(until=5 * SECOND)
    logs = {run.agents[name].machine.log.last_index for name in FIVE}  # type: ignore[union-attr]
    leader = run.facts("leader")[-1][0]
    machine = run.agents[leader].machine
    assert machine is not None
    other = next(name for name in FIVE if name != leader)
    assert list(machine.on_message(other, "propose", {"term": 1, "id": "late", "command": "Z"})) == []
    assert len(logs) == 1


@pytest.mark.parametrize(
    "option", [{"quorum": 4}, {"max_rounds": 3}, {"tie": "lowest"}, {"coordinator": "a"}]
)
def test_options_of_other_algorithms_are_refused(option: dict[str, Any]):
    with pytest.raises(ConvergenceUsageError, match="algorithm"):
        Consensus(algorithm="raft", **option).validate(FIVE)


def test_a_session_decides_while_agents_crash():
    for seed in range(5):
        session = ConvergenceEngine().create_session(
            "raft", pattern=RAFT, agents=list(FIVE), network="lossy", faults=["crash", "partition"], seed=seed
        )
        outcome = session.run(proposals=PROPOSALS)
        assert outcome.converged
        assert outcome.output in PROPOSALS.values()
