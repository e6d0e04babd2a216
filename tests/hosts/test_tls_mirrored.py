"""Real TLS over simulated bytes: handshakes, upgrades, ends and refusals, as on this machine.

``certificate.pem`` was made for these tests alone and protects nothing: a self-signed certificate for ``localhost`` and
``server``, valid for a hundred years, with its key.
"""

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.hosts.mirror import connected, mirrored, name_of, outcome_of
from tests.hosts.protocols import Recorder, address, echo

PEM = Path(__file__).with_name("certificate.pem")
LOCAL = "127.0.0.1"


def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def asking() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_conversation_in_secret(version: ssl.TLSVersion):
    async def body():
        context = serving()
        context.minimum_version = context.maximum_version = version
        async with await asyncio.start_server(echo, LOCAL, 0, ssl=context) as server:
            reader, writer = await asyncio.open_connection(
                *address(server), ssl=asking(), server_hostname="localhost"
            )
            writer.write(b"secret" * 30_000)
            seen = [
                await reader.readexactly(180_000) == b"secret" * 30_000,
                writer.get_extra_info("ssl_object").version(),
                writer.get_extra_info("peercert")["subject"],
                writer.can_write_eof(),
            ]
            writer.close()
            await writer.wait_closed()
            return seen

    name = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    mirrored(body, [True, name, ((("commonName", "localhost"),),), False])


def test_a_certificate_that_nobody_trusts_or_of_another_name():
    async def body():
        async with await asyncio.start_server(echo, LOCAL, 0, ssl=serving()) as server:
            seen = []
            for context, name in ((ssl.create_default_context(), "localhost"), (asking(), "elsewhere")):
                asked = asyncio.open_connection(*address(server), ssl=context, server_hostname=name)
                try:
                    await asked
                except ssl.SSLCertVerificationError as error:
                    seen.append(error.verify_message.partition(",")[0])
            return seen

    mirrored(body, ["self-signed certificate", "Hostname mismatch"])


def test_who_speaks_plainly_to_a_secret_server_is_cut_off():
    async def body():
        async with await asyncio.start_server(echo, LOCAL, 0, ssl=serving()) as server:
            reader, writer = await asyncio.open_connection(*address(server))
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            seen = await outcome_of(reader.read())
            writer.close()
            await outcome_of(writer.wait_closed())
            return seen == b"" or seen == "ECONNRESET" or seen[:1] == b"\x15"

    mirrored(body, True)


def test_a_connection_is_upgraded_to_tls():
    async def body():
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(serving())
            await echo(reader, writer)

        async with await asyncio.start_server(serve, LOCAL, 0) as server:
            reader, writer = await asyncio.open_connection(*address(server))
            writer.write(b"STARTTLS\n")
            seen = [await reader.readline()]
            await writer.start_tls(asking(), server_hostname="localhost")
            writer.write(b"secret now")
            seen += [await reader.readexactly(10), writer.get_extra_info("ssl_object").version()]
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, [b"go\n", b"secret now", "TLSv1.3"])


def test_the_end_of_a_secret_conversation():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        accepted = asyncio.create_task(loop.connect_accepted_socket(Recorder, other, ssl=serving()))
        client, mine = await loop.create_connection(
            Recorder, sock=one, ssl=asking(), server_hostname="localhost"
        )
        server, theirs = await accepted
        client.write(b"bye")
        await theirs.until(3)
        client.close()
        await theirs.lost
        await mine.lost
        return mine.calls, theirs.calls, server.is_closing()

    mirrored(body, (["made", "eof", ("lost", None)], ["made", "eof", ("lost", None)], True))


def test_an_abort_in_the_middle():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        accepted = asyncio.create_task(loop.connect_accepted_socket(Recorder, other, ssl=serving()))
        client, mine = await loop.create_connection(
            Recorder, sock=one, ssl=asking(), server_hostname="localhost"
        )
        _, theirs = await accepted
        client.write(b"x")
        await theirs.until(1)
        client.abort()
        await mine.lost
        await theirs.lost
        return mine.calls[-1], theirs.calls[-1][0]

    mirrored(body, (("lost", None), "lost"))


def test_a_handshake_that_nobody_answers_times_out():
    async def body():
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silent, LOCAL, 0) as server:
            try:
                await asyncio.open_connection(
                    *address(server), ssl=asking(), server_hostname="localhost", ssl_handshake_timeout=0.05
                )
            except OSError as error:
                return name_of(error)

    mirrored(body, "ConnectionAbortedError")


def test_back_pressure_reaches_through_tls():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected(small=True)
        accepted = asyncio.create_task(loop.connect_accepted_socket(Recorder, other, ssl=serving()))
        client, mine = await loop.create_connection(
            Recorder, sock=one, ssl=asking(), server_hostname="localhost"
        )
        server, theirs = await accepted
        server.pause_reading()
        for _ in range(4):
            client.write(bytes(1_000_000))
        await mine.paused.wait()
        server.resume_reading()
        await theirs.until(4_000_000)
        await mine.resumed.wait()
        client.close()
        await theirs.lost
        await mine.lost
        return len(theirs.data), mine.calls.count("pause") > 0, mine.calls.count("resume") > 0

    mirrored(body, (4_000_000, True, True))
