"""aiohttp 3.9.0: the answer to a request that timed out is taken for the answer to the next one.

Reported as https://github.com/aio-libs/aiohttp/issues/7864; fixed in 3.9.1. The connection of a request that timed
out went back to the pool.
"""

import asyncio

import pytest

pytest.importorskip("aiohttp")

import aiohttp

from pytest_convergence import Session


async def serve() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                path = request.split()[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", 80)
    await server.serve_forever()


async def look_up() -> None:
    timeout = aiohttp.ClientTimeout(total=0.2)
    async with aiohttp.ClientSession("http://server", timeout=timeout) as session:
        for number in range(8):
            path = f"/pages/{number}"
            try:
                async with session.get(path) as response:
                    text = await response.text()
            except (aiohttp.ClientError, TimeoutError):
                continue
            assert text == path, f"asked for {path}, was given {text}"


@pytest.mark.convergence(network="flaky", schedules=100)
def test_each_request_gets_its_own_answer(convergence_session: Session) -> None:
    convergence_session.host("server", serve)
    convergence_session.host("client", look_up)
    convergence_session.run()
