"""Stream sockets do in the simulated world what they do on this machine: states, errors, bytes, ends."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from tests.hosts.mirror import (
    connected,
    fate_of,
    free_port,
    listening,
    mirrored,
    outcome_of,
    unbound,
    until_readable,
    until_writable,
)

NO_LINGER = struct.pack("ii", 1, 0)


def test_a_connection_carries_bytes_both_ways_until_each_side_has_ended():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        await loop.sock_sendall(one, b"ping")
        seen = [await loop.sock_recv(other, 100)]
        await loop.sock_sendall(other, b"pong")
        seen.append(await loop.sock_recv(one, 100))
        one.shutdown(socket.SHUT_WR)
        seen.append(await loop.sock_recv(other, 100))
        await loop.sock_sendall(other, b"still open this way")
        seen.append(await loop.sock_recv(one, 100))
        other.close()
        seen.append(await loop.sock_recv(one, 100))
        one.close()
        return seen

    mirrored(body, [b"ping", b"pong", b"", b"still open this way", b""])


def test_reading_into_a_buffer():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        await loop.sock_sendall(one, b"abcdef")
        buffer = bytearray(4)
        size = await loop.sock_recv_into(other, buffer)
        seen = [size, bytes(buffer), other.recv_into(buffer, 1), bytes(buffer), other.recvfrom(10)]
        one.close()
        other.close()
        return seen

    mirrored(body, [4, b"abcd", 1, b"ebcd", (b"f", None)])


def test_peeking_leaves_the_bytes_where_they_are():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        await loop.sock_sendall(one, b"abc")
        await until_readable(other)
        seen = [other.recv(2, socket.MSG_PEEK), other.recv(10, socket.MSG_PEEK), other.recv(10)]
        seen.append(fate_of(other.recv, 1, socket.MSG_PEEK))
        one.close()
        await until_readable(other)
        seen += [other.recv(1, socket.MSG_PEEK), other.recv(1)]
        other.close()
        return seen

    mirrored(body, [b"ab", b"abc", b"abc", "EAGAIN", b"", b""])


def test_a_socket_that_is_not_connected_says_so():
    async def body():
        with unbound() as sock:
            return {
                "recv": fate_of(sock.recv, 1),
                "send": fate_of(sock.send, b"x"),
                "peer": fate_of(sock.getpeername),
                "name": sock.getsockname(),
                "shutdown": fate_of(sock.shutdown, socket.SHUT_WR),
                "accept": fate_of(sock.accept),
                "error": sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
            }

    mirrored(
        body,
        {
            "recv": "ENOTCONN",
            "send": "EPIPE",
            "peer": "ENOTCONN",
            "name": ("0.0.0.0", 0),
            "shutdown": "ENOTCONN",
            "accept": "EINVAL",
            "error": 0,
        },
    )


def test_what_a_listening_socket_refuses():
    async def body():
        loop = asyncio.get_running_loop()
        with listening() as sock, unbound() as asking:
            seen = [
                fate_of(sock.accept),
                fate_of(sock.recv, 1),
                fate_of(sock.send, b"x"),
                fate_of(sock.getpeername),
                fate_of(sock.bind, ("127.0.0.1", 0)),
                fate_of(sock.connect, sock.getsockname()),
                fate_of(sock.listen),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
            ]
            await loop.sock_connect(asking, sock.getsockname())
            await until_readable(sock)
            accepted, address = sock.accept()
            seen += [address == asking.getsockname(), accepted.getsockname() == sock.getsockname()]
            accepted.close()
            return seen

    mirrored(body, ["EAGAIN", "ENOTCONN", "EPIPE", "ENOTCONN", "EINVAL", "EISCONN", None, 1, True, True])


def test_connecting_twice():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        seen = [fate_of(one.connect, ("127.0.0.1", 1)), one.connect_ex(("127.0.0.1", 1)) != 0]
        seen.append(await outcome_of(loop.sock_connect(one, ("127.0.0.1", 1))))
        one.close()
        other.close()
        return seen

    # Linux answers the first call after the connection has come about.
    mirrored(body, [None, True, "EISCONN"])


def test_a_refused_connection_and_another_try():
    async def body():
        loop = asyncio.get_running_loop()
        port = await free_port()
        with unbound() as sock, listening() as waiting:
            seen = [await outcome_of(loop.sock_connect(sock, ("127.0.0.1", port)))]
            seen.append(fate_of(sock.getpeername))
            seen += [await outcome_of(loop.sock_connect(sock, waiting.getsockname())) for _ in range(2)]
            seen.append(sock.getpeername() == waiting.getsockname())
        return seen

    mirrored(body, ["ECONNREFUSED", "ENOTCONN", "ECONNABORTED", None, True])


def test_connecting_without_waiting_is_under_way_and_then_done():
    async def body():
        with unbound() as sock, listening() as waiting:
            seen = [fate_of(sock.connect, waiting.getsockname())]
            await until_writable(sock)
            seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            seen.append(sock.getpeername() == waiting.getsockname())
        return seen

    mirrored(body, ["EINPROGRESS", 0, True])


def test_connecting_to_the_wildcard_is_connecting_to_oneself():
    async def body():
        loop = asyncio.get_running_loop()
        with unbound() as sock, listening() as waiting:
            await loop.sock_connect(sock, ("0.0.0.0", waiting.getsockname()[1]))
            return sock.getpeername() == waiting.getsockname()

    mirrored(body, True)


def test_closing_with_unread_bytes_resets_the_connection():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        await loop.sock_sendall(one, b"never read")
        await until_readable(other)
        other.close()
        await until_readable(one)
        seen = [fate_of(one.recv, 1), fate_of(one.recv, 1), fate_of(one.send, b"x"), fate_of(one.getpeername)]
        one.close()
        return seen

    mirrored(body, ["ECONNRESET", b"", "EPIPE", "ENOTCONN"])


def test_linger_zero_resets_the_connection():
    async def body():
        one, other = await connected()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        other.close()
        await until_readable(one)
        seen = [
            one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0,
            one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
            fate_of(one.recv, 1),
            fate_of(one.send, b"x"),
        ]
        one.close()
        return seen

    mirrored(body, [True, 0, b"", "EPIPE"])


def test_a_reset_fails_the_next_write_first():
    async def body():
        one, other = await connected()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        other.close()
        await until_readable(one)
        seen = [fate_of(one.send, b"x"), fate_of(one.send, b"x"), fate_of(one.recv, 1)]
        one.close()
        return seen

    mirrored(body, ["ECONNRESET", "EPIPE", b""])


@pytest.mark.parametrize("call", ["send", "sendall", "recv_into"])
def test_a_buffer_may_be_resized_while_the_error_is_handled(call: str):
    async def body():
        one, other = await connected()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        other.close()
        await until_readable(one)
        buffer = bytearray(b"0123456789")
        try:
            getattr(one, call)(buffer)
        except OSError as error:
            buffer.clear()  # asyncio's transports do so
            one.close()
            return [type(error).__name__, len(buffer)]
        raise AssertionError("nothing was wrong")

    mirrored(body, ["ConnectionResetError", 0])


def test_bytes_that_came_before_a_reset_can_still_be_read():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        await loop.sock_sendall(other, b"last words")
        await until_readable(one)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        other.close()
        await until_hung_up(one)
        seen = [fate_of(one.recv, 4), fate_of(one.recv, 100), fate_of(one.recv, 1), fate_of(one.recv, 1)]
        one.close()
        return seen

    mirrored(body, [b"last", b" words", "ECONNRESET", b""])


async def until_hung_up(sock: socket.socket) -> None:
    """Wait until a connection that still has bytes to read is known to be reset."""
    while True:
        try:
            sock.getpeername()
        except OSError:
            return
        await asyncio.sleep(0.001)


def test_writing_after_the_other_end_has_closed():
    async def body():
        one, other = await connected()
        other.close()
        await until_readable(one)
        seen = [fate_of(one.recv, 1), fate_of(one.send, b"into the void")]
        await until_hung_up(one)
        seen += [fate_of(one.send, b"x"), fate_of(one.send, b"x"), fate_of(one.recv, 1)]
        one.close()
        return seen

    mirrored(body, [b"", 13, "EPIPE", "EPIPE", b""])


def test_writing_and_reading_after_ones_own_shutdown():
    async def body():
        one, other = await connected()
        one.shutdown(socket.SHUT_WR)
        seen = [fate_of(one.send, b"x"), fate_of(one.recv, 1)]
        other.send(b"yes")
        await until_readable(one)
        seen.append(one.recv(10))
        one.shutdown(socket.SHUT_RD)
        seen.append(fate_of(one.recv, 1))
        one.close()
        other.close()
        return seen

    mirrored(body, ["EPIPE", "EAGAIN", b"yes", b""])


def test_shutting_both_ways_down():
    async def body():
        one, other = await connected()
        one.shutdown(socket.SHUT_RDWR)
        await until_readable(other)
        seen = [
            other.recv(1),
            fate_of(one.recv, 1),
            fate_of(one.send, b"x"),
            one.getpeername() == other.getsockname(),
        ]
        one.close()
        other.close()
        return seen

    mirrored(body, [b"", b"", "EPIPE", True])


def test_a_full_connection_takes_no_more_until_something_is_read():
    async def body():
        one, other = await connected(small=True)
        sent = 0
        try:
            while True:
                sent += one.send(bytes(65_536))
        except BlockingIOError:
            pass
        seen = [sent > 0, fate_of(one.send, b"x")]
        got = 0
        while got < sent:
            await until_readable(other)
            got += len(other.recv(65_536))
        await until_writable(one)
        seen += [got == sent, one.send(b"x")]
        one.close()
        other.close()
        return seen

    mirrored(body, [True, "EAGAIN", True, 1])


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_as_much_as_is_sent_arrives(size: int):
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        data = bytes(index * 7 % 251 for index in range(size))
        sending = asyncio.create_task(loop.sock_sendall(one, data))
        parts = []
        while sum(map(len, parts)) < size:
            parts.append(await loop.sock_recv(other, 100_000))
        await sending
        one.close()
        other.close()
        return b"".join(parts) == data

    mirrored(body, True)


def test_closing_a_listener_resets_those_who_wait():
    async def body():
        loop = asyncio.get_running_loop()
        waiting, one = listening(), unbound()
        await loop.sock_connect(one, waiting.getsockname())
        await until_readable(waiting)
        waiting.close()
        await until_readable(one)
        seen = fate_of(one.recv, 1)
        one.close()
        return seen

    mirrored(body, "ECONNRESET")


def test_readers_and_writers_are_told_as_long_as_there_is_something():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        calls, done = [], loop.create_future()

        def read() -> None:
            calls.append(other.recv(1))
            if len(calls) == 3:
                loop.remove_reader(other)
                done.set_result(None)

        loop.add_reader(other, read)
        await loop.sock_sendall(one, b"abc")
        await done
        seen = [calls, loop.remove_reader(other), loop.remove_writer(one)]
        one.close()
        other.close()
        return seen

    mirrored(body, [[b"a", b"b", b"c"], False, False])


def test_several_buffers_are_sent_as_one():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        seen = [one.sendmsg([b"ab", bytearray(b"cd"), memoryview(b"ef")])]
        await until_readable(other)
        seen.append(await loop.sock_recv(other, 100))
        one.sendall(b"gh")
        await until_readable(other)
        seen.append(other.recvmsg(100)[:3])
        one.close()
        other.close()
        return seen

    mirrored(body, [6, b"abcdef", (b"gh", [], 0)])


def test_a_selector_finds_a_socket_by_its_number_and_by_itself():
    async def body():
        loop: Any = asyncio.get_running_loop()
        one, other = await connected()
        loop.add_reader(one, print)
        known = loop._selector.get_map()
        seen = [
            known[one].fd == one.fileno(),
            known[one.fileno()].fileobj is one or known[one.fileno()].fileobj == one.fileno(),
            known.get(other),
            one in known,
            other.fileno() in known,
            fate_of(known.__getitem__, other),
            loop.remove_reader(one),
            one in known,
        ]
        one.close()
        other.close()
        return seen

    mirrored(body, [True, True, None, True, False, "KeyError", True, False])


def test_a_buffer_may_be_resized_by_whoever_catches_that_it_could_not_be_sent_or_filled():
    async def body():
        one, other = await connected()
        seen = []
        buffer = bytearray(10)
        for number, call in enumerate((one.recv_into, one.recvfrom_into, one.send, one.sendall)):
            if number == 2:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                other.close()
                await until_readable(one)
            try:
                call(buffer)
            except OSError as error:  # its traceback holds on to the call
                seen.append(type(error).__name__)
                buffer.extend(b"more")
        one.close()
        return [*seen, len(buffer)]

    mirrored(body, ["BlockingIOError", "BlockingIOError", "ConnectionResetError", "BrokenPipeError", 26])


def test_who_writes_to_an_end_that_is_closed_hears_of_it():
    async def body():
        waiting = listening()
        _, writer = await asyncio.open_connection(*waiting.getsockname()[:2])
        gone, _ = await asyncio.get_running_loop().sock_accept(waiting)
        gone.close()
        waiting.close()
        try:
            while True:
                writer.write(bytes(1_000))
                await writer.drain()
                await asyncio.sleep(0.0001)
        except ConnectionError:
            return "told"
        finally:
            writer.close()

    mirrored(body, "told")


@pytest.mark.parametrize("side", [0, 1])
def test_an_end_with_a_small_buffer_goes_on_when_the_other_one_has_read_all(side):
    async def body():
        loop = asyncio.get_running_loop()
        waiting = listening()
        if side:  # what is accepted takes after the one that listens
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_024)
        ends = [unbound(), None]
        if not side:
            ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_024)
        await loop.sock_connect(ends[0], waiting.getsockname())
        ends[1], _ = await loop.sock_accept(waiting)
        ends[1].setblocking(False)
        sending = asyncio.create_task(loop.sock_sendall(ends[side], bytes(100_000)))
        size = 0
        while size < 100_000:
            size += len(await loop.sock_recv(ends[1 - side], 10_000))
        await sending
        for each in (*ends, waiting):
            each.close()
        return size

    mirrored(body, 100_000)
