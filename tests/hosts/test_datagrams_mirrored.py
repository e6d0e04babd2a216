"""UDP in the simulated world does what it does on this machine."""

import asyncio
import socket
from typing import Any

from tests.hosts.mirror import fate_of, free_port, mirrored, name_of, outcome_of, unbound, until_readable

DGRAM = socket.SOCK_DGRAM
LOCAL = "127.0.0.1"


class Listener(asyncio.DatagramProtocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.told.put_nowait((data, address))

    def error_received(self, error: Exception) -> None:
        self.told.put_nowait(name_of(error))

    def connection_lost(self, error: BaseException | None) -> None:
        self.lost.set_result(name_of(error) if error else None)


def bound(host: str = LOCAL, family: int = socket.AF_INET) -> socket.socket:
    sock = unbound(family, DGRAM)
    sock.bind((host, 0))
    return sock


def test_endpoints_exchange_datagrams():
    async def body():
        loop = asyncio.get_running_loop()
        server, asked = await loop.create_datagram_endpoint(Listener, local_addr=(LOCAL, 0))
        where = server.get_extra_info("sockname")
        client, answered = await loop.create_datagram_endpoint(Listener, remote_addr=where)
        client.sendto(b"ping")
        data, address = await asked.told.get()
        server.sendto(b"pong", address)
        seen = [
            data,
            address == client.get_extra_info("sockname"),
            await answered.told.get() == (b"pong", where),
        ]
        seen += [client.get_extra_info("peername") == where, server.get_extra_info("peername")]
        client.close()
        server.close()
        return [*seen, await asked.lost, await answered.lost]

    mirrored(body, [b"ping", True, True, True, None, None, None])


def test_a_closed_port_is_an_error_for_who_is_connected_and_silence_for_others():
    async def body():
        loop = asyncio.get_running_loop()
        with bound() as gone:
            where = gone.getsockname()
        connected, told = await loop.create_datagram_endpoint(Listener, remote_addr=where)
        connected.sendto(b"anybody?")
        seen = [await told.told.get()]
        with bound() as sock, bound() as other:
            sock.sendto(b"anybody?", where)
            sock.sendto(b"you", other.getsockname())
            await until_readable(other)
            seen += [other.recv(10), fate_of(sock.recv, 10)]
        connected.close()
        await told.lost
        return seen

    mirrored(body, ["ECONNREFUSED", b"you", "EAGAIN"])


def test_an_error_is_told_once_by_the_next_call():
    async def body():
        with bound() as gone:
            where = gone.getsockname()
        with unbound(kind=DGRAM) as sock:
            sock.connect(where)
            sock.send(b"x")
            await until_readable(sock)
            seen = [fate_of(sock.recv, 1), fate_of(sock.recv, 1)]
            sock.send(b"x")
            await until_readable(sock)
            seen += [fate_of(sock.send, b"x")]
            return seen

    mirrored(body, ["ECONNREFUSED", "EAGAIN", "ECONNREFUSED"])


def test_sizes():
    async def body():
        with bound() as one, bound() as other:
            where = other.getsockname()
            seen = [fate_of(one.sendto, bytes(65_508), where), one.sendto(bytes(65_507), where)]
            await until_readable(other)
            seen.append(len(other.recv(70_000)))
            seen += [one.sendto(b"", where), one.sendto(b"abcdef", where)]
            await until_readable(other)
            seen.append(other.recv(10))
            await until_readable(other)
            seen += [other.recv(3, socket.MSG_PEEK), other.recv(3), fate_of(other.recv, 3)]
            return seen

    mirrored(body, ["EMSGSIZE", 65_507, 65_507, 0, 6, b"", b"abc", b"abc", "EAGAIN"])


def test_a_large_datagram_is_an_error_for_its_transport():
    async def body():
        loop = asyncio.get_running_loop()
        client, told = await loop.create_datagram_endpoint(Listener, remote_addr=(LOCAL, await free_port()))
        client.sendto(bytes(70_000))
        seen = await told.told.get()
        client.close()
        await told.lost
        return seen

    mirrored(body, "EMSGSIZE")


def test_states_and_addresses():
    async def body():
        with unbound(kind=DGRAM) as sock, bound() as other, unbound(kind=DGRAM) as third:
            where = other.getsockname()
            seen = [
                sock.getsockname(),
                fate_of(sock.getpeername),
                fate_of(sock.send, b"x"),
                fate_of(sock.recv, 1),
                fate_of(sock.listen),
                fate_of(sock.accept),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == socket.IPPROTO_UDP,
                sock.sendto(b"x", where),
                sock.getsockname()[0],
                sock.getsockname()[1] > 0,
                fate_of(other.bind, where),
                fate_of(sock.bind, where),
            ]
            sock.connect(where)
            seen += [
                sock.getpeername() == where,
                sock.getsockname()[0],
                sock.send(b"y"),
                sock.sendto(b"z", where),
            ]
            seen += [fate_of(sock.sendto, b"x", (LOCAL, 0)), fate_of(third.bind, where)]
            return seen

    mirrored(
        body,
        [
            *(("0.0.0.0", 0), "ENOTCONN", "EDESTADDRREQ", "EAGAIN", "ENOTSUP", "ENOTSUP", True, 1),
            *("0.0.0.0", True, "EINVAL", "EINVAL"),
            *(True, LOCAL, 1, 1, "EINVAL", "EADDRINUSE"),
        ],
    )


def test_who_is_connected_hears_its_peer_only():
    async def body():
        with bound() as one, bound() as peer, bound() as stranger:
            one.connect(peer.getsockname())
            stranger.sendto(b"stranger", one.getsockname())
            peer.sendto(b"peer", one.getsockname())
            await until_readable(one)
            return one.recv(20), fate_of(one.recv, 20)

    mirrored(body, (b"peer", "EAGAIN"))


def test_sock_sendto_and_recvfrom():
    async def body():
        loop = asyncio.get_running_loop()
        with bound() as one, bound() as other:
            seen = [await loop.sock_sendto(one, b"abc", other.getsockname())]
            data, address = await loop.sock_recvfrom(other, 10)
            seen += [data, address == one.getsockname()]
            await loop.sock_sendto(one, b"defg", other.getsockname())
            buffer = bytearray(3)
            size, address = await loop.sock_recvfrom_into(other, buffer)
            return [*seen, size, bytes(buffer), address == one.getsockname()]

    mirrored(body, [3, b"abc", True, 3, b"def", True])


def test_what_is_too_much_for_the_buffer_is_dropped_and_what_came_stays_in_order():
    async def body():
        with bound() as one, bound() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
            for number in range(300):
                one.sendto(number.to_bytes(2, "big") + bytes(1_000), other.getsockname())
            await until_readable(other)
            await asyncio.sleep(0)
            got = []
            while isinstance(data := fate_of(other.recv, 2_000), bytes):
                got.append(int.from_bytes(data[:2], "big"))
            return 0 < len(got) < 300, got == sorted(got)

    mirrored(body, (True, True))


def test_ipv6_datagrams():
    async def body():
        with bound("::1", socket.AF_INET6) as one, bound("::1", socket.AF_INET6) as other:
            one.sendto(b"six", other.getsockname())
            await until_readable(other)
            data, address = other.recvfrom(10)
            return data, address == one.getsockname(), address[0], address[2:]

    mirrored(body, (b"six", True, "::1", (0, 0)), family=socket.AF_INET6)


def test_an_unknown_name_and_a_port_in_use():
    async def body():
        loop = asyncio.get_running_loop()
        with bound() as taken:
            seen = [await outcome_of(loop.create_datagram_endpoint(Listener, local_addr=taken.getsockname()))]
        seen.append(
            await outcome_of(loop.create_datagram_endpoint(Listener, remote_addr=("no-such.invalid", 1)))
        )
        return seen

    mirrored(body, ["EADDRINUSE", "gaierror"])


def test_broadcasting_has_to_be_allowed():
    async def body():
        with unbound(kind=DGRAM) as sock:
            return fate_of(sock.sendto, b"x", ("255.255.255.255", 9))

    mirrored(body, "EACCES")
