"""Whole elections: calm, under faults, and after them."""

import pytest

from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.raft import LeaderView
from tests.unit.patterns.driver import LEADER_TARGET, MS, PROFILES, SECOND, Noise, World

FIVE = ("a", "b", "c", "d", "e")


def world(pattern=LeaderFollower(), seed=None, noise=Noise(until=0), agents=FIVE):  # noqa: B008 - immutable
    return World(agents, lambda name: pattern.machine(name, agents, {}), seed=seed, noise=noise)


def agreed(running: World) -> str | None:
    return LeaderFollower().output(running.views()) if running.live() else None


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("algorithm", ["raft", "bully"])
def test_in_calm_the_first_agent_is_elected_and_the_world_comes_to_rest(algorithm, size):
    agents = FIVE[:size]
    running = world(LeaderFollower(algorithm), agents=agents)
    running.run()
    running.run(until=running.now + SECOND // 10)
    assert set(running.views().values()) == {LeaderView("a", 1 if algorithm == "raft" else 0)}
    assert running.now < 2 * SECOND


@pytest.mark.parametrize("latency_ms", [1, 20, 100])
def test_the_default_timing_elects_at_once_over_links_of_up_to_100_ms(latency_ms):
    running = world(noise=Noise((latency_ms * MS, latency_ms * MS), until=0))
    assert running.run(until=2 * SECOND, when=lambda: agreed(running) is not None)
    assert len(running.facts("leader")) == 1


def test_a_quiet_hour_asks_the_schedule_for_no_further_timeouts():
    running = world(LeaderFollower(heartbeat_seconds=1))
    running.run(until=3600 * SECOND)
    assert len(running.facts("leader")) == 1
    assert agreed(running) == "a"


def test_a_new_leader_is_elected_when_the_old_one_crashes():
    running = world()
    running.run(until=2 * SECOND)
    running.crash("a")
    assert running.run(until=6 * SECOND, when=lambda: agreed(running) not in (None, "a"))


def test_an_isolated_leader_steps_down_and_follows_when_it_is_back():
    running = world()
    running.run(until=2 * SECOND)
    running.partition(["a"])
    running.run(until=6 * SECOND)
    views = running.views()
    assert views["a"].leader is None
    second = views["b"].leader
    assert second not in (None, "a")
    running.heal()
    assert running.run(until=8 * SECOND, when=lambda: agreed(running) is not None)
    assert agreed(running) == second


def test_a_minority_elects_nobody():
    running = world()
    running.partition(["a", "b"])
    running.run(until=10 * SECOND)
    assert {agent for agent, _ in running.facts("leader")} <= {"c", "d", "e"}
    assert running.views()["a"].leader is None


def test_with_pre_vote_an_agent_that_comes_back_does_not_depose_the_leader():
    running = world()
    running.run(until=2 * SECOND)
    running.partition(["e"])
    running.run(until=12 * SECOND)
    running.heal()
    running.run(until=14 * SECOND)
    assert len(running.facts("leader")) == 1
    assert agreed(running) == "a"


def test_without_pre_vote_it_does():
    running = world(LeaderFollower(pre_vote=False))
    running.run(until=2 * SECOND)
    running.partition(["e"])
    running.run(until=12 * SECOND)
    running.heal()
    running.run(until=16 * SECOND)
    assert len(running.facts("leader")) > 1


@pytest.mark.parametrize("pre_vote", [True, False])
@pytest.mark.parametrize("noise", [*PROFILES, LEADER_TARGET], ids=["uniform", "fast", "tail", "leader"])
def test_no_term_has_two_leaders_and_after_the_faults_there_is_one(noise, pre_vote):
    for seed in range(15):
        running = world(LeaderFollower(pre_vote=pre_vote), seed, noise)
        running.run(until=noise.until)
        assert running.settle(20 * SECOND, lambda: agreed(running) is not None), seed  # noqa: B023 - called at once
        led: dict[int, set[str]] = {}
        for agent, data in running.facts("leader"):
            led.setdefault(data["term"], set()).add(agent)
        assert all(len(leaders) == 1 for leaders in led.values()), (seed, led)
        assert not running.facts("unsynced_send")


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
def test_after_the_faults_the_bully_algorithm_has_one_leader_too(noise):
    for seed in range(30):
        running = world(LeaderFollower("bully"), seed, noise)
        running.run(until=noise.until)
        assert running.settle(20 * SECOND, lambda: agreed(running) is not None), seed  # noqa: B023 - called at once


def test_under_a_partition_the_bully_algorithm_has_a_leader_on_each_side():
    running = world(LeaderFollower("bully"))
    running.run(until=2 * SECOND)
    running.partition(["a", "b"])
    running.run(until=5 * SECOND)
    assert {view.leader for view in running.views().values()} == {"a", "c"}
    running.heal()
    running.run(until=8 * SECOND)
    assert agreed(running) == "a"


def test_equal_seeds_give_equal_traces():
    def trace(seed: int) -> list[object]:
        running = world(seed=seed, noise=PROFILES[0])
        running.run(until=5 * SECOND)
        return list(running.trace)

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)
