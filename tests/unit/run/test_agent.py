"""What an agent can do: messages, requests, storage, faults, and what is refused."""

import asyncio
import math
import threading
from typing import Any

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import DUPLICATED
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import make_session, run_session


def test_a_scenario_can_send_and_receive_for_agents_without_a_behaviour():
    async def scenario(session: Session) -> object:
        a, b = session.agents.values()
        await a.send("b", "hi")
        return (await b.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == "hi"


def test_an_agent_without_a_behaviour_loses_its_mail_when_it_crashes():
    async def scenario(session: Session) -> object:
        a, b = session.agents.values()
        await a.send("b", "before")
        await session.sleep(1)
        b.crash()
        b.restart()
        await a.send("b", "after")
        return (await b.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == "after"


async def _echo(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


def test_a_request_returns_the_payload_of_its_reply():
    async def client(agent: SimulatedAgent) -> Any:
        return await asyncio.gather(*(agent.request("echo", number) for number in range(5)))

    assert run_session(agents={"echo": _echo, "client": client}).results["client"] == list(range(5))


def test_a_reply_to_a_message_that_was_merely_sent_is_a_message():
    async def client(agent: SimulatedAgent) -> Any:
        await agent.send("echo", "hello")
        message = await agent.receive(timeout=5)
        return [message.type, message.payload]

    assert run_session(agents={"echo": _echo, "client": client}).results["client"] == ["reply", "hello"]


def test_a_request_that_is_not_answered_in_time_is_given_up_and_its_reply_is_nobodys():
    async def slow(agent: SimulatedAgent) -> None:
        message = await agent.receive()
        await asyncio.sleep(10)
        await agent.reply(message, "late")

    async def client(agent: SimulatedAgent) -> Any:
        with pytest.raises(TimeoutError, match="agent 'client' had no reply from 'slow' within 2 s"):
            await agent.request("slow", "hello", timeout=2)
        with pytest.raises(TimeoutError, match="agent 'client' received no message within 60 s"):
            await agent.receive(timeout=60)

    outcome = run_session(agents={"slow": slow, "client": client})
    assert [event.detail for event in outcome.trace if event.kind == "observe"] == [
        {"fact": "late_reply", "message": "slow→client #1"}
    ]


def test_a_reply_that_comes_twice_is_taken_once():
    async def client(agent: SimulatedAgent) -> Any:
        first = await agent.request("echo", 1)
        with pytest.raises(TimeoutError):
            await agent.receive(timeout=5)
        return first

    schedule = Schedule.of({"deliver echo→client #1": DUPLICATED | 1_000_000 << 2})
    assert run_session(agents={"echo": _echo, "client": client}, schedule=schedule).results["client"] == 1


def test_a_reply_to_a_request_of_an_earlier_life_is_nobodys():
    async def slow(agent: SimulatedAgent) -> None:
        message = await agent.receive()
        await asyncio.sleep(1)
        await agent.reply(message, "for whom?")

    async def client(agent: SimulatedAgent) -> Any:
        if agent.storage.get("asked"):
            with pytest.raises(TimeoutError):
                await agent.receive(timeout=10)
            return "second life"
        agent.storage.put("asked", True)
        await agent.storage.sync()
        await agent.request("slow")

    async def scenario(session: Session) -> None:
        await session.sleep(0.5)
        session.agents["client"].crash()
        session.agents["client"].restart()
        await session.finished()

    assert run_session(scenario, agents={"slow": slow, "client": client}).results["client"] == "second life"


def test_receive_chooses_by_sender_and_type():
    async def scenario(session: Session) -> Any:
        a, b, c = session.agents.values()
        await a.send("c", 1, type="x")
        await b.send("c", 2, type="y")
        await a.send("c", 3, type="y")
        await session.sleep(1)
        return [
            (await c.receive(sender=a, type="y")).payload,
            (await c.receive(sender="b")).payload,
            (await c.receive(type="x")).payload,
        ]

    assert run_session(scenario, agents=["a", "b", "c"]).output == [3, 2, 1]


def test_receivers_that_wait_for_different_messages_are_each_woken_by_theirs():
    async def scenario(session: Session) -> Any:
        a, b, c = session.agents.values()
        got = []

        async def wait(**chosen: Any) -> None:
            got.append((await c.receive(**chosen)).payload)

        async with asyncio.TaskGroup() as group:
            group.create_task(wait(type="y"))
            group.create_task(wait(sender="b"))
            group.create_task(wait())
            await session.sleep(1)
            await a.send("c", "for anybody")
            await session.sleep(1)
            await b.send("c", "from b")
            await session.sleep(1)
            await a.send("c", "of type y", type="y")
        return got

    assert run_session(scenario, agents=["a", "b", "c"]).output == ["for anybody", "from b", "of type y"]


def test_a_message_is_not_lost_with_a_receiver_that_is_cancelled_just_then():
    async def scenario(session: Session) -> Any:
        a, b = session.agents.values()
        first, second = asyncio.create_task(b.receive()), asyncio.create_task(b.receive())
        await session.sleep(1)
        await a.send("b", "x")
        world = session._running().world
        world.at(world.now_ns + 1_000_000, lambda _: first.cancel(), None)  # right after it was woken
        return (await second).payload

    assert run_session(scenario, agents=["a", "b"]).output == "x"


def test_broadcast_reaches_every_other_agent():
    async def scenario(session: Session) -> Any:
        a, b, c = session.agents.values()
        await a.broadcast([1])
        return [(await b.receive()).payload, (await c.receive()).payload, b.peers]

    assert run_session(scenario, agents=["a", "b", "c"]).output == [[1], [1], ("a", "c")]


def test_an_agent_may_be_named_by_itself_or_by_its_name():
    async def scenario(session: Session) -> Any:
        a, b = session.agents.values()
        await a.send(b, 1)
        await a.send("b", 2)
        return [(await b.receive(sender=a)).payload, (await b.receive(sender="a")).payload]

    assert run_session(scenario, agents=["a", "b"]).output == [1, 2]


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda a: a.send("nobody"), "unknown agent 'nobody'"),
        (lambda a: a.send(3), "unknown agent 3"),
        (lambda a: a.send("b", threading.Lock()), "a message is a snapshot, and this cannot be copied"),
        (lambda a: a.receive(sender="nobody"), "unknown agent 'nobody'"),
        (lambda a: a.receive(timeout=-1), "timeout must be"),
        (lambda a: a.request("b", timeout=math.nan), "timeout must be"),
        (lambda a: a.reply("hello"), "reply takes the message that is answered"),
    ],
)
def test_wrong_messages_are_refused(use: Any, words: str):
    async def scenario(session: Session) -> None:
        with pytest.raises(ConvergenceUsageError, match=words):
            await use(session.agents["a"])

    run_session(scenario, agents=["a", "b"])


