"""Receivers that take whatever comes sleep on one object of their mailbox; nothing of that may show."""

import asyncio
import traceback
from typing import Any

import pytest

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence.errors import AgentError, DeadlockError


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


async def in_a_group(agent: Any) -> int:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(anext(agent.inbox))
    return int(task.result().payload)


async def awaited_by_a_function(agent: SimulatedAgent) -> int:
    async def relay(awaitable: Any) -> Any:
        return await awaitable

    return (await relay(anext(agent.inbox))).payload


@pytest.mark.parametrize("take", [
    pytest.param(in_a_group, id="TaskGroup"),
    pytest.param(awaited_by_a_function, id="await"),
    pytest.param(lambda agent: _payload(asyncio.create_task(anext(agent.inbox))), id="create_task"),
    pytest.param(lambda agent: _payload(asyncio.wait_for(anext(agent.inbox), 9)), id="wait_for"),
    pytest.param(lambda agent: _payload(asyncio.shield(anext(agent.inbox))), id="shield"),
    pytest.param(lambda agent: _payload(_only(asyncio.gather(anext(agent.inbox)))), id="gather"),
    pytest.param(lambda agent: _payload(anext(agent.inbox, None)), id="anext with a default"),
])  # fmt: skip
def test_what_anext_of_an_inbox_returns_is_taken_wherever_a_coroutine_is(take: Any):
    async def receiver(agent: SimulatedAgent) -> int:
        return await take(agent)

    trace = run(receiver, 1).outcome.trace
    assert [event.detail for event in trace if event.kind == "return" and event.agent == "b"] == ["0"]


async def _payload(awaitable: Any) -> Any:
    return (await awaitable).payload


async def _only(awaitable: Any) -> Any:
    return (await awaitable)[0]


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


# -- a behaviour that waits in its inbox is stepped by the loop, without its task --------------------------------------


def returned(session: Any, agent: str = "b") -> list[Any]:
    return [
        event.detail for event in session.outcome.trace if event.kind == "return" and event.agent == agent
    ]


def test_in_each_step_the_current_task_is_that_of_the_behaviour():
    async def receiver(agent: SimulatedAgent) -> bool:
        own = asyncio.current_task()
        seen = []
        async for message in agent.inbox:
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
            if message.payload == 2:
                break
        return len(seen) == 6 and all(task is own for task in seen)

    assert returned(run(receiver, 1, 1, 1)) == ["true"]


def test_what_else_a_behaviour_awaits_is_its_tasks():
    async def receiver(agent: SimulatedAgent) -> list[Any]:
        got: list[Any] = []
        async for message in agent.inbox:
            got.append(message.payload)
            got.append(await asyncio.gather(asyncio.sleep(0.1, "slept"), asyncio.sleep(0, "turned")))
            if message.payload == 1:
                return got
        return got

    assert returned(run(receiver, 1, 1)) == ['[0,["slept","turned"],1,["slept","turned"]]']


def test_a_behaviour_that_raises_in_its_inbox_has_its_own_traceback():
    async def receiver(agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            if message.payload == 1:
                raise ValueError("no more")

    with pytest.raises(AgentError, match="agent 'b' raised ValueError: no more") as caught:
        run(receiver, 1, 1)
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)][-1] == "receiver"


def test_a_behaviour_that_is_cancelled_in_its_inbox_can_go_on():
    async def receiver(agent: SimulatedAgent) -> list[Any]:
        got: list[Any] = [(await anext(agent.inbox)).payload, (await anext(agent.inbox)).payload]
        own = asyncio.current_task()
        assert own is not None
        asyncio.get_running_loop().call_later(0.5, own.cancel, "enough")
        try:
            await anext(agent.inbox)
        except asyncio.CancelledError as error:
            got.append([*error.args, own.cancelling(), own.uncancel()])
        got.append((await anext(agent.inbox)).payload)
        got.append((await anext(agent.inbox)).payload)
        return got

    assert returned(run(receiver, 1, 1, 1, 1)) == ['[0,1,["enough",1,0],2,3]']


