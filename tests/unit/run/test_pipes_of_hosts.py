"""Pipes and descriptors by number, as programs of hosts use them: compared with what this machine does."""

import asyncio
import errno
import fcntl
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence.errors import AgentError
from tests.unit.sim.harness import make_session


def on_a_host(main: Callable[[], Any], *, process: bool = True) -> Any:
    """Run one program on a host, and return what it returns."""
    session: Session = make_session()
    session.host("p", main, process=process)
    return session.run().results["p"]


def fate_of(call: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns, or the name of the error that it raises."""
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def without_waiting() -> list[Any]:
    """Do with a pipe what never waits."""
    read, write = os.pipe()
    seen: list[Any] = [os.get_blocking(read), os.get_blocking(write)]
    for end in (read, write):
        flags = fcntl.fcntl(end, fcntl.F_GETFD)
        fcntl.fcntl(end, fcntl.F_SETFD, flags)
        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(read, select.POLLIN)
    seen += [os.get_blocking(read), fate_of(os.read, read, 10), poll.poll(0), os.write(write, b"hello")]
    seen += [
        [event for _, event in poll.poll(0)],
        os.read(read, 3),
        os.read(read, 10),
        fate_of(os.read, read, 1),
    ]
    seen += [fate_of(os.read, write, 1), fate_of(os.write, read, b"x")]
    filled = 0
    while (written := fate_of(os.write, write, bytes(4_096))) != "EAGAIN":
        filled += written
    seen += [filled, fate_of(os.write, write, b"x"), select.select([], [write], [], 0)[1]]
    while isinstance(fate_of(os.read, read, 60_000), bytes):
        pass
    seen.append(select.select([], [write], [], 0)[1] == [write])
    os.write(write, b"last")
    os.close(write)
    seen += [os.read(read, 10), os.read(read, 10), fate_of(os.write, write, b"x"), fate_of(os.close, write)]
    os.close(read)
    read, write = os.pipe2(os.O_NONBLOCK)
    os.close(read)
    seen += [os.get_blocking(write), fate_of(os.write, write, b"x")]
    os.set_blocking(write, True)
    seen.append(os.get_blocking(write))
    os.close(write)
    return seen


def test_a_pipe_does_what_it_does_on_this_machine() -> None:
    expected = without_waiting()
    assert on_a_host(without_waiting) == expected
    assert expected[9] == "EAGAIN"


def test_a_host_that_shares_its_thread_has_pipes_too() -> None:
    async def main() -> list[Any]:
        read, write = os.pipe()
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(read, told.set)
        os.write(write, b"x")
        await told.wait()
        asyncio.get_running_loop().remove_reader(read)
        data = os.read(read, 10)
        os.close(read)
        os.close(write)
        return [data, without_waiting()]

    assert on_a_host(main, process=False) == [b"x", without_waiting()]


def test_who_reads_a_pipe_waits_until_another_thread_writes() -> None:
    def main() -> list[Any]:
        read, write = os.pipe()
        seen: list[Any] = []

        def tell() -> None:
            time.sleep(2)
            os.write(write, b"now")
            time.sleep(1)
            os.close(write)

        thread = threading.Thread(target=tell)
        thread.start()
        poll = select.poll()
        poll.register(read, select.POLLIN)
        seen += [poll.poll(500), time.monotonic(), os.read(read, 10), time.monotonic(), os.read(read, 10)]
        thread.join()
        os.close(read)
        return [*seen, time.monotonic()]

    assert on_a_host(main) == [[], 0.5, b"now", 2.0, b"", 3.0]


def test_who_fills_a_pipe_waits_until_another_thread_reads() -> None:
    def main() -> tuple[int, float]:
        read, write = os.pipe()

        def empty() -> None:
            time.sleep(2)
            while os.read(read, 65_536):
                pass

        thread = threading.Thread(target=empty)
        thread.start()
        written = os.write(write, bytes(65_536)) + os.write(write, b"more")
        waited = time.monotonic()
        os.close(write)
        thread.join()
        os.close(read)
        return written, waited

    assert on_a_host(main) == (65_540, 2.0)


def test_a_socket_that_was_told_by_its_number_not_to_wait_does_not() -> None:
    def main() -> list[Any]:
        one, other = socket.socketpair()
        fcntl.fcntl(one, fcntl.F_SETFL, fcntl.fcntl(one.fileno(), fcntl.F_GETFL) | os.O_NONBLOCK)
        with one.makefile("rb") as file:
            seen = [one.gettimeout(), fate_of(one.recv, 1), file.readline()]
            os.write(other.fileno(), b"by number\n")
            seen += [file.readline(), os.get_blocking(other.fileno())]
        one.settimeout(5)
        seen.append(os.get_blocking(one.fileno()))
        one.setblocking(True)
        seen.append(os.get_blocking(one.fileno()))
        os.write(other.fileno(), b"x")
        seen.append(os.read(one.fileno(), 10))
        one.close()
        other.close()
        return seen

    assert on_a_host(main) == main()


def test_a_crash_closes_the_pipes() -> None:
    seen: list[int] = []

    def main() -> None:
        seen.extend(os.pipe())
        time.sleep(60)

    session = make_session()
    host = session.host("p", main, process=True)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        host.crash()
        host.restart()
        await session.sleep(1)

    session.run(scenario)
    assert len(seen) == len(set(seen)) == 4


def test_what_a_pipe_cannot_do_is_refused() -> None:
    async def main() -> None:
        os.read(os.pipe()[0], 1)

    with pytest.raises(AgentError, match=r"os\.read was called inside a run.*process=True"):
        on_a_host(main, process=False)

    def by_datagram() -> list[Any]:
        with socket.socket(type=socket.SOCK_DGRAM) as made:
            return [fate_of(os.read, made.fileno(), 1), fate_of(fcntl.fcntl, made.fileno(), fcntl.F_GETLK)]

    assert on_a_host(by_datagram) == [errno.errorcode[errno.EOPNOTSUPP], "EINVAL"]
