"""SO_KEEPALIVE: a connection whose other end is gone, or cut off, ends; one whose other end answers does not."""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from pytest_convergence import Network, Session
from pytest_convergence.errors import BudgetExceeded, DeadlockError
from tests.unit.sim.harness import make_session

PORT = 7_000
pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="named otherwise elsewhere")


def now() -> float:
    return asyncio.get_running_loop().time()


def keep_alive(sock: Any, idle: int = 60, interval: int = 10, count: int = 3) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)


async def serve() -> None:
    """Say what was said back, and nothing else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(answer, "0.0.0.0", PORT) as server:
        await server.serve_forever()


async def end_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, float]:
    """Wait for the end of a connection; say how it ended and when."""
    try:
        await reader.read()
    except OSError as error:
        return errno.errorcode[error.errno or 0], round(now(), 1)
    finally:
        writer.close()
    return "closed", round(now(), 1)


async def idle_client(set_up: Callable[[Any], object] = keep_alive) -> tuple[str, float]:
    """Connect, say nothing, and wait."""
    reader, writer = await asyncio.open_connection("server", PORT)
    set_up(writer.get_extra_info("socket"))
    return await end_of(reader, writer)


def run(
    client: Callable[[], Coroutine[Any, Any, Any]],
    scenario: Callable[[Session], Coroutine[Any, Any, Any]],
    **options: Any,
) -> Any:
    session = make_session(network=Network(latency=0.001), **options)
    session.host("server", serve)
    session.host("client", client)
    return session.run(scenario).results["client"]


async def lose_power(session: Session) -> None:
    await session.sleep(30)
    session.hosts["server"].crash(silently=True)
    await session.finished()


async def cut_off(session: Session) -> None:
    await session.sleep(30)
    session.hosts["server"].isolate()
    await session.finished()


async def freeze(session: Session) -> None:
    await session.sleep(30)
    session.hosts["server"].pause()
    await session.finished()


async def one_way(session: Session) -> None:
    await session.sleep(30)
    session.network.drop("server", "client")
    await session.finished()


@pytest.mark.parametrize("trouble", [lose_power, cut_off, freeze, one_way])
def test_an_idle_connection_whose_other_end_is_gone_times_out(trouble: Any) -> None:
    assert run(idle_client, trouble) == ("ETIMEDOUT", 90.0)


def test_it_takes_two_hours_and_eleven_minutes_unless_it_is_told_otherwise() -> None:
    def set_up(sock: Any) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT
        assert [sock.getsockopt(socket.IPPROTO_TCP, each) for each in options] == [7_200, 75, 9]

    assert run(partial(idle_client, set_up), lose_power) == ("ETIMEDOUT", 7_200 + 9 * 75)


def test_with_a_user_timeout_that_says_when_it_is_enough() -> None:
    def set_up(sock: Any) -> None:
        keep_alive(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 75_000)

    assert run(partial(idle_client, set_up), lose_power) == ("ETIMEDOUT", 80.0)


def test_without_it_an_idle_connection_waits_for_ever() -> None:
    with pytest.raises(DeadlockError):
        run(partial(idle_client, lambda _: None), lose_power)


def test_a_machine_that_is_back_knows_nothing_of_the_connection() -> None:
    async def scenario(session: Session) -> None:
        await session.sleep(30)
        session.hosts["server"].crash(silently=True)
        session.hosts["server"].restart()
        await session.finished()

    assert run(idle_client, scenario) == ("ECONNRESET", 60.0)


def test_a_partition_that_heals_in_time_does_no_harm() -> None:
    async def client() -> Any:
        reader, writer = await asyncio.open_connection("server", PORT)
        keep_alive(writer.get_extra_info("socket"))
        await asyncio.sleep(500)
        writer.write(b"hello")
        data = await reader.readexactly(5)
        writer.close()
        return data

    async def scenario(session: Session) -> None:
        for _ in range(3):
            await session.sleep(55)
            with session.network.partition("client"):
                await session.sleep(20)
        await session.finished()

    assert run(client, scenario) == b"hello"


def test_what_is_said_counts_and_what_is_sent_again_is_left_to_that() -> None:
    async def client() -> Any:
        reader, writer = await asyncio.open_connection("server", PORT)
        keep_alive(writer.get_extra_info("socket"), idle=20, interval=1, count=1)
        await asyncio.sleep(15)
        writer.write(b"hello")  # silence begins anew, at both ends
        await reader.readexactly(5)
        await asyncio.sleep(18)
        writer.write(b"lost")  # at 33 s: sent again for a quarter of an hour, and not asked about meanwhile
        return await end_of(reader, writer)

    async def scenario(session: Session) -> None:
        await session.sleep(32)
        session.hosts["server"].isolate()
        await session.finished()

    error, at = run(client, scenario, timeout=2_000)
    assert error == "ETIMEDOUT"
    assert 900 < at < 1_000


def test_the_end_that_accepts_takes_it_from_its_listener() -> None:
    async def serve_with_it() -> tuple[str, float]:
        ended: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ended.set_result(await end_of(reader, writer))

        listener = socket.create_server(("0.0.0.0", PORT))
        keep_alive(listener)
        async with await asyncio.start_server(answer, sock=listener):
            return await ended

    async def client() -> None:
        _, writer = await asyncio.open_connection("server", PORT)
        await asyncio.sleep(1_000)
        writer.close()

    async def scenario(session: Session) -> None:
        await session.sleep(30)
        session.hosts["client"].crash(silently=True)
        await session.finished()

    session = make_session(network=Network(latency=0))
    session.host("server", serve_with_it, serves=False)
    session.host("client", client)
    assert session.run(scenario).results["server"] == ("ETIMEDOUT", 90.0)


async def nothing_happens(session: Session) -> None:
    await session.finished()


def test_an_idle_run_is_found_at_once_while_the_other_end_is_there() -> None:
    with pytest.raises(DeadlockError, match=r"0\.00\d* s|\dus|ms"):
        run(idle_client, nothing_happens)


def test_while_something_else_goes_on_it_asks_and_is_answered() -> None:
    async def client() -> None:
        reader, writer = await asyncio.open_connection("server", PORT)
        keep_alive(writer.get_extra_info("socket"))
        await asyncio.sleep(200)
        writer.close()
        await reader.read()

    session = make_session(network=Network(latency=0.001), trace=True)
    session.host("server", serve)
    session.host("client", client)
    outcome = session.run()
    kinds = [event.message.type for event in outcome.trace if event.kind == "receive" and event.message]
    assert kinds.count("tcp probe") == kinds.count("tcp alive") == 3


def test_it_can_be_switched_off_again_and_silly_values_are_refused() -> None:
    def set_up(sock: Any) -> None:
        keep_alive(sock)
        for value in (0, 40_000):
            with pytest.raises(OSError, match="Invalid argument"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, value)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)

    with pytest.raises((DeadlockError, BudgetExceeded)):
        run(partial(idle_client, set_up), lose_power)


def test_on_the_loopback_interface_and_between_unix_sockets_it_disturbs_nobody() -> None:
    async def main() -> bytes:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            await asyncio.sleep(3)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", PORT):
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            keep_alive(writer.get_extra_info("socket"), idle=1)
            for end in socket.socketpair():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                end.close()
            data = await reader.read()
            writer.close()
            return data

    session = make_session()
    session.host("alone", main)
    assert session.run().results == {"alone": b"hello"}
