"""Receivers that take whatever comes sleep on one object of their mailbox; nothing of that may show."""

import asyncio
from typing import Any

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.engine import ConvergenceEngine


def run(receiver: Any, *sendings: Any) -> Any:
    """Let ``b`` receive while ``a`` sends 0, 1, 2, … after so many seconds each."""

    async def sender(agent: SimulatedAgent) -> None:
        for number, seconds in enumerate(sendings):
            await asyncio.sleep(seconds)
            await agent.send("b", number)

    session = ConvergenceEngine().create_session("sleepers", agents={"a": sender, "b": receiver})
    session.run()
    return session


def test_a_receiver_that_is_cancelled_while_it_sleeps_leaves_the_message_to_the_next_one():
    async def receiver(agent: SimulatedAgent) -> list[int]:
        first = asyncio.ensure_future(anext(agent.inbox))
        await asyncio.sleep(0.5)
        first.cancel("enough")
        try:
            await first
        except asyncio.CancelledError as error:
            agent.observe("cancelled", why=error.args)
        return [(await agent.receive()).payload, (await anext(agent.inbox)).payload]

    trace = run(receiver, 1, 1).outcome.trace
    assert [event.detail for event in trace if event.kind == "observe"] == [
        {"fact": "cancelled", "why": ("enough",)}
    ]
    assert [event.detail for event in trace if event.kind == "return" and event.agent == "b"] == ["[0,1]"]


def test_a_receiver_that_was_woken_and_is_cancelled_at_once_wakes_the_next_one():
    async def receiver(agent: SimulatedAgent) -> tuple[bool, int]:
        async def first() -> None:
            await agent.receive()

        sleeps = asyncio.create_task(first())
        waits = asyncio.create_task(agent.receive())
        await asyncio.sleep(0)
        agent._box().deliver(("a", "b", 7, "message", 1, 0, 10_000, None, "user"))
        sleeps.cancel()
        got = await waits
        return sleeps.cancelled(), got.payload

    trace = run(receiver).outcome.trace
    assert [event.detail for event in trace if event.kind == "return" and event.agent == "b"] == ["[true,7]"]


def test_two_loops_over_one_inbox_share_what_comes_and_the_first_to_sleep_is_the_first_to_wake():
    async def receiver(agent: SimulatedAgent) -> list[tuple[str, int]]:
        got: list[tuple[str, int]] = []

        async def loop(name: str) -> None:
            async for message in agent.inbox:
                got.append((name, message.payload))
                if message.payload:
                    return

        async with asyncio.TaskGroup() as group:
            group.create_task(loop("one"))
            group.create_task(loop("two"))
        return got

    trace = run(receiver, 1, 1, 1).outcome.trace
    (returned,) = [event.detail for event in trace if event.kind == "return" and event.agent == "b"]
    assert returned == '[["one",0],["one",1],["two",2]]'


def test_a_receiver_that_waits_for_one_sender_lets_the_sleeper_have_what_is_from_others():
    async def receiver(agent: SimulatedAgent) -> list[int]:
        sleeps = asyncio.create_task(agent.receive())
        await asyncio.sleep(0)
        waits = asyncio.create_task(agent.receive(sender="a", type="other"))
        first = (await sleeps).payload
        waits.cancel()
        return [first, (await agent.receive()).payload]

    trace = run(receiver, 1, 1).outcome.trace
    assert [event.detail for event in trace if event.kind == "return" and event.agent == "b"] == ["[0,1]"]


def test_a_time_limit_ends_the_sleep():
    async def receiver(agent: SimulatedAgent) -> str:
        try:
            async with asyncio.timeout(0.5):
                async for _ in agent.inbox:
                    pass
        except TimeoutError:
            return str((await agent.receive()).payload)
        return ""

    trace = run(receiver, 1).outcome.trace
    assert [event.detail for event in trace if event.kind == "return" and event.agent == "b"] == ['"0"']


def test_a_task_that_was_made_by_hand_sleeps_as_well():
    async def receiver(agent: SimulatedAgent) -> int:
        async def work() -> int:
            return int((await agent.receive()).payload)

        return await asyncio.Task(work(), loop=asyncio.get_running_loop())

    trace = run(receiver, 1).outcome.trace
    assert [event.detail for event in trace if event.kind == "return" and event.agent == "b"] == ["0"]
