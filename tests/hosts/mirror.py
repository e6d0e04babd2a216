"""One body, two worlds: the simulated network, and the real loopback interface of this machine.

A body is a coroutine function without arguments that uses asyncio and sockets and returns what it saw, in words that do
not depend on the world: no port numbers, no times. Bodies wait for events, never for a time.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from typing import Any

import pytest

from tests.unit.sim.harness import on_stock_loop, simulate

LIMIT_SECONDS = 30.0


@cache
def why_not(family: int = socket.AF_INET) -> str:
    """Why this machine's loopback interface cannot be used; empty if it can."""
    try:
        with socket.socket(family) as probe, socket.socket(family) as other:
            probe.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            probe.listen()
            other.connect(probe.getsockname())
    except OSError as error:
        return f"this machine forbids sockets on the loopback interface: {error}"
    return ""


def mirrored(
    body: Callable[[], Coroutine[Any, Any, Any]], expected: Any, *, family: int = socket.AF_INET
) -> None:
    """Hold both worlds to what is expected; the real half is skipped where the machine has no such loopback."""
    __tracebackhide__ = True

    async def bounded() -> Any:
        return await asyncio.wait_for(body(), LIMIT_SECONDS)

    assert simulate(bounded) == expected, "the simulated world"
    if reason := why_not(family):
        pytest.skip(f"only the simulated half ran: {reason}")
    assert on_stock_loop(bounded) == expected, "the real world"


def fate_of(call: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns, or the name of the error that it raises."""
    try:
        return call(*args)
    except Exception as error:
        return name_of(error)


async def outcome_of(awaitable: Awaitable[Any]) -> Any:
    """Return what comes of an awaitable, or the name of the error that it raises."""
    try:
        return await awaitable
    except Exception as error:
        return name_of(error)


def name_of(error: BaseException | None) -> str:
    """Name an error as Linux does, or by its type."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return errno.errorcode[error.errno]
    return type(error).__name__


async def until_readable(sock: socket.socket) -> None:
    """Wait until there is something to read, or an error."""
    await _until(sock, "reader")


async def until_writable(sock: socket.socket) -> None:
    """Wait until there is room, or an error."""
    await _until(sock, "writer")


async def _until(sock: socket.socket, side: str) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    getattr(loop, f"add_{side}")(sock, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        getattr(loop, f"remove_{side}")(sock)


def listening(host: str = "127.0.0.1", *, family: int = socket.AF_INET, backlog: int = 8) -> socket.socket:
    """Make a socket that waits for connections and does not block."""
    sock = socket.socket(family)
    sock.setblocking(False)
    sock.bind((host, 0))
    sock.listen(backlog)
    return sock


def unbound(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Make a fresh socket that does not block."""
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    return sock


async def connected(*, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """Make both ends of a connection, the asking one first; ``small``: with small buffers."""
    loop = asyncio.get_running_loop()
    with listening() as waiting:
        one = unbound()
        if small:
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        await loop.sock_connect(one, waiting.getsockname())
        other, _ = await loop.sock_accept(waiting)
    other.setblocking(False)
    return one, other


async def free_port() -> int:
    """Return a port on which nobody listens."""
    with listening() as waiting:
        return int(waiting.getsockname()[1])