def test_a_payload_that_contains_itself_is_refused():
    async def scenario(session: Session) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(ConvergenceUsageError, match="cannot be copied"):
            await session.agents["a"].send("b", endless)

    run_session(scenario, agents=["a", "b"])


def test_an_agent_cannot_act_before_its_session_runs():
    a = make_session(agents=["a", "b"]).agents["a"]
    for action in (a.now, a.crash, lambda: a.storage.get("k"), lambda: a.random, lambda: a.inbox):
        with pytest.raises(ConvergenceUsageError, match="before the session runs"):
            action()
    assert a.is_alive
    assert repr(a) == "<SimulatedAgent 'a'>"


def test_storage_reads_what_was_written_and_deleted():
    async def scenario(session: Session) -> Any:
        storage = session.agents["a"].storage
        storage.put("k", [1])
        written = storage.get("k")
        written.append(2)
        seen = [storage.get("k"), storage.get("missing", "default")]
        await storage.sync()
        storage.delete("k")
        seen.append(storage.get("k"))
        session.agents["a"].crash()
        session.agents["a"].restart()
        return [*seen, session.agents["a"].storage.get("k")]

    assert run_session(scenario, agents=["a"]).output == [[1], "default", None, [1]]


def test_a_skewed_clock_is_wrong_by_what_it_was_told():
    async def scenario(session: Session) -> Any:
        a, b = session.agents.values()
        await session.sleep(10)
        a.skew_clock(offset=-2, drift=0.1)
        await session.sleep(10)
        return [a.now(), b.now()]

    assert run_session(scenario, agents=["a", "b"]).output == [19, 20]


def test_the_asyncio_timers_of_an_agent_follow_its_clock():
    async def sleeper(agent: SimulatedAgent) -> float:
        await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        return agent.session.now

    async def scenario(session: Session) -> None:
        session.agents["fast"].skew_clock(drift=1.0)
        await session.finished()

    outcome = run_session(scenario, agents={"fast": sleeper, "exact": sleeper})
    assert outcome.results == {"fast": 5.05, "exact": 10.1}


def test_a_crashed_agent_says_so():
    async def scenario(session: Session) -> str:
        session.agents["a"].crash()
        return repr(session.agents["a"])

    assert run_session(scenario, agents=["a"]).output == "<SimulatedAgent 'a', crashed>"