def test_a_message_that_came_before_a_cancellation_is_not_lost():
    async def receiver(agent: SimulatedAgent) -> list[Any]:
        own = asyncio.current_task()
        assert own is not None
        got: list[Any] = [(await anext(agent.inbox)).payload]
        # Cancelled when a message has woken it, and before it takes the step.
        asyncio.get_running_loop().call_soon(
            agent._box().deliver, ("a", "b", 7, "message", 1, 0, 10_000, None, "user")
        )
        asyncio.get_running_loop().call_soon(own.cancel)
        try:
            await anext(agent.inbox)
        except asyncio.CancelledError:
            own.uncancel()
            got.append("cancelled")
        got.append((await anext(agent.inbox)).payload)
        return got

    assert returned(run(receiver, 1)) == ['[0,"cancelled",7]']


@pytest.mark.parametrize("awaited", ["inbox", "future", "nothing", "the end"])
def test_a_behaviour_that_cancels_itself_is_cancelled_at_what_it_awaits_next(awaited: str):
    async def receiver(agent: SimulatedAgent) -> list[Any]:
        own, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert own is not None
        future = loop.create_future()
        got: list[Any] = [(await anext(agent.inbox)).payload, (await anext(agent.inbox)).payload]
        own.cancel("by itself")
        if awaited == "the end":
            return got
        try:
            if awaited == "inbox":
                await anext(agent.inbox)
            elif awaited == "future":
                await future
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            got.append([*error.args, own.uncancel(), future.cancelled()])
        got.append((await anext(agent.inbox)).payload)
        got.append((await anext(agent.inbox)).payload)
        return got

    end = "" if awaited == "the end" else f',["by itself",0,{"true" if awaited == "future" else "false"}],2,3'
    assert returned(run(receiver, 1, 1, 1, 1)) == [f"[0,1{end}]"]


def test_a_behaviour_that_waits_again_after_its_child_did_is_stepped_as_before():
    async def receiver(agent: SimulatedAgent) -> list[Any]:
        got: list[Any] = []
        for _ in range(2):
            got.append((await anext(agent.inbox)).payload)
            got.append((await asyncio.ensure_future(anext(agent.inbox))).payload)
        return got

    assert returned(run(receiver, 1, 1, 1, 1)) == ["[0,1,2,3]"]


def test_where_a_behaviour_stands_is_told_through_what_drives_it():
    async def receiver(agent: SimulatedAgent) -> None:
        await anext(agent.inbox)
        await agent.receive(type="other")

    with pytest.raises(DeadlockError, match=r"await agent.receive\(type=.other.\)"):
        run(receiver, 1)


@pytest.mark.parametrize("leaves", [SystemExit, KeyboardInterrupt])
def test_what_leaves_the_loop_leaves_it_from_the_inbox_too(leaves: type[BaseException]):
    async def receiver(agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            if message.payload == 1:
                raise leaves("out")

    with pytest.raises(leaves, match="out"):
        run(receiver, 1, 1)


def test_a_behaviour_that_is_held_in_its_inbox_takes_its_step_when_it_goes_on():
    async def receiver(agent: SimulatedAgent) -> list[tuple[int, float]]:
        loop, got = asyncio.get_running_loop(), []
        async for message in agent.inbox:
            got.append((message.payload, loop.time()))
            if message.payload == 2:
                break
        return got

    async def sender(agent: SimulatedAgent) -> None:
        b = agent.session.agents["b"]
        await agent.send("b", 0)
        await asyncio.sleep(1)
        b.pause()
        await agent.send("b", 1)
        await agent.send("b", 2)
        await asyncio.sleep(1)
        b.resume()

    session = ConvergenceEngine().create_session("held", agents={"a": sender, "b": receiver})
    session.run()
    assert returned(session) == ["[[0,0.001],[1,2.0],[2,2.0]]"]
