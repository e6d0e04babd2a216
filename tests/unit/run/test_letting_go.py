"""A session that is over leaves little to the garbage collector, and what is kept of it keeps no code alive."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, ConvergenceUsageError, Session, SimulatedAgent
from pytest_convergence._engine.sim.tasks import WorldTask

_ENOUGH = 200
"""Of three agents: most of it is the session, its agents and the trace, which may be asked for when the run is over."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


async def server(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


async def client(agent: SimulatedAgent) -> object:
    await asyncio.sleep(1)
    return await agent.request("server", "hello", timeout=5)


def run() -> Session:
    session = ConvergenceEngine().create_session(
        "s", agents={"server": server, "one": client, "other": client}
    )
    session.run()
    return session


def tasks() -> list[WorldTask]:
    return [made for made in gc.get_objects() if type(made) is WorldTask]


@pytest.mark.usefixtures("no_collector")
def test_a_session_that_is_kept_keeps_no_task_of_its_agents() -> None:
    others = {id(task) for task in tasks()}  # that something of another test still holds
    session = run()
    assert session.outcome is not None
    assert session.outcome.results == {"one": "hello", "other": "hello"}
    assert not [task for task in tasks() if id(task) not in others]
    assert session.all_returned is False  # the server never does


@pytest.mark.usefixtures("no_collector")
def test_a_session_that_nobody_keeps_leaves_little_to_the_collector() -> None:
    run()
    gc.collect()
    run()
    assert gc.collect() < _ENOUGH


def test_who_receives_when_the_run_is_over_is_told_so() -> None:
    session = run()
    with pytest.raises(ConvergenceUsageError, match="the run is over"):
        asyncio.run(session.agents["server"].request("one"))
    with pytest.raises(ConvergenceUsageError, match="the run is over"):
        _ = session.agents["server"].inbox


def test_a_mailbox_that_was_let_go_of_is_awaited_in_vain() -> None:
    boxes: list[Any] = []

    async def agent(agent: SimulatedAgent) -> None:
        boxes.append(agent.inbox)

    ConvergenceEngine().create_session("s", agents={"agent": agent}).run()
    with pytest.raises(RuntimeError, match="is over"):
        boxes[0].sleeper.__await__()


def test_whether_all_have_returned_may_be_asked_when_the_run_is_over() -> None:
    conduct = run()._conduct
    assert conduct is not None
    assert conduct.cast.all_returned()
