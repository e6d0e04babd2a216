"""A run ends for its hosts as a loss of power does: no code of theirs says anything any more, and nothing is left of it."""

import asyncio
import gc
import logging
import os
import socket
import ssl
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence._engine.run.hosting import run_in_world
from pytest_convergence._engine.run.options import SessionOptions
from tests.unit.sim.harness import make_session, threads_left

KEPT: list[object] = []
CERTIFICATE = Path(__file__).parents[2] / "hosts" / "certificate.pem"


async def leave_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A handler that closes nothing, and tells of its end if it hears of one."""
    try:
        writer.write(await reader.readline())
        await reader.readline()
    except asyncio.CancelledError:
        sys.stdout.write("a handler was cancelled\n")
        raise
    finally:
        sys.stderr.write("a handler has ended\n")
        logging.getLogger("server").critical("a handler has ended")
        warnings.warn("a handler has ended", stacklevel=1)


async def serve(**options: Any) -> None:
    server = await asyncio.start_server(leave_open, "0.0.0.0", 7000, **options)
    await server.serve_forever()


def serve_with_tls() -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return serve(ssl=context)


async def ask(**options: Any) -> bytes:
    while True:
        try:
            reader, writer = await asyncio.open_connection("server", 7000, **options)
            writer.write(b"hello\n")
            KEPT.append(writer)  # still open when the run ends
            return await reader.readline()
        except OSError:
            await asyncio.sleep(1)


def ask_with_tls() -> Any:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    context.check_hostname = False
    return ask(ssl=context)


def run(server: Callable[..., Any], client: Callable[..., Any], *, process: bool) -> Session:
    async def begin_server() -> None:
        await server()

    async def begin_client() -> bytes:
        answer: bytes = await client()
        return answer

    session = make_session()
    session.host("server", begin_server, process=process)
    session.host("client", begin_client, process=process)
    assert session.run().results == {"client": b"hello\n"}
    return session


@pytest.mark.parametrize("process", [False, True], ids=["light", "process"])
@pytest.mark.parametrize(
    ("server", "client"), [(serve, ask), (serve_with_tls, ask_with_tls)], ids=["plain", "tls"]
)
def test_the_end_of_a_run_is_silent(
    server: Callable[..., Any],
    client: Callable[..., Any],
    process: bool,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        session = run(server, client, process=process)
        outcome = session.outcome
        del session
        KEPT.clear()
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
    assert caplog.records == []
    assert "handler" not in "".join(capfd.readouterr())
    assert outcome is not None
    kinds = [(event.agent, event.kind) for event in outcome.trace]
    assert kinds.index(("client", "return")) < kinds.index(("server", "stop"))
    assert kinds[-1] == ("server", "stop")


def test_no_program_hears_that_the_run_is_over_before_its_trace_is_complete() -> None:
    heard: list[float] = []

    async def program() -> None:
        server = await asyncio.start_server(leave_open, "0.0.0.0", 7000)
        try:
            await server.serve_forever()
        except asyncio.CancelledError:
            heard.append(time.monotonic())
            raise

    async def test() -> list[float]:
        session = make_session()
        session.host("server", program)

        async def scenario(session: Session) -> None:
            await session.sleep(1)

        await session.execute(scenario)
        await asyncio.sleep(10)
        return list(heard)

    assert run_in_world(test, SessionOptions()) == []
    assert heard == []


def test_an_exception_that_a_task_of_a_host_has_left_behind_is_still_told() -> None:
    async def program() -> None:
        async def fail() -> None:
            raise ValueError("nobody hears me")

        kept.append(asyncio.create_task(fail()))
        await (await asyncio.start_server(leave_open, "0.0.0.0", 7000)).serve_forever()

    async def scenario(session: Session) -> None:
        await session.sleep(1)

    kept: list[asyncio.Task[None]] = []
    session = make_session()
    session.host("server", program)
    with pytest.raises(Exception, match="nobody hears me"):
        session.run(scenario)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")
def test_nothing_of_a_run_is_left_for_the_next() -> None:
    class Token:
        pass

    tokens: weakref.WeakSet[Token] = weakref.WeakSet()

    async def hold() -> None:
        token = Token()
        tokens.add(token)
        await serve()
        del token

    def block() -> None:
        token = Token()
        tokens.add(token)
        server = socket.create_server(("0.0.0.0", 7000))
        threading.Thread(target=server.accept).start()
        threading.Event().wait()
        del token

    def once() -> None:
        session = make_session()
        session.host("light", hold)
        session.host("loop", hold, process=True)
        session.host("blocking", block, process=True)

        async def scenario(session: Session) -> None:
            await session.sleep(1)

        session.run(scenario)

    known = set(threading.enumerate())
    once()
    before = threads_left(known), descriptors()
    for _ in range(20):
        once()
    gc.collect()
    assert (threads_left(known), descriptors()) == before == ([], before[1])
    assert len(tokens) == 0


def test_a_thread_that_has_ended_is_remembered_by_nobody() -> None:
    left: list[int] = []

    def program() -> None:
        for _ in range(50):
            thread = threading.Thread(target=time.sleep, args=(0.001,))
            thread.start()
            thread.join()

    async def scenario(session: Session) -> None:
        world = session._conduct.world  # type: ignore[union-attr]
        before = len(world.closers)
        await session.finished()
        left.append(len(world.closers) - before)

    session = make_session()
    session.host("worker", program, process=True)
    session.run(scenario)
    assert left[0] <= 0
