"""Hand-off protocols as users write them: each planted bug is caught by the property that is meant for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation
from pytest_convergence._engine.check.handoff import HANDOFF_PROPERTIES
from tests.unit.check.baton import SECONDS, WORK, owner, runner, standby

ALL = list(HANDOFF_PROPERTIES)


def caught(agents: Any, seeds: int, *, scenario: Any = None, **options: Any) -> list[str]:
    """Return the first property that each run broke, of so many runs."""
    found = []
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}", agents=agents, properties=ALL, seed=seed, **options
        )
        try:
            session.run(scenario)
        except PropertyViolation as failure:
            found.append(failure.violations[0].property)
    return found


async def hold_the_owner_up(session: Any) -> None:
    """Pause the owner somewhere, for longer than its lease."""
    first = session.agents["owner"]
    await session.sleep(first.random.uniform(1, 10))
    if first.is_alive:
        first.pause()
        await session.sleep(8)
        first.resume()
    await session.sleep(SECONDS)


@pytest.mark.parametrize(
    ("bug", "agents", "network", "name"),
    [
        pytest.param("release first", "abc", "lossy", "no_lost_owner", id="24 release before accept"),
        pytest.param("take twice", "abc", "flaky", "transfer_exactly_once", id="24 transfer accepted twice"),
        pytest.param(
            "any ack", "ab", "flaky", "no_lost_owner", id="24 late ack deletes what was re-acquired"
        ),
        pytest.param("half", "abc", "lossy", "context_intact", id="keeps half of the state"),
    ],
)
def test_a_bug_in_passing_the_work_on_is_caught_in_half_of_the_runs_and_more(bug, agents, network, name):
    found = caught(dict.fromkeys(agents, runner(bug)), 12, network=network)
    assert found.count(name) >= 6, found


def test_a_resource_without_fencing_is_caught_in_half_of_the_runs_and_more():
    agents = {"owner": owner(fenced=False), "standby": standby(fenced=False)}
    found = caught(agents, 12, scenario=hold_the_owner_up)
    assert found.count("no_stale_effect") >= 6, found


@pytest.mark.parametrize("network", ["lossy", "flaky", "chaos"])
def test_passing_the_work_on_without_a_bug_is_silent(network):
    faults = ["pause", "partition"]
    assert caught(dict.fromkeys("abc", runner()), 12, network=network, faults=faults) == []


def test_a_resource_with_fencing_is_silent():
    agents = {"owner": owner(fenced=True), "standby": standby(fenced=True)}
    assert caught(agents, 12, scenario=hold_the_owner_up) == []


def test_a_standby_that_does_not_wait_for_the_end_of_the_lease_is_caught():
    agents = {"owner": owner(fenced=True, lease=6.0), "standby": standby(fenced=True, patience=0.6)}
    assert "single_owner" in caught(agents, 10, network="flaky", faults=["partition"])


def test_two_that_take_over_by_the_same_token_are_caught():
    async def hasty(agent: Any) -> None:
        await asyncio.sleep(agent.random.uniform(1, 2))
        agent.observe("taken", task=WORK, token=2)

    async def first(agent: Any) -> None:
        agent.observe("own", task=WORK, token=1)
        agent.observe("release", task=WORK, token=1)

    found = caught({"first": first, "one": hasty, "other": hasty}, 3)
    assert found == ["token_unique_monotonic"] * 3


def dispatcher(agent: Any, to: str, number: int, **needs: Any) -> None:
    agent.session.agents[to].observe("own", task=f"work {number}", token=1, **needs)


def test_a_dispatcher_that_ignores_what_the_others_can_do_is_caught():
    async def dispatch(agent: Any) -> None:
        await asyncio.sleep(1)
        for number in range(4):
            dispatcher(agent, agent.random.choice(["able", "unable"]), number, capabilities=["paint"])

    async def able(agent: Any) -> None:
        agent.observe("offers", capabilities=["paint"])

    async def unable(agent: Any) -> None:
        agent.observe("offers", capabilities=["write"])

    assert caught({"d": dispatch, "able": able, "unable": unable}, 6).count("capability_match") >= 3


def test_a_dispatcher_that_ignores_how_much_the_others_take_is_caught():
    async def dispatch(agent: Any) -> None:
        await asyncio.sleep(1)
        for number in range(5):
            dispatcher(agent, agent.random.choice(["one", "other"]), number)

    async def worker(agent: Any) -> None:
        agent.observe("offers", capabilities=[], capacity=2)

    assert caught({"d": dispatch, "one": worker, "other": worker}, 4) == ["load_bound"] * 4


def test_two_agents_that_hand_the_work_back_and_forth_are_caught():
    async def polite(agent: Any) -> None:
        token = 0
        if agent.name == "a":
            await agent.send("b", token)
        while agent.now() < SECONDS:
            try:
                token = (await agent.receive(timeout=5)).payload + 1
            except TimeoutError:
                return
            agent.observe("own", task=WORK, token=token)
            agent.observe("release", task=WORK, token=token)
            await agent.send(*agent.peers, token)

    assert caught({"a": polite, "b": polite}, 3) == ["no_ping_pong"] * 3


def test_that_nobody_takes_over_from_a_dead_owner_is_caught():
    async def scenario(session: Any) -> None:
        await session.sleep(1)
        session.agents["owner"].crash()
        await session.sleep(100)

    async def careless(agent: Any) -> None:
        agent.observe("offers", capabilities=[])

    agents = {"owner": owner(fenced=True), "standby": careless, "another": careless}
    assert caught(agents, 2, scenario=scenario) == ["failover_within"] * 2
