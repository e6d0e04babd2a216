"""Exhaustive exploration goes through losses and crashes as well, as many in one run as it is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, Network, Outcome, Schedule
from pytest_convergence.explore.exhaustive import Exhaustive

Heard = list[Any]


def run(schedule: Schedule, **options: Any) -> Outcome:
    return ConvergenceEngine().create_session("explored", schedule=schedule, **options).run()


def explored(most: int = 1_000, *, faults_at_most: int = 1, **options: Any) -> tuple[Exhaustive, list[Any]]:
    """Run a session under each of its orders and faults; check that an ordinary schedule brings about the same."""
    search, outcomes = Exhaustive(faults=options["faults"], faults_at_most=faults_at_most), []
    while search.runs < most and search.advance():
        outcome = run(search.schedule(), **options)
        search.learn()
        (again,) = search.schedules()
        assert run(again, **options).results == outcome.results
        outcomes.append(outcome.results)
    return search, outcomes


def sending(count: int = 1) -> Callable[[Any], Any]:
    async def behaviour(agent: Any) -> None:
        for number in range(count):
            await agent.send("sink", (agent.name, number))

    return behaviour


async def sink(agent: Any) -> tuple[Any, ...]:
    heard = []
    try:
        while True:
            heard.append((await agent.receive(timeout=1)).payload)
    except TimeoutError:
        return tuple(heard)


def test_a_message_that_may_be_lost_is_lost_or_not():
    search, outcomes = explored(agents={"a": sending(), "sink": sink}, faults=["loss"])
    assert search.summary == "exhausted: 2 schedules with at most 1 fault"
    assert [each["sink"] for each in outcomes] == [(("a", 0),), ()]


def with_losses(count: int, most: int) -> int:
    """How many orders there are of what is left of ``count`` messages when ``most`` of them at most are lost."""
    return sum(math.comb(count, lost) * math.factorial(count - lost) for lost in range(most + 1))


@pytest.mark.parametrize(("count", "most"), [(2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2)])
def test_messages_to_one_agent_come_in_every_order_of_every_part_that_is_left(count: int, most: int):
    senders = {f"s{number}": sending() for number in range(count)}
    search, outcomes = explored(agents={"sink": sink, **senders}, faults=["loss"], faults_at_most=most)
    assert search.is_exhausted
    assert search.runs == with_losses(count, most)
    assert len({each["sink"] for each in outcomes}) == search.runs


def test_messages_of_one_link_that_may_be_lost_keep_their_order():
    search, outcomes = explored(agents={"a": sending(3), "sink": sink}, faults=["loss"], faults_at_most=3)
    assert search.runs == len({each["sink"] for each in outcomes}) == 2**3


def test_what_is_sent_only_because_something_is_lost_may_be_lost_as_well():
    async def asking(agent: Any) -> int:
        for attempt in range(1, 4):
            try:
                await agent.request("server", None, timeout=1)
            except TimeoutError:
                continue
            return attempt
        return 0

    async def server(agent: Any) -> None:
        async for message in agent.inbox:
            await agent.reply(message, None)

    agents = {"client": asking, "server": server}
    search, outcomes = explored(agents=agents, faults=["loss"], faults_at_most=3)
    # Each attempt fails in two ways: its question is lost, or the answer.
    assert search.runs == 1 + 2 + 4 + 8
    assert sorted(each["client"] for each in outcomes) == sorted([1] + [2] * 2 + [3] * 4 + [0] * 8)


def test_an_agent_crashes_before_each_of_its_steps():
    async def writer(agent: Any) -> tuple[Any, Any]:
        written = agent.storage.get("written", ())
        for number in range(4):
            await agent.session.sleep(1)
            agent.storage.put("written", (*agent.storage.get("written", ()), number))
            await agent.storage.sync()
        return tuple(agent.storage.get("written")[len(written) :]), written

    search, outcomes = explored(agents={"writer": writer}, faults=["crash"])
    steps = search.runs - 1
    assert search.summary == f"exhausted: {1 + steps} schedules with at most 1 fault"
    # What was written before the crash is there after it, and between any two writes there is a step to crash at.
    assert {len(each["writer"][1]) for each in outcomes} == {0, 1, 2, 3}


@pytest.mark.parametrize(("most", "per_step"), [(1, 1), (2, 2)])
def test_crashes_of_two_agents_that_have_nothing_to_do_with_each_other_multiply(most: int, per_step: int):
    async def idle(agent: Any) -> None:
        await agent.session.sleep(1)

    alone, _ = explored(agents={"a": idle}, faults=["crash"], faults_at_most=1)
    twice, _ = explored(agents={"a": idle}, faults=["crash"], faults_at_most=2)
    steps = alone.runs - 1
    both, _ = explored(agents={"a": idle, "b": idle}, faults=["crash"], faults_at_most=most)
    expected = {1: 1 + 2 * steps, 2: 1 + 2 * (twice.runs - 1) + steps**2}
    assert both.is_exhausted
    assert both.runs == expected[most]


def test_a_crash_comes_before_and_after_each_message_in_each_order():
    async def counter(agent: Any) -> int:
        count = 0
        try:
            while True:
                await agent.receive(timeout=1)
                count += 1
        except TimeoutError:
            return count

    agents = {"sink": counter, "s0": sending(), "s1": sending()}
    _, outcomes = explored(agents=agents, faults=["crash"])
    # It counts in memory: a crash before the first message, between the two, or after both.
    assert {each["sink"] for each in outcomes} == {0, 1, 2}


def test_losses_and_crashes_are_gone_through_together():
    options: dict[str, Any] = {"agents": {"a": sending(), "sink": sink}}
    lost, _ = explored(**options, faults=["loss"])
    crashed, _ = explored(**options, faults=["crash"])
    both, _ = explored(**options, faults=["loss", "crash"])
    assert both.runs == 1 + (lost.runs - 1) + (crashed.runs - 1)


def test_the_limit_says_which_part_was_gone_through():
    senders = {f"s{number}": sending() for number in range(3)}
    search, _ = explored(10, agents={"sink": sink, **senders}, faults=["loss"], faults_at_most=2)
    assert search.summary.startswith("explored 10 schedules with at most 2 faults of at least ")
    assert search.summary.endswith(", not exhausted, but for those without faults")
    search, _ = explored(14, agents={"sink": sink, **senders}, faults=["loss"], faults_at_most=2)
    assert search.summary.endswith(", not exhausted, but for those with fewer than 2 faults")


def test_a_fault_that_an_order_leaves_no_room_for_is_not_counted_twice():
    async def echo(agent: Any) -> Any:
        first = await agent.receive(timeout=1)
        if first.sender == "s1":
            await agent.send("sink", "late")  # sent in one of the two orders only
        return first.sender

    agents = {"echo": echo, "s0": to("echo"), "s1": to("echo"), "sink": sink}
    search, outcomes = explored(agents=agents, faults=["loss"], network=Network(latency=0.001))
    # None is lost: s0 first, s1 first. s0's is lost, s1's is lost. The third message is lost: s1 came first.
    assert search.runs == 5
    assert search.is_exhausted
    assert len(outcomes) > search.runs


def to(name: str) -> Callable[[Any], Any]:
    async def behaviour(agent: Any) -> None:
        await agent.send(name, agent.name)

    return behaviour
