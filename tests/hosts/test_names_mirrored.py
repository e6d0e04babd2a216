"""The resolver answers numbers as the one of this machine does, and names from the hosts of the session."""

import asyncio
import socket
from typing import Any

from pytest_convergence._engine.run.session import Session
from tests.hosts.mirror import fate_of, mirrored, outcome_of
from tests.unit.sim.harness import make_session

INET, INET6 = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def test_numbers_services_and_flags():
    async def body():
        ask = socket.getaddrinfo
        return [
            ask("127.0.0.1", 80, type=STREAM),
            ask("127.0.0.1", 80),
            ask("::1", "http", type=STREAM),
            ask("127.0.0.1", "80", type=DGRAM, proto=17),
            ask(b"127.0.0.1", None, INET, STREAM),
            ask("127.0.0.1", "ssh", INET, STREAM, 0, socket.AI_NUMERICHOST),
            ask(None, 80, INET, STREAM, 0, socket.AI_PASSIVE),
            ask(None, 80, INET, STREAM),
            ask("localhost", 80, INET, STREAM),
            fate_of(ask, "localhost", 80, INET, STREAM, 0, socket.AI_NUMERICHOST),
            fate_of(ask, "127.0.0.1", 80, INET6),
            fate_of(ask, "127.0.0.1", "no-such-service", INET, STREAM),
            fate_of(ask, "127.0.0.1", 80, INET, STREAM, 17),
            fate_of(ask, None, None),
        ]

    one = (INET, STREAM, 6, "", ("127.0.0.1", 80))
    mirrored(
        body,
        [
            [one],
            [
                one,
                (INET, DGRAM, 17, "", ("127.0.0.1", 80)),
                (INET, socket.SOCK_RAW, 0, "", ("127.0.0.1", 80)),
            ],
            [(INET6, STREAM, 6, "", ("::1", 80, 0, 0))],
            [(INET, DGRAM, 17, "", ("127.0.0.1", 80))],
            [(INET, STREAM, 6, "", ("127.0.0.1", 0))],
            [(INET, STREAM, 6, "", ("127.0.0.1", 22))],
            [(INET, STREAM, 6, "", ("0.0.0.0", 80))],
            [one],
            [one],
            *["gaierror"] * 5,
        ],
    )


def test_names_of_numbers():
    async def body():
        loop = asyncio.get_running_loop()
        both = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        return [
            await loop.getnameinfo(("127.0.0.1", 80), both),
            socket.getnameinfo(("127.0.0.1", 22), socket.NI_NUMERICHOST),
            socket.getnameinfo(("::1", 80, 0, 0), both),
            await outcome_of(loop.getaddrinfo("127.0.0.1", 80, family=INET, type=STREAM)),
            socket.gethostbyname("127.0.0.1"),
            socket.gethostbyname("localhost"),
        ]

    mirrored(
        body,
        [
            ("127.0.0.1", "80"),
            ("127.0.0.1", "ssh"),
            ("::1", "80"),
            [(INET, STREAM, 6, "", ("127.0.0.1", 80))],
            "127.0.0.1",
            "127.0.0.1",
        ],
    )


def test_names_are_those_of_the_hosts():
    async def look() -> Any:
        return [
            [info[4][0] for info in socket.getaddrinfo("api.example.com", 443, type=STREAM)],
            socket.gethostbyname("SERVER"),
            socket.gethostbyaddr(socket.gethostbyname("server"))[0],
            socket.getnameinfo((socket.gethostbyname("server"), 80), socket.NI_NUMERICSERV),
            fate_of(socket.gethostbyname, "nobody"),
            socket.getfqdn("server"),
        ]

    async def idle() -> None:
        await asyncio.Event().wait()

    async def scenario(session: Session) -> Any:
        return (await session.finished())["client"]

    session = make_session()
    session.host("client", look)
    session.host("server", idle, names=["api.example.com"], serves=True)
    (v4, v6), *others = session.run(scenario).output
    assert v4.startswith("10.0.0.")
    assert v6.startswith("fd00::")
    assert others == [v4, "server", ("server", "80"), "gaierror", "server"]
