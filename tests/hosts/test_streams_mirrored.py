"""asyncio's streams, servers and transports behave on simulated sockets as on those of this machine."""

import asyncio
import os
import socket
import tempfile

import pytest

from tests.hosts.mirror import (
    connected,
    fate_of,
    listening,
    mirrored,
    outcome_of,
    unbound,
)
from tests.hosts.protocols import Recorder, address, arrived, echo, recorded

LOCAL = "127.0.0.1"


def test_a_conversation_line_by_line():
    async def body():
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async for line in reader:
                writer.write(line.upper())
            writer.write_eof()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, LOCAL, 0) as server:
            reader, writer = await asyncio.open_connection(*address(server))
            writer.writelines([b"one\n", b"two\n", b"three"])
            writer.write_eof()
            seen = [
                await reader.readline(),
                await reader.readuntil(b"O"),
                await reader.read(),
                reader.at_eof(),
            ]
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, [b"ONE\n", b"TWO", b"\nTHREE", True])


def test_many_connections_at_once():
    async def body():
        async with await asyncio.start_server(echo, LOCAL, 0) as server:

            async def talk(number: int) -> bool:
                reader, writer = await asyncio.open_connection(*address(server))
                data = bytes([number]) * 10_000 * number
                writer.write(data)
                writer.write_eof()
                equal = await reader.read() == data
                writer.close()
                await writer.wait_closed()
                return equal

            return await asyncio.gather(*(talk(number) for number in range(30)))

    mirrored(body, [True] * 30)


def test_what_a_transport_knows_of_its_socket():
    async def body():
        client, _, server, _ = await recorded()
        seen = [
            client.get_extra_info("peername") == server.get_extra_info("sockname"),
            client.get_extra_info("sockname") == server.get_extra_info("peername"),
            client.get_extra_info("socket").family == socket.AF_INET,
            client.get_extra_info("cipher"),
            client.is_closing(),
            client.is_reading(),
            client.can_write_eof(),
            client.get_write_buffer_size(),
            client.get_write_buffer_limits(),
        ]
        client.close()
        server.close()
        return [*seen, client.is_closing()]

    mirrored(body, [True, True, True, None, False, True, True, 0, (16_384, 65_536), True])


def test_closing_tells_both_ends():
    async def body():
        client, mine, server, theirs = await recorded()
        client.write(b"bye")
        client.close()
        await theirs.lost
        await mine.lost
        return mine.calls, theirs.calls, theirs.data, server.is_closing()

    mirrored(body, (["made", ("lost", None)], ["made", "eof", ("lost", None)], b"bye", True))


def test_a_half_closed_connection_still_carries_the_other_way():
    async def body():
        client, mine, server, theirs = await recorded()
        theirs.keep_open = True
        client.write_eof()
        await theirs.more.wait()
        server.write(b"still here")
        seen = await mine.until(10)
        server.close()
        await mine.lost
        await theirs.lost
        return seen, mine.calls, theirs.calls, fate_of(client.write_eof)

    mirrored(
        body,
        (b"still here", ["made", "eof", ("lost", None)], ["made", "eof", ("lost", None)], None),
    )


def test_aborting_with_unread_bytes_is_a_reset():
    async def body():
        client, mine, server, theirs = await recorded()
        server.pause_reading()
        client.write(b"unread")
        await arrived(server)
        server.abort()
        await mine.lost
        await theirs.lost
        return mine.calls, theirs.calls

    mirrored(body, (["made", ("lost", "ECONNRESET")], ["made", ("lost", None)]))


def test_writing_to_a_connection_that_is_gone():
    async def body():
        client, mine, server, theirs = await recorded()
        mine.keep_open = True
        server.close()
        await theirs.lost
        await mine.more.wait()
        client.write(b"into the void")
        while not mine.lost.done():
            client.write(b"again")
            await asyncio.sleep(0.001)
        return mine.calls

    mirrored(body, ["made", "eof", ("lost", "EPIPE")])


def test_a_slow_reader_pauses_the_writer_until_it_reads():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected(small=True)
        client, mine = await loop.create_connection(Recorder, sock=one)
        server, theirs = await loop.connect_accepted_socket(Recorder, other)
        server.pause_reading()
        client.set_write_buffer_limits(high=1_000, low=100)
        size = 3_000_000
        client.write(bytes(size))
        seen = [mine.calls[-1], client.get_write_buffer_size() > 1_000, server.is_reading()]
        server.resume_reading()
        got = len(await theirs.until(size))
        await mine.resumed.wait()
        seen += [list(mine.calls), got, client.get_write_buffer_size() <= 100]
        client.close()
        await theirs.lost
        return seen

    mirrored(body, ["pause", True, False, ["made", "pause", "resume"], 3_000_000, True])


