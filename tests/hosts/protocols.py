"""What the tests of transports and servers have in common: an echo, and a protocol that writes down what it is told."""

import asyncio
import contextlib
import socket
from typing import Any

from tests.hosts.mirror import connected, name_of


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def address(server: asyncio.Server) -> tuple[str, int]:
    return server.sockets[0].getsockname()[:2]


class Recorder(asyncio.Protocol):
    """Writes down what its transport tells it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lost = asyncio.get_running_loop().create_future()
        self.made = asyncio.get_running_loop().create_future()
        self.paused = asyncio.Event()
        self.resumed = asyncio.Event()
        self.data = b""
        self.more = asyncio.Event()
        self.keep_open = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made.set_result(None)
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.more.set()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        self.more.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")
        self.paused.set()

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self.resumed.set()

    def connection_lost(self, error: BaseException | None) -> None:
        self.calls.append(("lost", name_of(error) if error else None))
        self.lost.set_result(None)

    async def until(self, size: int) -> bytes:
        while len(self.data) < size:
            self.more.clear()
            await self.more.wait()
        return self.data


async def recorded() -> tuple[asyncio.Transport, Recorder, asyncio.Transport, Recorder]:
    """Make a connection whose ends are recorders; the asking one first."""
    loop = asyncio.get_running_loop()
    one, other = await connected()
    client, mine = await loop.create_connection(Recorder, sock=one)
    server, theirs = await loop.connect_accepted_socket(Recorder, other)
    return client, mine, server, theirs


async def arrived(transport: asyncio.Transport) -> None:
    """Wait until a transport whose reading is paused has something to read."""
    sock = transport.get_extra_info("socket")._sock
    while True:
        with contextlib.suppress(BlockingIOError):
            sock.recv(1, socket.MSG_PEEK)
            return
        await asyncio.sleep(0.001)
