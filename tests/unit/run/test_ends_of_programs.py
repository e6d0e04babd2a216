"""A program that asks for the end of its process ends that of its host, and nobody else's."""

import asyncio
import os
import re
import socket
import sys
import time
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence.errors import AgentError
from tests.unit.sim.harness import make_session


async def leave(status: Any = None) -> None:
    try:
        sys.exit(status)
    finally:
        await asyncio.sleep(1)


def leave_at_once(status: Any = None) -> None:
    sys.exit(status)


@pytest.mark.parametrize(("program", "process"), [(leave, False), (leave, True), (leave_at_once, True)])
@pytest.mark.parametrize("status", [None, 0])
def test_a_program_that_exits_in_good_order_has_ended(program: Any, process: bool, status: Any) -> None:
    session = make_session()
    session.host("p", program, status, process=process)
    assert session.run().results == {"p": None}


@pytest.mark.parametrize(("program", "process"), [(leave, False), (leave, True), (leave_at_once, True)])
def test_a_program_that_exits_because_something_is_wrong_fails_the_run(program: Any, process: bool) -> None:
    session = make_session()
    session.host("p", program, 3, process=process)
    with pytest.raises(
        AgentError, match="host 'p' raised RuntimeError: the program has ended with exit status 3"
    ):
        session.run()


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("end", [lambda: os._exit(0), lambda: os.abort()])  # noqa: PLW0108 - looked up when called
def test_a_program_that_ends_its_process_at_once_takes_no_further_step(end: Any, process: bool) -> None:
    after: list[str] = []

    async def main() -> None:
        await asyncio.sleep(1)
        try:
            end()
            after.append("went on")
        finally:
            await asyncio.sleep(1)
            after.append("cleared up")

    def block() -> None:
        time.sleep(1)
        try:
            end()
            after.append("went on")
        finally:
            time.sleep(1)

    async def listen() -> str:
        async with await asyncio.start_server(lambda *_: None, "0.0.0.0", 7000):
            await asyncio.sleep(10)
        return "still there"

    async def scenario(session: Session) -> bool:
        await session.sleep(5)
        return session.hosts["p"].is_alive

    session = make_session()
    session.host("p", block if process else main, process=process)
    session.host("other", listen)
    outcome = session.run(scenario)
    assert outcome.output is False
    assert [event.agent for event in outcome.trace if event.kind == "crash"] == ["p"]
    assert not after


def test_connections_of_a_program_that_ends_its_process_are_reset() -> None:
    async def serve() -> None:
        async def end(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read(1)
            os._exit(1)

        await (await asyncio.start_server(end, "0.0.0.0", 7000)).serve_forever()

    async def ask() -> str:
        await asyncio.sleep(1)
        reader, writer = await asyncio.open_connection("server", 7000, family=socket.AF_INET)
        writer.write(b"x")
        try:
            await reader.read()
        except ConnectionResetError:
            return "reset"
        return "ended"

    session = make_session()
    session.host("server", serve)
    session.host("client", ask)

    async def scenario(session: Session) -> Any:
        await session.sleep(10)

    assert session.run(scenario).results == {"client": "reset"}


@pytest.mark.parametrize("process", [False, True])
def test_how_many_processors_there_are_does_not_depend_on_the_machine(
    process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> Any:
        count = getattr(os, "process_cpu_count", os.cpu_count)
        workers = await asyncio.to_thread(lambda: asyncio.sleep(0))
        workers.close()
        return os.cpu_count(), count(), socket.if_nameindex()

    session = make_session()
    session.host("p", main, process=process)
    assert session.run().results["p"] == (4, 4, [(1, "lo"), (2, "eth0")])


def test_multicast_is_refused_as_on_a_machine_without_it() -> None:
    async def main() -> list[str]:
        seen = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for call in (
                lambda: sock.setsockopt(
                    socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes([224, 0, 0, 251, 0, 0, 0, 0])
                ),
                lambda: sock.sendto(b"x", ("224.0.0.251", 5353)),
            ):
                try:
                    call()
                except OSError as error:
                    seen.append(str(error))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"x", ("ff02::fb", 5353))
            except OSError as error:
                seen.append(str(error))
        return seen

    session = make_session()
    session.host("p", main)
    unreachable = "[Errno 101] Network is unreachable"
    assert session.run().results["p"] == ["[Errno 19] No such device", unreachable, unreachable]


@pytest.mark.parametrize(
    ("call", "use", "way_out"),
    [
        ("os.fdopen", lambda number: os.fdopen(number), "Use os.read and os.write"),  # noqa: PLW0108 - looked up when called
        ("open", lambda number: open(number), "Use os.read and os.write"),  # noqa: PLW0108, SIM115
        ("os.dup", lambda number: os.dup(number), "Use the socket itself"),  # noqa: PLW0108
        ("os.dup2", lambda number: os.dup2(number, 99), "Use the socket itself"),
        (
            "socket.fromfd",
            lambda number: socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM),
            "Use the socket itself",
        ),
        ("socket.dup", lambda number: socket.socket(fileno=number).dup(), "Use the socket itself"),
    ],
)
def test_a_simulated_descriptor_cannot_be_used_as_a_real_one_and_the_error_says_what_to_do(
    call: str, use: Any, way_out: str
) -> None:
    async def main() -> None:
        with socket.socket() as sock:
            use(sock.fileno())

    session = make_session()
    session.host("p", main)
    with pytest.raises(AgentError, match=rf"{re.escape(call)} was called inside a run, at .*{way_out}"):
        session.run()


def test_a_program_may_try_to_copy_a_descriptor_and_go_without() -> None:
    async def main() -> str:
        with socket.socket() as sock:
            try:
                sock.dup()
            except PermissionError:
                return "went without"
        return "copied"

    session = make_session()
    session.host("p", main, may_try=["socket.dup"])
    assert session.run().results == {"p": "went without"}


def test_real_descriptors_are_opened_and_copied_as_ever() -> None:
    async def real() -> str:
        number = os.open(__file__, os.O_RDONLY)
        copy = os.dup(number)
        os.close(number)
        with os.fdopen(copy) as file:
            return file.readline()[:10]

    session = make_session()
    session.host("p", real)
    assert session.run().results["p"] == '"""A progr'
