"""Exhaustive exploration runs each order of deliveries that makes a difference, once."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import AgentError, Consensus, ConvergenceEngine, Network, Outcome, Schedule
from pytest_convergence._engine.base.directing import Director
from pytest_convergence._engine.base.effects import CancelTimer, Decide, Send, SetTimer
from pytest_convergence.explore.exhaustive import Exhaustive


def explored(most: int = 1_000, **options: Any) -> tuple[Exhaustive, list[Outcome]]:
    """Run a session under each of its orders; at each of them, check that its delays alone bring it about again."""
    search, outcomes = Exhaustive(), []
    while search.runs < most and search.advance():
        outcome = run(search.schedule(), **options)
        search.learn()
        (again,) = search.schedules()
        assert run(again, **options).results == outcome.results
        outcomes.append(outcome)
    return search, outcomes


def run(schedule: Schedule, *, scenario: Any = None, **options: Any) -> Outcome:
    return ConvergenceEngine().create_session("explored", schedule=schedule, **options).run(scenario)


def sending(*messages: tuple[str, Any]) -> Callable[[Any], Any]:
    async def behaviour(agent: Any) -> None:
        for to, payload in messages:
            await agent.send(to, payload)

    return behaviour


def receiving(count: int) -> Callable[[Any], Any]:
    async def behaviour(agent: Any) -> tuple[Any, ...]:
        return tuple([(await agent.receive()).payload for _ in range(count)])

    return behaviour


@pytest.mark.parametrize("count", range(1, 6))
def test_messages_from_k_agents_to_one_come_in_k_factorial_orders(count):
    senders = {f"sender-{number}": sending(("sink", number)) for number in range(count)}
    search, outcomes = explored(agents={"sink": receiving(count), **senders})
    assert search.summary == f"exhausted: {math.factorial(count)} schedule{'s' * (count > 1)}"
    assert len({outcome.results["sink"] for outcome in outcomes}) == math.factorial(count)


@pytest.mark.parametrize("count", range(1, 6))
def test_messages_to_k_agents_have_one_order(count):
    sinks = {f"sink-{number}": receiving(1) for number in range(count)}
    search, _ = explored(agents={"source": sending(*((name, 0) for name in sinks)), **sinks})
    assert search.summary == "exhausted: 1 schedule"


def test_orders_at_different_agents_multiply():
    both = sending(("left", 1), ("right", 1))
    search, outcomes = explored(
        agents={"one": both, "two": both, "left": receiving(2), "right": receiving(2)}
    )
    assert search.runs == len(outcomes) == 4


def test_two_writers_and_a_reader_show_all_and_only_the_distinct_outcomes():
    async def store(agent: Any) -> Any:
        value = None
        for _ in range(3):
            message = await agent.receive()
            if message.type == "read":
                await agent.reply(message, value)
            else:
                value = message.payload
        return value

    async def reader(agent: Any) -> Any:
        return await agent.request("store", None, type="read")

    search, outcomes = explored(
        agents={"store": store, "one": sending(("store", 1)), "two": sending(("store", 2)), "reader": reader}
    )
    seen = [(outcome.results["reader"], outcome.results["store"]) for outcome in outcomes]
    assert sorted(seen, key=str) == [(1, 1), (1, 2), (2, 1), (2, 2), (None, 1), (None, 2)]
    assert search.is_exhausted


def test_messages_of_one_link_keep_their_order():
    search, outcomes = explored(agents={"source": sending(("sink", 1), ("sink", 2)), "sink": receiving(2)})
    assert [outcome.results["sink"] for outcome in outcomes] == [(1, 2)]
    assert search.summary == "exhausted: 1 schedule"


@pytest.mark.parametrize(
    "options", [{"network": Network(reorder=0.1)}, {"faults": ["reorder"]}], ids=["network", "fault"]
)
def test_where_the_network_reorders_messages_of_one_link_come_in_any_order(options):
    agents = {"source": sending(("sink", 1), ("sink", 2), ("sink", 3)), "sink": receiving(3)}
    search, outcomes = explored(agents=agents, **options)
    assert len({outcome.results["sink"] for outcome in outcomes}) == search.runs == 6


def test_a_consequence_never_comes_before_its_cause():
    async def middle(agent: Any) -> None:
        message = await agent.receive()
        await agent.send("sink", ("after", message.payload))

    agents = {"source": sending(("sink", "first"), ("middle", 1)), "middle": middle, "sink": receiving(2)}
    search, outcomes = explored(agents=agents)
    # "first" was sent before "middle" got its message, but may be slower than the long way round.
    assert {outcome.results["sink"] for outcome in outcomes} == {
        ("first", ("after", 1)),
        (("after", 1), "first"),
    }
    assert search.runs == 2

    async def reporting(agent: Any) -> tuple[Any, ...]:
        first = (await agent.receive()).payload
        await agent.send("middle", 2)
        return first, (await agent.receive()).payload

    search, _ = explored(agents={"source": sending(("sink", 0)), "middle": middle, "sink": reporting})
    assert search.runs == 1


def test_a_reference_protocol_is_explored_to_the_end():
    search, seen = Exhaustive(), []
    votes = dict.fromkeys(["a", "b", "c"], "commit")
    while search.advance():
        session = ConvergenceEngine().create_session(
            "commit",
            pattern=Consensus(algorithm="two-phase-commit"),
            agents=list(votes),
            schedule=search.schedule(),
        )
        seen.append(session.run(proposals=votes).output)
        search.learn()
    # Votes to the coordinator, and acknowledgements to it, in either order.
    assert search.summary == "exhausted: 4 schedules"
    assert seen == ["commit"] * 4


def test_the_limit_says_how_much_is_known_to_be_left():
    senders = {f"sender-{number}": sending(("sink", number)) for number in range(5)}
    search, _ = explored(7, agents={"sink": receiving(5), **senders})
    assert not search.is_exhausted
    assert search.summary.startswith("explored 7 schedules of at least ")
    assert search.summary.endswith(", not exhausted")


def test_what_depends_on_the_test_itself_is_found_out():
    """The scenario looks at one agent and lets another act: no message tells of that."""
    search = Exhaustive()
    while search.advance():
        seen: list[int] = []

        async def sink(agent: Any, seen: list[int] = seen) -> None:
            async for message in agent.inbox:
                seen.append(message.payload)

        async def scenario(session: Any, seen: list[int] = seen) -> None:
            await session.agents["a"].send("sink", 1)
            while not seen:
                await session.sleep(0.01)
            await session.agents["b"].send("sink", 2)

        run(search.schedule(), agents={"sink": sink, "a": None, "b": None}, scenario=scenario)
        search.learn()
    assert search.strayed
    assert "did not come about" in search.summary


def test_an_order_that_cannot_come_about_is_no_hang():
    director = Director({"sink": ["deliver a→sink #2", "deliver a→sink #1"]})
    agents = {"sink": receiving(1), "a": sending(("sink", 1))}
    assert run(Schedule.directed(director), agents=agents).results["sink"] == (1,)
    assert director.check() == "deliver a→sink #2 never came"


def test_sessions_of_one_test_are_explored_one_after_the_other():
    search, seen = Exhaustive(), []
    agents = {"sink": receiving(2), "a": sending(("sink", 1)), "b": sending(("sink", 2))}
    while search.advance():
        seen.append(tuple(run(search.schedule(number), agents=agents).results["sink"] for number in (0, 1)))
        search.learn()
    assert len(set(seen)) == len(seen) == 4


def test_a_directed_schedule_has_no_token_until_it_is_written_as_delays():
    schedule = Schedule.directed(Director())
    assert str(schedule) == "an order of deliveries"
    assert not schedule.is_calm
    with pytest.raises(ValueError, match="has no token"):
        _ = schedule.token


SLOW = Network(latency=(0.001, 0.1))
"""A message may take up to 100 ms."""


def asking(timeout: float) -> Callable[[Any], Any]:
    async def behaviour(agent: Any) -> Any:
        try:
            return await agent.request("server", agent.name, timeout=timeout)
        except TimeoutError:
            return "too late"

    return behaviour


async def serving(agent: Any) -> None:
    count = 0
    async for message in agent.inbox:
        count += 1
        await agent.reply(message, count)


@pytest.mark.parametrize(
    ("network", "timeout", "answers"),
    [
        (SLOW, 0.05, {1, "too late"}),  # the answer may come after the time-out
        (SLOW, 5, {1}),  # the network is faster than that
        ("perfect", 0.05, {1}),
        ("perfect", 0.0015, {"too late"}),
    ],
    ids=["both", "in time", "soon", "too late"],
)
def test_a_time_out_races_with_its_answer_as_far_as_the_network_may_be_late(network, timeout, answers):
    search, outcomes = explored(agents={"server": serving, "client": asking(timeout)}, network=network)
    assert {outcome.results["client"] for outcome in outcomes} == answers
    assert search.runs == len(answers)
    assert search.is_exhausted


def waiting(*timeouts: float) -> Callable[[Any], Any]:
    async def behaviour(agent: Any) -> tuple[Any, ...]:
        seen: list[Any] = []
        for timeout in timeouts:
            try:
                seen.append((await agent.receive(timeout=timeout)).payload)
            except TimeoutError:
                seen.append("-")
        return tuple(seen)

    return behaviour


def test_messages_and_timers_come_in_every_order():
    agents = {"a": waiting(0.03, 0.03, 0.03), "one": sending(("a", 1)), "two": sending(("a", 2))}
    search, outcomes = explored(agents=agents, network=SLOW)
    wanted = {
        order
        for order in itertools.product(["-", 1, 2], repeat=3)
        if order.count(1) <= 1 and order.count(2) <= 1
    }
    assert {outcome.results["a"] for outcome in outcomes} == wanted
    # The two messages that come after everything come in two orders.
    assert search.summary == f"exhausted: {len(wanted) + 1} schedules"


def test_what_is_sent_after_a_timer_may_still_come_before_what_was_sent_at_the_start():
    async def later(agent: Any) -> None:
        await asyncio.sleep(0.06)
        await agent.send("a", "later")

    agents = {"a": waiting(0.12, 0.01), "soon": sending(("a", 1), ("a", 2)), "later": later}
    _, outcomes = explored(agents=agents, network=SLOW)
    seen = {outcome.results["a"] for outcome in outcomes}
    assert {(1, 2), (1, "-"), ("later", 1), ("later", "-")} <= seen


class Asking:
    """A machine that waits for an answer, for so long."""

    def __init__(self, name: str, peers: tuple[str, ...]) -> None:
        self.seen: list[str] = []

    def on_start(self, durable: Any) -> Any:
        return [SetTimer("patience", 50_000_000), Send("server", "ask", None)]

    def on_message(self, sender: str, kind: str, payload: Any) -> Any:
        self.seen.append(kind)
        return [CancelTimer("patience"), Decide(tuple(self.seen))]

    def on_timer(self, name: str) -> Any:
        self.seen.append(name)
        return []

    def on_command(self, name: str, argument: Any) -> Any:
        return []

    def view(self) -> Any:
        return None


class Answering(Asking):
    def on_start(self, durable: Any) -> Any:
        return []

    def on_message(self, sender: str, kind: str, payload: Any) -> Any:
        return [Send(sender, "answer", None)]


def test_timers_of_machines_race_with_messages():
    search, seen = Exhaustive(), []
    while search.advance():
        outcome = run(search.schedule(), agents={"asker": Asking, "server": Answering}, network=SLOW)
        search.learn()
        seen += [event.detail["value"] for event in outcome.trace if event.kind == "decide"]
    assert seen == [("answer",), ("patience", "answer")]
    assert search.summary == "exhausted: 2 schedules"


def test_copies_that_the_test_makes_have_an_order_too():
    async def scenario(session: Any) -> None:
        with session.network.duplicate():
            await session.agents["a"].send("sink", 1)
        await session.agents["b"].send("sink", 2)
        await session.finished()

    search, seen = Exhaustive(), []
    while search.advance():
        agents = {"sink": receiving(3), "a": None, "b": None}
        seen.append(run(search.schedule(), agents=agents, scenario=scenario).results["sink"])
        search.learn()
    assert sorted(seen) == [(1, 1, 2), (1, 2, 1), (2, 1, 1)]
    assert search.is_exhausted


def test_what_still_waits_at_the_end_is_written_as_later_than_the_end():
    async def picky(agent: Any) -> None:
        first = (await agent.receive()).payload
        assert first != 3, "three came first"

    agents = {"sink": picky, **{f"sender-{number}": sending(("sink", number)) for number in (1, 2, 3)}}
    search = Exhaustive()
    with pytest.raises(AgentError, match="three came first"):
        while search.advance():
            run(search.schedule(), agents=agents)
            search.learn()
    (again,) = search.schedules()
    assert len(again.deviations) == 2
    with pytest.raises(AgentError, match="three came first"):
        run(again, agents=agents)


def test_what_is_sent_when_the_work_is_done_comes_as_it_comes():
    async def scenario(session: Any) -> None:
        await session.agents["a"].send("b", 3)

    async def echo(agent: Any) -> None:
        async for message in agent.inbox:
            if message.payload:
                await agent.reply(message, message.payload - 1)

    search = Exhaustive()
    while search.advance():
        outcome = run(search.schedule(), agents={"a": echo, "b": echo}, scenario=scenario)
        search.learn()
        assert len(outcome.trace.messages) == 4
    assert search.summary == "exhausted: 1 schedule"
