"""Hosts: echo over simulated streams beside real loopback streams and websockets; many hosts beside one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from benchmarks.measuring import Row, costs_at_most, faster_than
from pytest_convergence import ConvergenceEngine

PORT = 7012
PAYLOAD = b"x" * 64


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.CancelledError):  # Python 3.11 complains of handlers that were cancelled
        while data := await reader.read(len(PAYLOAD)):
            writer.write(data)
    writer.close()


async def _ask(host: str, port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for _ in range(requests):
        writer.write(PAYLOAD)
        await reader.readexactly(len(PAYLOAD))
    writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_echo, "0.0.0.0", PORT)
    await server.serve_forever()


def simulated_echo(requests: int = 5_000, clients: int = 1, *, trace: bool = True) -> int:
    """Hosts with a connection each to one server."""
    session = ConvergenceEngine().create_session(
        "echo", timeout=10**7, max_events=10**9, real_timeout=None, trace=trace
    )
    session.host("server", _serve)
    for number in range(clients):
        session.host(f"client-{number}", _ask_later, requests // clients)
    session.run()
    return requests


async def _ask_later(requests: int) -> None:
    await asyncio.sleep(1)  # the server listens by then
    await _ask("server", PORT, requests)


def loopback_echo(requests: int = 5_000) -> int:
    """The same over the machine's real loopback interface."""

    async def main() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        await _ask("127.0.0.1", server.sockets[0].getsockname()[1], requests)
        server.close()

    asyncio.run(main())
    return requests


def websockets_echo(requests: int = 2_000) -> int:
    """The same by websockets, over the real loopback interface."""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def echo(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", compression=None) as client:
                for _ in range(requests):
                    await client.send(PAYLOAD)
                    await client.recv()

    asyncio.run(main())
    return requests


def python_part(requests: int = 5_000) -> int:
    """What asyncio's streams themselves cost, without any kernel: two stream protocols on a bare loop, joined directly."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        pipes = [_Pipe(loop), _Pipe(loop)]
        for pipe, other in zip(pipes, reversed(pipes), strict=True):
            reader = asyncio.StreamReader(loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
            pipe.other = protocol
            protocol.connection_made(other)
            ends.append((reader, asyncio.StreamWriter(other, protocol, reader, loop)))
        answering = asyncio.create_task(_echo(*ends[1]))
        reader, writer = ends[0]
        for _ in range(requests):
            writer.write(PAYLOAD)
            await reader.readexactly(len(PAYLOAD))
        answering.cancel()

    asyncio.run(main())
    return requests


class _Pipe(asyncio.Transport):
    """A transport that hands what is written to the other end's protocol in the next turn of the loop."""

    other: Any

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def write(self, data: Any) -> None:
        self._loop.call_soon(self.other.data_received, bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""


def host_rows(rounds: int) -> dict[str, Callable[[], Row]]:
    """The lines of the table that are about hosts."""
    return {
        "echo": lambda: faster_than(
            "echo over simulated streams, x real loopback", simulated_echo, loopback_echo, 4, rounds
        ),
        "echo-floor": lambda: faster_than(
            "echo without any kernel, x real loopback", python_part, loopback_echo, 0, rounds
        ),
        "echo-websockets": lambda: faster_than(
            "echo over simulated streams, x websockets over loopback",
            simulated_echo,
            websockets_echo,
            10,
            rounds,
        ),
        "hosts": lambda: costs_at_most(
            "time per request, 100 hosts to one",
            partial(simulated_echo, 100_000, 100),
            partial(simulated_echo, 20_000, 1),
            1.5,
            max(3, rounds // 2),
        ),
    }
