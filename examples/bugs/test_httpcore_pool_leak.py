"""httpcore 0.17: requests that are cancelled while they connect take their places in the pool for ever.

Reported as https://github.com/encode/httpcore/issues/658, https://github.com/encode/httpcore/issues/830 and
https://github.com/encode/httpx/issues/1461. The test finds it in 0.17.2 and 0.17.3, and not in 1.0.9. Once every
place is lost, each request
fails with PoolTimeout, although the server is well.
"""

import asyncio

import pytest

pytest.importorskip("httpcore")

import httpcore

from pytest_convergence import Session

PATIENT = {"timeout": {"pool": 60.0, "connect": 5.0, "read": 5.0, "write": 5.0}}


async def serve() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", 80)
    await server.serve_forever()


async def browse() -> bytes:
    async with httpcore.AsyncConnectionPool(max_connections=2) as pool:
        for _ in range(5):
            try:
                async with asyncio.timeout(0.2):  # the user leaves the page
                    await pool.request("GET", "http://server/")
            except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
                pass
            await asyncio.sleep(1)
        while True:
            try:
                return (await pool.request("GET", "http://server/", extensions=PATIENT)).content
            except (
                httpcore.NetworkError,
                httpcore.ProtocolError,
                httpcore.ReadTimeout,
                httpcore.ConnectTimeout,
            ):
                await asyncio.sleep(1)  # but not PoolTimeout: nobody else uses this pool


@pytest.mark.convergence(network="flaky", schedules=100)
def test_who_waits_is_served_however_often_somebody_gave_up_before(convergence_session: Session) -> None:
    convergence_session.host("server", serve)
    convergence_session.host("browser", browse)
    assert convergence_session.run().results["browser"] == b"ok"