def test_drain_waits_for_a_slow_reader():
    async def body():
        begin, size = asyncio.Event(), 2_000_000

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await begin.wait()
            total = 0
            while data := await reader.read(10_000):
                total += len(data)
            writer.write(str(total).encode())
            writer.close()

        waiting = listening()
        waiting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        async with await asyncio.start_server(serve, sock=waiting, limit=1_000) as server:
            one = unbound()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
            await asyncio.get_running_loop().sock_connect(one, address(server))
            reader, writer = await asyncio.open_connection(sock=one)
            writer.write(bytes(size))
            draining = asyncio.create_task(writer.drain())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen = [draining.done()]
            begin.set()
            await draining
            writer.write_eof()
            seen.append(await reader.read())
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, [False, b"2000000"])


def test_closing_flushes_what_was_written():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected(small=True)
        client, mine = await loop.create_connection(Recorder, sock=one)
        _, theirs = await loop.connect_accepted_socket(Recorder, other)
        client.write(bytes(1_000_000))
        client.close()
        await mine.lost
        await theirs.lost
        return len(theirs.data), mine.calls[-1]

    mirrored(body, (1_000_000, ("lost", None)))


def test_a_buffered_protocol_reads_into_its_own_buffer():
    async def body():
        loop = asyncio.get_running_loop()

        class Buffered(asyncio.BufferedProtocol):
            def __init__(self) -> None:
                self.buffer, self.data = bytearray(7), b""
                self.lost = loop.create_future()

            def get_buffer(self, _: int) -> bytearray:
                return self.buffer

            def buffer_updated(self, size: int) -> None:
                self.data += self.buffer[:size]

            def connection_lost(self, error: BaseException | None) -> None:
                self.lost.set_result(error)

        one, other = await connected()
        _, protocol = await loop.connect_accepted_socket(Buffered, other)
        await loop.sock_sendall(one, b"a longer text than the buffer")
        one.close()
        return await protocol.lost, protocol.data

    mirrored(body, (None, b"a longer text than the buffer"))


def test_a_timeout_while_waiting_for_an_answer_leaves_the_connection_usable():
    async def body():
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            await go.wait()
            writer.write(b"late")
            writer.close()

        async with await asyncio.start_server(serve, LOCAL, 0) as server:
            reader, writer = await asyncio.open_connection(*address(server))
            writer.write(b"?")
            seen = [await outcome_of(asyncio.wait_for(reader.readexactly(4), 0.01))]
            go.set()
            seen.append(await reader.readexactly(4))
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, ["TimeoutError", b"late"])


def test_an_end_in_the_middle_of_what_is_awaited():
    async def body():
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"half")
            writer.close()

        async with await asyncio.start_server(serve, LOCAL, 0) as server:
            reader, writer = await asyncio.open_connection(*address(server))
            try:
                await reader.readexactly(8)
            except asyncio.IncompleteReadError as error:
                seen = error.partial
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, b"half")


@pytest.mark.parametrize("fallback", [True, False])
def test_a_file_is_sent_by_a_transport(fallback: bool):
    async def body():
        loop = asyncio.get_running_loop()
        client, _mine, _server, theirs = await recorded()
        with tempfile.TemporaryFile() as file:
            file.write(b"0123456789" * 50_000)
            file.flush()
            client.write(b"before ")
            sent = await loop.sendfile(client, file, 5, 400_000, fallback=fallback)
            client.write(b" after")
            client.close()
            await theirs.lost
            expected = (b"0123456789" * 50_000)[5:400_005]
            return sent, theirs.data == b"before " + expected + b" after", file.tell()

    mirrored(body, (400_000, True, 400_005))


def test_a_file_is_sent_by_a_socket():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        with tempfile.TemporaryFile() as file:
            file.write(os.urandom(300_000))
            file.seek(0)
            whole = file.read()
            sending = asyncio.create_task(loop.sock_sendfile(one, file))
            got = b""
            while len(got) < 300_000:
                got += await loop.sock_recv(other, 65_536)
            sent = await sending
        one.close()
        other.close()
        return sent, got == whole

    mirrored(body, (300_000, True))
