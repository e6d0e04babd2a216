"""Runs with simulated hosts whose digests are compared: streams, TLS, datagrams, names, crashes."""

import asyncio
import socket
import ssl
from pathlib import Path

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence.errors import RunFailure
from tests.determinism.catalogue import FAULTS, scenario

__all__: list[str] = []

_CERTIFICATE = Path(__file__).parents[1] / "hosts" / "certificate.pem"
_WITHOUT_STEPS = [*(fault for fault in FAULTS if fault not in {"crash", "pause"}), "reset"]
"""Crashes and pauses strike at a step, and versions of Python take different numbers of steps within asyncio."""


def _run(secure: bool, **options: object) -> Outcome:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def serve() -> None:
        context = None
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(_CERTIFICATE)
        async with await asyncio.start_server(handle, "0.0.0.0", 7000, ssl=context) as server:
            await server.serve_forever()

    async def ask() -> list[str]:
        context = ssl.create_default_context(cafile=str(_CERTIFICATE)) if secure else None
        seen = []
        for number in range(6):
            try:
                async with asyncio.timeout(20):
                    reader, writer = await asyncio.open_connection(
                        "server", 7000, ssl=context, family=socket.AF_INET
                    )
                    for line in range(3):
                        writer.write(f"{number}.{line} {socket.gethostname()}\n".encode())
                        seen.append((await reader.readline()).decode())
                    writer.close()
            except OSError as error:
                seen.append(type(error).__name__)
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(repr(seen).encode(), ("other", 9))
        return seen

    async def listen() -> bytes:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("0.0.0.0", 9))
            return await asyncio.get_running_loop().sock_recv(sock, 65_536)

    session = ConvergenceEngine().create_session("hosts", **options)
    session.host("server", serve)
    session.host("client", ask)
    session.host("other", listen, serves=True)
    try:
        return session.run()
    except RunFailure as failure:
        assert failure.outcome is not None
        outcome: Outcome = failure.outcome
        return outcome


@scenario
def hosts_talk_on_a_flaky_network() -> Outcome:
    return _run(secure=False, network="flaky", seed=41)


@scenario
def hosts_under_many_faults() -> Outcome:
    return _run(secure=False, network="lossy", faults=_WITHOUT_STEPS, seed=42)


@scenario
def hosts_talk_in_secret() -> Outcome:
    return _run(secure=True, network="lossy", seed=43)
