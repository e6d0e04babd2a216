"""aiohttp, client and server, as it is: a download goes on where it was cut, and ends up whole."""

import asyncio

import pytest

pytest.importorskip("aiohttp")

import aiohttp
from aiohttp import web

from pytest_convergence import Session

BOOK = bytes(range(256)) * 40


async def library() -> None:
    async def book(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(int(request.query["from"]), len(BOOK), 1024):
            await response.write(BOOK[start : start + 1024])
            await asyncio.sleep(0.1)
        await response.write_eof()
        return response

    app = web.Application()
    app.add_routes([web.get("/book", book)])
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 8080).start()
    await asyncio.Event().wait()


async def read() -> bytes:
    received = b""
    timeout = aiohttp.ClientTimeout(sock_read=5, sock_connect=5)
    async with aiohttp.ClientSession("http://library:8080", timeout=timeout) as session:
        while len(received) < len(BOOK):
            try:
                async with session.get("/book", params={"from": len(received)}) as response:
                    async for piece in response.content.iter_any():
                        received += piece
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(1)
    return received


@pytest.mark.convergence(network="flaky", schedules=10)
def test_the_book_arrives_whole(convergence_session: Session) -> None:
    convergence_session.host("library", library)
    convergence_session.host("reader", read)
    assert convergence_session.run().results["reader"] == BOOK


@pytest.mark.parametrize("silently", [True, False])
def test_the_book_arrives_whole_although_the_library_crashes(
    convergence_session: Session, silently: bool
) -> None:
    server = convergence_session.host("library", library)
    convergence_session.host("reader", read)

    async def scenario(session: Session) -> None:
        await session.sleep(1.4)
        server.crash(silently=silently)
        await session.sleep(20)
        server.restart()
        await session.finished()

    assert convergence_session.run(scenario).results["reader"] == BOOK
