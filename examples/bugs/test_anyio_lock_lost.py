"""AnyIO up to 3.4: a task that is cancelled just as it gets a lock keeps it for ever.

Reported as https://github.com/agronholm/anyio/issues/398; fixed in 3.5.0. ``Lock.acquire`` takes the lock and then
lets others run once.
A native cancellation at that one await leaves the lock taken by a task that is gone, and everybody after it waits for ever.

No wait is long enough for chance to hit that. ``cancel=`` lets a schedule cancel the tasks of a program at any of
their awaits.
"""

import asyncio

import pytest

pytest.importorskip("anyio")

import anyio

from pytest_convergence import Session


async def add(lock: anyio.Lock, journal: list[int], number: int) -> None:
    async with lock:
        await asyncio.sleep(0.1)
        journal.append(number)


async def bookkeeper() -> str:
    lock, journal = anyio.Lock(), []
    clients = [asyncio.create_task(add(lock, journal, number)) for number in range(3)]
    await asyncio.wait(clients)  # some may have hung up
    async with asyncio.timeout(60), lock:
        return "the books are open"


@pytest.mark.convergence(schedules=300)
def test_the_lock_is_free_when_all_clients_are_gone(convergence_session: Session) -> None:
    convergence_session.host("bookkeeper", bookkeeper, cancel="add")
    assert convergence_session.run().results["bookkeeper"] == "the books are open"
