"""Unix sockets, with paths, without, and in pairs, do in the simulated world what they do on this machine."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests.hosts.mirror import fate_of, mirrored, outcome_of, unbound, until_readable, until_writable
from tests.hosts.protocols import Recorder, echo

UNIX = socket.AF_UNIX


@contextmanager
def a_path() -> Iterator[str]:
    """Return a path that nobody is bound to."""
    with tempfile.TemporaryDirectory(prefix="unix") as folder:
        yield os.path.join(folder, "sock")


def test_a_conversation_over_a_path():
    async def body():
        with a_path() as path:
            async with await asyncio.start_unix_server(echo, path) as server:
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"hello")
                seen = [
                    await reader.readexactly(5),
                    writer.get_extra_info("peername") == path,
                    writer.get_extra_info("sockname"),
                    server.sockets[0].getsockname() == path,
                ]
                writer.write_eof()
                seen.append(await reader.read())
                writer.close()
                await writer.wait_closed()
                return seen

    mirrored(body, [b"hello", True, "", True, b""])


def test_an_abstract_name():
    async def body():
        loop = asyncio.get_running_loop()
        name = f"\0convergence-{os.getpid()}"
        with unbound(UNIX) as waiting, unbound(UNIX) as one:
            waiting.bind(name)
            waiting.listen()
            await loop.sock_connect(one, name)
            other, address = await loop.sock_accept(waiting)
            await loop.sock_sendall(one, b"x")
            seen = [
                await loop.sock_recv(other, 1),
                address,
                one.getpeername() == name.encode(),
                one.getsockname(),
            ]
            other.close()
        with unbound(UNIX) as late:
            seen.append(fate_of(late.connect, name))
        return seen

    mirrored(body, [b"x", "", True, "", "ECONNREFUSED"])


def test_nobody_is_at_a_path_or_does_not_listen_or_is_of_another_kind():
    async def body():
        with a_path() as path, unbound(UNIX) as one, unbound(UNIX) as two, unbound(UNIX) as three:
            seen = [fate_of(one.connect, path)]
            two.bind(path)
            seen += [fate_of(one.connect, path), fate_of(three.bind, path)]
        with (
            a_path() as path,
            unbound(UNIX, socket.SOCK_DGRAM) as datagrams,
            unbound(UNIX) as one,
        ):
            datagrams.bind(path)
            seen += [
                fate_of(one.connect, path),
                fate_of(one.listen),
                await outcome_of(asyncio.open_unix_connection(path)),
            ]
        return seen

    mirrored(body, ["ENOENT", "ECONNREFUSED", "EADDRINUSE", "EPROTOTYPE", "EINVAL", "EPROTOTYPE"])


def test_a_queue_of_those_who_wait_is_bounded():
    async def body():
        with a_path() as path, unbound(UNIX) as waiting:
            waiting.bind(path)
            waiting.listen(1)
            asking = [unbound(UNIX) for _ in range(3)]
            seen = [fate_of(each.connect, path) for each in asking]
            for each in asking:
                each.close()
            return seen

    mirrored(body, [None, None, "EAGAIN"])


def test_a_pair_is_connected_and_delivers_at_once():
    async def body():
        one, other = socket.socketpair()
        seen = [one.family == UNIX, one.type == socket.SOCK_STREAM, one.getsockname(), one.getpeername()]
        one.send(b"abc")
        seen += [other.recv(2), other.recv(2)]
        other.setblocking(False)
        seen.append(fate_of(other.recv, 1))
        one.shutdown(socket.SHUT_WR)
        seen += [other.recv(1), fate_of(one.send, b"x"), other.send(b"y"), one.recv(1)]
        one.close()
        seen += [other.recv(1), fate_of(other.send, b"z")]
        other.close()
        return seen

    mirrored(
        body,
        [True, True, "", "", b"ab", b"c", "EAGAIN", b"", "EPIPE", 1, b"y", b"", "EPIPE"],
    )


def test_closing_with_unread_bytes_is_a_reset_for_the_other_end():
    async def body():
        one, other = socket.socketpair()
        other.send(b"kept")
        one.send(b"unread")
        other.close()
        seen = [fate_of(one.send, b"x"), fate_of(one.recv, 10), fate_of(one.recv, 10), fate_of(one.recv, 10)]
        one.close()
        return seen

    mirrored(body, ["EPIPE", b"kept", "ECONNRESET", b""])


def test_a_fresh_socket_says_so():
    async def body():
        with unbound(UNIX) as sock:
            return [
                fate_of(sock.recv, 1),
                fate_of(sock.send, b"x"),
                fate_of(sock.getpeername),
                sock.getsockname(),
                fate_of(sock.shutdown, socket.SHUT_WR),
                fate_of(sock.accept),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL),
            ]

    mirrored(body, ["EINVAL", "ENOTCONN", "ENOTCONN", "", None, "EINVAL", 0])


def test_a_full_pair_takes_no_more_until_it_is_read():
    async def body():
        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        sent = 0
        try:
            while True:
                sent += one.send(bytes(4_096))
        except BlockingIOError:
            pass
        got = 0
        while got < sent:
            await until_readable(other)
            got += len(other.recv(65_536))
        await until_writable(one)
        seen = [sent > 0, got == sent, one.send(b"x")]
        one.close()
        other.close()
        return seen

    mirrored(body, [True, True, 1])


def test_a_pair_as_transports():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        client, mine = await loop.create_unix_connection(Recorder, sock=one)
        server, theirs = await loop.connect_accepted_socket(Recorder, other)
        client.write(b"x" * 500_000)
        await theirs.until(500_000)
        server.close()
        await mine.lost
        await theirs.lost
        return mine.calls[-2:], theirs.calls[-1], client.is_closing()

    mirrored(body, (["eof", ("lost", None)], ("lost", None), True))


def test_datagrams_between_paths():
    async def body():
        with a_path() as here, a_path() as there, unbound(UNIX, socket.SOCK_DGRAM) as one:
            other = unbound(UNIX, socket.SOCK_DGRAM)
            one.bind(here)
            seen = [fate_of(one.sendto, b"x", there)]
            other.bind(there)
            seen += [one.sendto(b"first", there), one.sendto(b"second", there)]
            data, address = other.recvfrom(100)
            seen += [data, address == here, other.recvfrom(3)[0], fate_of(other.recv, 1)]
            with unbound(UNIX, socket.SOCK_DGRAM) as unnamed:
                unnamed.sendto(b"who", there)
                seen.append(other.recvfrom(10))
                seen.append(fate_of(unnamed.send, b"x"))
                unnamed.connect(there)
                unnamed.send(b"connected")
                seen.append(other.recv(20))
                other.close()
                seen.append(fate_of(unnamed.send, b"x"))
            return seen

    mirrored(
        body,
        [
            "ENOENT",
            5,
            6,
            b"first",
            True,
            b"sec",
            "EAGAIN",
            (b"who", None),
            "ENOTCONN",
            b"connected",
            "ECONNREFUSED",
        ],
    )


def test_a_pair_of_datagram_sockets_keeps_their_bounds():
    async def body():
        one, other = socket.socketpair(UNIX, socket.SOCK_DGRAM)
        one.send(b"ab")
        one.send(b"")
        one.send(b"cd")
        seen = [other.recv(10), other.recv(10), other.recvfrom(10)]
        other.close()
        seen.append(fate_of(one.send, b"x"))
        one.close()
        return seen

    mirrored(body, [b"ab", b"", (b"cd", None), "ECONNREFUSED"])


def test_unix_datagrams_are_never_lost_the_sender_has_to_wait():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair(UNIX, socket.SOCK_DGRAM)
        one.setblocking(False)
        other.setblocking(False)
        sent = 0
        try:
            while True:
                one.send(sent.to_bytes(4, "big") + bytes(2_000))
                sent += 1
        except BlockingIOError:
            pass
        got = []
        for _ in range(sent):
            got.append(int.from_bytes((await loop.sock_recv(other, 4_000))[:4], "big"))
        await until_writable(one)
        seen = [sent > 3, got == list(range(sent)), one.send(b"x")]
        one.close()
        other.close()
        return seen

    mirrored(body, [True, True, 1])
