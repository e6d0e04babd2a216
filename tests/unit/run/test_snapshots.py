"""Snapshots: what agents hold after each step, by a look that changes nothing."""

import asyncio
import time
from typing import Any

import pytest

from pytest_convergence._engine.run import snapshots as module
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError


def make(agents: Any, **options: Any) -> Session:
    session = Session(SessionOptions.parse({"agents": agents, **options}), name="s")
    session.takes_snapshots = True
    return session


def held(session: Session, agent: str) -> list[dict[str, str]]:
    """What an agent held, after each change."""
    states: list[dict[str, str]] = []
    assert session.snapshots is not None
    for one in session.snapshots.taken:
        if one.agent == agent:
            now = {**(states[-1] if states else {}), **one.held}
            for name in one.gone:
                del now[name]
            states.append(now)
    return states


async def helper(limit: int) -> int:
    total = 0
    for number in range(limit):
        total += number
        await asyncio.sleep(1)
    return total


async def counts(agent: Any) -> None:
    answer = await helper(3)
    agent.state.set("plan.answer", answer)
    agent.storage.put("kept", [answer])
    await asyncio.sleep(1)


def test_local_variables_and_the_line_that_waits_are_held() -> None:
    session = make({"a": counts})
    session.run()
    states = held(session, "a")
    assert [state.get("locals of helper/total") for state in states[:3]] == ["0", "1", "3"]
    first = states[0]
    assert first["waits/in"] == "helper"
    assert first["waits/line"] == "await asyncio.sleep(1)"
    assert first["waits/at"].startswith("test_snapshots.py:")
    assert not any("agent" in name for name in first)


def test_documents_and_storage_are_held_until_the_end() -> None:
    session = make({"a": counts})
    session.run()
    last = held(session, "a")[-1]
    assert last["state/plan"] == "{'answer': 3}"
    assert last["storage/kept"] == "[3]"


def test_the_run_is_the_same_as_without() -> None:
    async def looks_at_the_clock(agent: Any) -> float:
        agent.expose(lambda: [time.time() for _ in range(300)] and None)
        await asyncio.sleep(1)
        return time.time()

    def digest(takes: bool) -> str:
        session = make({"a": looks_at_the_clock, "b": counts})
        session.takes_snapshots = takes
        return session.run().trace.digest()

    assert digest(takes=True) == digest(takes=False)


def test_what_was_raised_is_held_with_the_variables_of_that_moment() -> None:
    async def fails(agent: Any) -> None:
        wrong = 41
        await asyncio.sleep(1)
        raise ValueError(wrong)

    session = make({"a": fails})
    with pytest.raises(AgentError):
        session.run()
    last = held(session, "a")[-1]
    assert last["raised/error"] == "ValueError(41)"
    assert last["raised/line"] == "raise ValueError(wrong)"
    assert last["locals/wrong"] == "41"


def test_a_crashed_agent_holds_only_what_is_durable() -> None:
    async def keeps(agent: Any) -> None:
        agent.storage.put("kept", 1)
        await agent.storage.sync()
        agent.storage.put("lost", 2)
        await asyncio.sleep(9)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.agents["a"].crash()
        await session.sleep(1)

    session = make({"a": keeps})
    session.run(scenario)
    assert held(session, "a")[-1] == {"storage/kept": "1"}


def test_views_of_users_and_protocols_are_held() -> None:
    async def exposes(agent: Any) -> None:
        agent.expose(lambda: {"open": 1})
        await asyncio.sleep(1)

    session = make({"a": exposes, "b": None, "c": None}, pattern="leader-follower")
    session.run()
    assert held(session, "a")[-1]["exposed/open"] == "1"
    assert held(session, "b")[-1]["pattern/leader"] in ("'a'", "'b'", "'c'")


def test_a_view_that_raises_is_told_and_fails_nothing() -> None:
    broken = [False]

    def view() -> int:
        return 1 // 0 if broken[0] else 1

    async def exposes(agent: Any) -> None:
        agent.expose(view)
        broken[0] = True
        await asyncio.sleep(1)
        broken[0] = False

    session = make({"a": exposes})
    assert session.run().converged
    assert "ZeroDivisionError" in held(session, "a")[0]["exposed/value"]


def test_waiting_messages_are_counted() -> None:
    async def sends(agent: Any) -> None:
        await agent.send("b", 1)
        await agent.send("b", 2)

    async def sleeps(agent: Any) -> None:
        await asyncio.sleep(5)
        await agent.receive()

    session = make({"a": sends, "b": sleeps})
    session.run()
    assert [state.get("inbox/waiting") for state in held(session, "b")][:3] == [None, "1", "2"]


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    session = make({"a": counts})
    session.run()
    assert session.snapshots is not None
    assert len(session.snapshots.taken) == 2
    assert session.snapshots.is_full
