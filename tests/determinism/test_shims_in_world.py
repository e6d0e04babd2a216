"""The same promises in the real simulated world: whole sessions, run twice."""

import asyncio
import concurrent.futures
import datetime
import random
import threading
import time
import uuid
from typing import Any

import pytest

from pytest_convergence import (
    AgentError,
    BudgetExceeded,
    ConvergenceEngine,
    DeadlockError,
    SimulationEscapeError,
)


def results_of(*behaviours: Any, **options: Any) -> dict[str, Any]:
    agents = {behaviour.__name__: behaviour for behaviour in behaviours}
    session = ConvergenceEngine().create_session("session", agents=agents, **options)
    return dict(session.run().results)


def test_agents_see_the_same_clocks_and_entropy_in_two_runs() -> None:
    async def worker(agent: Any) -> list[Any]:
        await asyncio.sleep(90)
        return [time.time(), datetime.datetime.now(datetime.UTC), random.random(), uuid.uuid4(), uuid.uuid1()]

    async def other(agent: Any) -> list[Any]:
        return [random.random(), uuid.uuid4(), uuid.uuid1()]

    first, second = results_of(worker, other), results_of(worker, other)
    assert first == second
    assert first["worker"][0] == 946_684_800 + 90
    assert not set(first["worker"]) & set(first["other"])


def test_sleeping_in_reality_is_sleeping_in_the_world() -> None:
    async def sleeper(agent: Any) -> float:
        time.sleep(3_600)
        return asyncio.get_running_loop().time()

    assert results_of(sleeper)["sleeper"] == 3_600


def test_as_completed_starts_coroutines_in_the_order_given() -> None:
    async def starter(agent: Any) -> list[int]:
        started: list[int] = []

        async def work(number: int) -> None:
            started.append(number)

        for each in asyncio.as_completed([work(number) for number in range(100)]):
            await each
        return started

    assert results_of(starter)["starter"] == list(range(100))


def test_a_thread_of_an_agent_is_refused_with_its_line() -> None:
    async def threader(agent: Any) -> None:
        threading.Thread(target=print).start()

    with pytest.raises(AgentError) as caught:
        results_of(threader)
    assert isinstance(caught.value.__cause__, SimulationEscapeError)
    assert f"{__file__}:" in str(caught.value.__cause__)
    assert "threading.Thread.start was called" in str(caught.value.__cause__)


def test_a_function_in_a_thread_of_asyncio_runs_inline() -> None:
    async def caller(agent: Any) -> tuple[int, bool]:
        here = threading.get_ident()
        return await asyncio.to_thread(lambda: 5), await asyncio.to_thread(threading.get_ident) == here

    assert results_of(caller)["caller"] == (5, True)


def test_waiting_for_the_future_of_a_real_pool_is_refused() -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()

    async def waiter(agent: Any) -> int:
        return future.result()

    with pytest.raises(AgentError, match="blocking|would block"):
        results_of(waiter)


def test_an_agent_that_blocks_the_thread_is_named() -> None:
    async def blocker(agent: Any) -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    with pytest.raises(BudgetExceeded) as caught:
        results_of(blocker, real_timeout=1)
    assert "in blocker" in str(caught.value)


def test_a_deadlock_tells_what_each_agent_awaits() -> None:
    async def reader(agent: Any) -> None:
        await asyncio.Queue().get()

    async def receiver(agent: Any) -> None:
        await agent.receive()

    with pytest.raises(DeadlockError) as caught:
        results_of(reader, receiver)
    text = str(caught.value)
    assert "reader waits: " in text
    assert "await asyncio.Queue().get() → Queue.get (asyncio/queues.py:" in text
    assert "await agent.receive() → agent.receive()" in text
