"""redis, as it is: the client that blocks, and the one for asyncio, against fakeredis' own TCP server with its threads.

Who sells tickets must not sell one twice. Reading the counter and writing it in two calls does; WATCH does not.
Who holds a lock that runs out may come too late, if his process was suspended; a fencing token tells.
"""

import asyncio
import time
from collections.abc import Callable

import pytest

pytest.importorskip("redis")
pytest.importorskip("fakeredis")

import redis
import redis.asyncio
from fakeredis import TcpFakeServer

from pytest_convergence import Session


def serve() -> None:
    with TcpFakeServer(("0.0.0.0", 6379)) as server:
        server.serve_forever()


# -- the client that blocks --------------------------------------------------------------------------------------------


def connected() -> redis.Redis:
    while True:
        client = redis.Redis("redis", 6379, socket_timeout=5)
        try:
            client.ping()
            return client
        except redis.ConnectionError:  # it is not there yet
            client.close()
            time.sleep(0.5)


def sell_by_watch(client: redis.Redis) -> int:
    def take(pipe: redis.client.Pipeline) -> int:
        number = int(pipe.get("next") or 0)
        pipe.multi()
        pipe.set("next", number + 1)
        return number

    # Again and again, until nobody came between.
    return int(client.transaction(take, "next", value_from_callable=True))


def sell_by_two_calls(client: redis.Redis) -> int:
    number = int(client.get("next") or 0)
    client.set("next", number + 1)
    return number


def sellers(session: Session, sell: Callable[[redis.Redis], int]) -> list[int]:
    sold: list[int] = []

    def work() -> None:
        client = connected()
        for _ in range(2):
            sold.append(sell(client))
        client.close()

    session.host("redis", serve, process=True)
    for name in ("Ann", "Bob"):
        session.host(name, work, process=True)
    return sold


@pytest.mark.convergence(schedules=10)
def test_no_ticket_is_sold_twice(convergence_session: Session) -> None:
    sold = sellers(convergence_session, sell_by_watch)
    convergence_session.always("no ticket is sold twice", lambda _: len(sold) == len(set(sold)))
    convergence_session.run()
    assert sorted(sold) == [0, 1, 2, 3]


def test_two_calls_sell_a_ticket_twice(convergence_session_factory: Callable[..., Session]) -> None:
    def is_sold_twice(session: Session) -> bool:
        sold = sellers(session, sell_by_two_calls)
        session.run()
        return len(sold) > len(set(sold))

    assert any(is_sold_twice(convergence_session_factory(seed=seed)) for seed in range(20))


# -- the client for asyncio --------------------------------------------------------------------------------------------


class Ledger:
    """A service of its own, that many write to; it knows which token was the newest."""

    def __init__(self, *, checks_tokens: bool) -> None:
        self.checks_tokens = checks_tokens
        self.newest = 0
        self.entries: list[int] = []

    def write(self, token: int) -> None:
        if token >= self.newest or not self.checks_tokens:
            self.newest = max(self.newest, token)
            self.entries.append(token)


async def write_under_a_lock(name: str, ledger: Ledger) -> None:
    async with redis.asyncio.Redis(host="redis", socket_timeout=5) as client:
        while True:
            try:
                if await client.set("lock", name, nx=True, px=500):
                    break
            except redis.RedisError:  # it is not there yet
                pass
            await asyncio.sleep(0.2)
        token = await client.incr("tokens")
        await asyncio.sleep(0.4)  # the work; the lock is good for half a second
        ledger.write(token)


def writers(session: Session, ledger: Ledger) -> None:
    session.host("redis", serve, process=True)
    for name in ("Ann", "Bob", "Cem", "Dora"):
        session.host(name, write_under_a_lock, name, ledger)


@pytest.mark.convergence(faults=["pause"], schedules=10)
def test_who_was_suspended_does_not_write_into_the_turn_of_another(convergence_session: Session) -> None:
    ledger = Ledger(checks_tokens=True)
    writers(convergence_session, ledger)
    convergence_session.always("written in turn", lambda _: ledger.entries == sorted(ledger.entries))
    convergence_session.run()


def test_a_lock_alone_does_not_keep_who_was_suspended_from_writing(
    convergence_session_factory: Callable[..., Session],
) -> None:
    def is_written_out_of_turn(session: Session) -> bool:
        ledger = Ledger(checks_tokens=False)
        writers(session, ledger)
        session.run()
        return ledger.entries != sorted(ledger.entries)

    sessions = (convergence_session_factory(faults=["pause"], seed=seed) for seed in range(100))
    assert any(is_written_out_of_turn(session) for session in sessions)
