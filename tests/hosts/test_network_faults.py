"""What a network does to connections: latency, loss, partitions, duplicates, resets, crashes. Simulated only."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import Network
from tests.hosts.mirror import name_of, outcome_of
from tests.unit.sim.harness import make_session

PORT = 7000


async def serve() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "0.0.0.0", PORT) as server:
        await server.serve_forever()


def now() -> float:
    return asyncio.get_running_loop().time()


def run(
    client: Callable[[], Any],
    scenario: Callable[[Session], Any] | None = None,
    *,
    server: Callable[[], Any] = serve,
    **options: Any,
) -> Any:
    """Run a client against a server and return what the client returns."""
    session = make_session(**options)
    session.host("server", server)
    session.host("client", client)
    outcome: Outcome = session.run(scenario)
    return outcome.results["client"]


async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("server", PORT, family=socket.AF_INET)


def test_a_round_trip_takes_twice_the_latency():
    async def client() -> list[float]:
        begin = now()
        reader, writer = await opened()
        seen = [now() - begin]
        begin = now()
        writer.write(b"x")
        await reader.readexactly(1)
        seen.append(now() - begin)
        writer.close()
        return seen

    assert run(client, network=Network(latency=0.05)) == pytest.approx([0.1, 0.1])


def test_what_is_lost_is_sent_again_after_200_ms_then_400_ms():
    async def client() -> float:
        reader, writer = await opened()
        begin = now()
        writer.write(b"x")
        await reader.readexactly(1)
        writer.close()
        return now() - begin

    async def scenario(session: Session) -> None:
        lost = []

        def first_two(message: Any) -> bool:
            lost.append(message)
            return len(lost) <= 2

        with session.network.drop(
            "client", "server", where=lambda message: "data" in message.type and first_two(message)
        ):
            await session.finished()

    assert run(client, scenario, network=Network(latency=0.01)) == pytest.approx(0.02 + 0.2 + 0.4)


def test_connecting_into_a_partition_times_out_after_127_seconds():
    async def client() -> Any:
        begin = now()
        return await outcome_of(opened()), round(now() - begin)

    async def scenario(session: Session) -> None:
        with session.network.partition("client"):
            await session.finished()

    assert run(client, scenario, timeout=600) == ("ETIMEDOUT", 127)


def test_a_connection_outlives_a_partition_that_heals():
    async def client() -> Any:
        reader, writer = await opened()
        await asyncio.sleep(2)
        begin = now()
        writer.write(b"through")
        data = await reader.readexactly(7)
        writer.close()
        return data, now() - begin > 28

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        with session.network.partition("client"):
            await session.sleep(30)
        await session.finished()

    assert run(client, scenario, timeout=600) == (b"through", True)


def test_a_connection_gives_up_after_a_quarter_of_an_hour_of_silence():
    async def client() -> Any:
        reader, writer = await opened()
        await asyncio.sleep(2)
        begin = now()
        writer.write(b"lost")
        error = await outcome_of(reader.read())
        writer.close()
        return error, 900 < now() - begin < 940

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        with session.network.partition("client"):
            await session.finished()

    assert run(client, scenario, timeout=2_000) == ("ETIMEDOUT", True)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_a_connection_gives_up_as_soon_as_its_program_wants_it_to():
    async def client() -> Any:
        reader, writer = await opened()
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
        await asyncio.sleep(10)
        begin = now()
        writer.write(b"still there?")
        seen = await outcome_of(reader.read())
        writer.close()
        return seen, round(now() - begin, 1)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["server"].isolate()
        await session.finished()

    assert run(client, scenario) == ("ETIMEDOUT", 10.0)


def test_an_address_of_nobody_is_unreachable():
    async def client() -> Any:
        begin = now()
        try:
            await asyncio.open_connection("10.0.200.1", PORT)
        except OSError as error:
            return name_of(error), round(now() - begin)

    assert run(client) == (errno.errorcode[errno.EHOSTUNREACH], 3)


def test_a_port_on_which_nobody_listens_refuses():
    async def client() -> Any:
        return await outcome_of(asyncio.open_connection("server", PORT + 1, family=socket.AF_INET))

    assert run(client) == "ECONNREFUSED"


@pytest.mark.parametrize("seed", range(8))
def test_streams_are_whole_on_a_bad_network(seed: int):
    data = bytes(number * 31 % 256 for number in range(200_000))

    async def client() -> bool:
        reader, writer = await opened()
        for start in range(0, len(data), 10_000):
            writer.write(data[start : start + 10_000])
        writer.write_eof()
        got = await reader.read()
        writer.close()
        return got == data

    assert run(
        client,
        network=Network(latency=(0.001, 0.5), loss=0.2, duplicate=0.2, reorder=0.3),
        seed=seed,
        timeout=3_600,
    )


def test_bytes_arrive_cut_anywhere():
    async def client() -> Any:
        sizes = set()
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (socket.gethostbyname("server"), PORT))
            for _ in range(60):
                await loop.sock_sendall(sock, b"0123456789")
                got = b""
                while len(got) < 10:
                    piece = await loop.sock_recv(sock, 10)
                    sizes.add(len(piece))
                    got += piece
                assert got == b"0123456789"
        return sizes

    sizes = run(client, network="lan", seed=3)
    assert 10 in sizes
    assert len(sizes) > 3


@pytest.mark.parametrize("seed", range(5))
def test_resets_strike_connections(seed: int):
    async def client() -> Any:
        resets = 0
        for _ in range(20):
            try:
                reader, writer = await opened()
                writer.write(b"x" * 100)
                await reader.readexactly(100)
                writer.close()
            except (ConnectionError, asyncio.IncompleteReadError):
                resets += 1
        return resets

    async def careful() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(await reader.readexactly(100))
                await reader.read()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            writer.close()

        async with await asyncio.start_server(handle, "0.0.0.0", PORT) as server:
            await server.serve_forever()

    assert (
        0
        < run(client, server=careful, faults=["reset"], network=Network(reset=0.1), seed=seed, timeout=3_600)
        < 20
    )


def test_after_a_silent_crash_and_a_restart_old_connections_are_answered_by_a_reset():
    async def client() -> Any:
        reader, writer = await opened()
        await asyncio.sleep(10)
        writer.write(b"still there?")
        seen = [await outcome_of(reader.read())]
        writer.close()
        reader, writer = await opened()
        writer.write(b"new")
        seen.append(await reader.readexactly(3))
        writer.close()
        return seen

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["server"].crash(silently=True)
        await session.sleep(1)
        session.hosts["server"].restart()
        await session.finished()

    assert run(client, scenario) == ["ECONNRESET", b"new"]


def test_while_a_machine_is_silent_connecting_waits_for_it():
    async def client() -> Any:
        await asyncio.sleep(2)
        begin = now()
        _, writer = await opened()
        writer.close()
        return 4 < now() - begin < 16

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["server"].crash(silently=True)
        await session.sleep(6)
        session.hosts["server"].restart()
        await session.finished()

    assert run(client, scenario) is True


def test_where_only_the_process_died_connecting_is_refused_and_the_port_is_free_after_a_restart():
    async def client() -> Any:
        reader, writer = await opened()
        seen = [await outcome_of(reader.read())]
        writer.close()
        seen.append(await outcome_of(opened()))
        await asyncio.sleep(10)
        _, writer = await opened()
        writer.close()
        return seen

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["server"].crash(silently=False)
        await session.sleep(5)
        session.hosts["server"].restart()
        await session.finished()

    assert run(client, scenario) == ["ECONNRESET", "ECONNREFUSED"]


@pytest.mark.parametrize("what", ["accept", "reset"])
def test_a_lost_answer_to_who_asks_for_a_connection_only_costs_time(what: str):
    """The one who asks is not left waiting for ever."""

    async def client() -> Any:
        result = await outcome_of(opened())
        if isinstance(result, tuple):
            result[1].close()
            return "connected"
        return result

    async def scenario(session: Session) -> None:
        if what == "reset":
            session.hosts["server"].crash(silently=False)
        lost: list[Any] = []

        def first(message: Any) -> bool:
            if what not in message.type or lost:
                return False
            lost.append(message)
            return True

        with session.network.drop("server", "client", where=first):
            await session.finished()

    expected = {"accept": "connected", "reset": "ECONNREFUSED"}[what]
    assert run(client, scenario, timeout=600) == expected


def test_the_last_words_of_a_closed_connection_are_sent_again_when_they_are_lost():
    async def talk() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.write(b"last words")
            writer.close()

        async with await asyncio.start_server(handle, "0.0.0.0", PORT) as server:
            await server.serve_forever()

    async def client() -> Any:
        reader, writer = await opened()
        writer.write_eof()
        data = await reader.read()
        writer.close()
        return data

    async def scenario(session: Session) -> None:
        lost: list[Any] = []

        def first_two(message: Any) -> bool:
            if not any(word in message.type for word in ("data", "end")) or len(lost) > 1:
                return False
            lost.append(message)
            return True

        with session.network.drop("server", "client", where=first_two):
            await session.finished()

    assert run(client, scenario, server=talk) == b"last words"


def test_datagrams_are_lost_doubled_and_overtaken():
    async def listen() -> list[int]:
        loop = asyncio.get_running_loop()
        got = []
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("0.0.0.0", PORT))
            try:
                async with asyncio.timeout(20):
                    while True:
                        got.append(int(await loop.sock_recv(sock, 10)))
            except TimeoutError:
                return got

    async def client() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            await asyncio.sleep(1)
            for number in range(100):
                sock.sendto(str(number).encode(), ("server", PORT))
                await asyncio.sleep(0.01)

    session = make_session(
        network=Network(latency=(0.001, 0.1), loss=0.1, duplicate=0.1, reorder=0.1), seed=1
    )
    session.host("server", listen, serves=False)
    session.host("client", client)
    got = session.run().results["server"]
    assert len(set(got)) < 100  # some were lost
    assert len(got) > len(set(got))  # some came twice
    assert got != sorted(got)  # some were overtaken
