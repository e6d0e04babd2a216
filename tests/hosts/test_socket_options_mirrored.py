"""Addresses, ports and options of sockets are in the simulated world what they are on this machine."""

import asyncio
import socket
import struct

from tests.hosts.mirror import connected, fate_of, listening, mirrored, outcome_of, unbound

NO_LINGER = struct.pack("ii", 1, 0)


def test_an_address_in_use_and_a_foreign_one():
    async def body():
        with listening() as waiting, unbound() as sock, unbound() as reusing:
            address = waiting.getsockname()
            reusing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return [
                fate_of(sock.bind, address),
                fate_of(reusing.bind, address),
                fate_of(sock.bind, ("0.0.0.0", address[1])),
                fate_of(sock.bind, ("192.0.2.7", 0)),
                fate_of(sock.bind, ("127.0.0.1", 0)),
                fate_of(sock.bind, ("127.0.0.1", 0)),
            ]

    mirrored(body, ["EADDRINUSE", "EADDRINUSE", "EADDRINUSE", "EADDRNOTAVAIL", None, "EINVAL"])


def test_a_port_shared_by_all_who_ask_to_share_it():
    async def body():
        socks = [unbound() for _ in range(3)]
        for sock in socks[:2]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        socks[0].bind(("127.0.0.1", 0))
        address = socks[0].getsockname()
        seen = [fate_of(socks[1].bind, address), fate_of(socks[2].bind, address)]
        for sock in socks:
            sock.close()
        return seen

    mirrored(body, [None, "EADDRINUSE"])


def test_a_port_is_free_again_once_its_socket_is_closed():
    async def body():
        waiting = listening()
        address = waiting.getsockname()
        waiting.close()
        with unbound() as sock:
            return fate_of(sock.bind, address), sock.getsockname() == address

    mirrored(body, (None, True))


def test_an_unbound_socket_may_listen():
    async def body():
        with unbound() as sock:
            sock.listen()
            host, port = sock.getsockname()
            return host, port > 0

    mirrored(body, ("0.0.0.0", True))


def test_closed_sockets_and_bad_arguments():
    async def body():
        sock = unbound()
        sock.close()
        with unbound() as fresh, listening() as waiting:
            return [
                sock.fileno(),
                fate_of(sock.recv, 1),
                fate_of(sock.send, b""),
                fate_of(sock.bind, ("127.0.0.1", 0)),
                fate_of(sock.getsockname),
                fate_of(sock.close),
                fate_of(fresh.bind, "127.0.0.1"),
                fate_of(fresh.bind, ("127.0.0.1", "80")),
                fate_of(fresh.bind, ("127.0.0.1", 70_000)),
                fate_of(fresh.recv, -1),
                fate_of(fresh.send, "text"),
                fate_of(fresh.settimeout, -1),
                fate_of(waiting.shutdown, 17),
                fate_of(socket.socket, 12_345),
            ]

    mirrored(
        body,
        [
            -1,
            "EBADF",
            "EBADF",
            "EBADF",
            "EBADF",
            None,
            "TypeError",
            "TypeError",
            "OverflowError",
            "ValueError",
            "TypeError",
            "ValueError",
            "EINVAL",
            "EAFNOSUPPORT",
        ],
    )


def test_options_are_kept_and_begin_as_those_of_linux():
    async def body():
        with unbound() as sock:
            level = socket.SOL_SOCKET
            seen = [
                sock.getsockopt(level, socket.SO_REUSEADDR),
                sock.getsockopt(level, socket.SO_KEEPALIVE),
                sock.getsockopt(level, socket.SO_TYPE) == socket.SOCK_STREAM,
                sock.getsockopt(level, socket.SO_DOMAIN) == socket.AF_INET,
                sock.getsockopt(level, socket.SO_PROTOCOL) == socket.IPPROTO_TCP,
                sock.getsockopt(level, socket.SO_ACCEPTCONN),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                sock.getsockopt(level, socket.SO_LINGER, 8) == bytes(8),
            ]
            sock.setsockopt(level, socket.SO_REUSEADDR, 1)
            sock.setsockopt(level, socket.SO_KEEPALIVE, 5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(level, socket.SO_LINGER, NO_LINGER)
            sock.setsockopt(level, socket.SO_RCVBUF, 10_000)
            sock.setsockopt(level, socket.SO_SNDBUF, 1)
            return [
                *seen,
                sock.getsockopt(level, socket.SO_REUSEADDR),
                sock.getsockopt(level, socket.SO_KEEPALIVE),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                sock.getsockopt(level, socket.SO_LINGER, 8) == NO_LINGER,
                sock.getsockopt(level, socket.SO_RCVBUF),
                sock.getsockopt(level, socket.SO_SNDBUF) > 1,
                sock.getsockopt(level, socket.SO_REUSEADDR, 4),
                fate_of(sock.getsockopt, level, 9_999),
                fate_of(sock.setsockopt, level, socket.SO_REUSEADDR, b"\1\0\0\0"),
            ]

    mirrored(
        body,
        [
            *(0, 0, True, True, True, 0, 0, True),
            *(1, 1, 1, True, 20_000, True, b"\1\0\0\0", "ENOPROTOOPT", None),
        ],
    )


def test_an_accepted_socket_has_the_options_of_its_listener():
    async def body():
        loop = asyncio.get_running_loop()
        with listening() as waiting, unbound() as one:
            waiting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await loop.sock_connect(one, waiting.getsockname())
            other, _ = await loop.sock_accept(waiting)
            seen = [
                other.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                other.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                other.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
                other.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
                other.gettimeout(),
                other.family == socket.AF_INET,
                other.type == socket.SOCK_STREAM,
            ]
            other.close()
            return seen

    mirrored(body, [1, 1, 1, 0, 0.0, True, True])


def test_ipv6_addresses_have_four_parts():
    async def body():
        loop = asyncio.get_running_loop()
        with listening("::1", family=socket.AF_INET6) as waiting, unbound(socket.AF_INET6) as one:
            seen = [one.getsockname()]
            await loop.sock_connect(one, waiting.getsockname())
            other, address = await loop.sock_accept(waiting)
            host, port, flow, scope = one.getpeername()
            seen += [host, port == waiting.getsockname()[1], flow, scope, address == one.getsockname()]
            other.close()
            return seen

    mirrored(body, [("::", 0, 0, 0), "::1", True, 0, 0, True], family=socket.AF_INET6)


def test_the_wildcard_of_ipv6_takes_ipv4_too_unless_told_otherwise():
    async def body():
        loop = asyncio.get_running_loop()
        seen = []
        for only in (0, 1):
            with unbound(socket.AF_INET6) as waiting, unbound() as one:
                waiting.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                waiting.bind(("::", 0))
                waiting.listen()
                seen.append(await outcome_of(loop.sock_connect(one, ("127.0.0.1", waiting.getsockname()[1]))))
                if not only:
                    other, address = await loop.sock_accept(waiting)
                    seen += [address[0], other.getsockname()[0]]
                    other.close()
        return seen

    mirrored(body, [None, "::ffff:127.0.0.1", "::ffff:127.0.0.1", "ECONNREFUSED"], family=socket.AF_INET6)


def test_a_connection_without_a_reader_for_each_blocking_mode():
    async def body():
        with unbound() as sock:
            seen = [sock.gettimeout(), sock.getblocking()]
            sock.setblocking(True)
            seen += [sock.gettimeout(), sock.getblocking()]
            sock.settimeout(2.5)
            seen += [sock.gettimeout(), sock.getblocking()]
            sock.settimeout(0)
            seen += [sock.gettimeout(), sock.getblocking()]
            return seen

    mirrored(body, [0.0, False, None, True, 2.5, True, 0.0, False])


def test_a_socket_object_that_gives_its_descriptor_away():
    async def body():
        loop = asyncio.get_running_loop()
        one, other = await connected()
        number = one.detach()
        seen = [one.fileno(), fate_of(one.send, b"x")]
        again = socket.socket(fileno=number)
        again.setblocking(False)
        seen += [again.fileno() == number, again.send(b"hello"), await loop.sock_recv(other, 10)]
        seen += [again.family == socket.AF_INET, again.type == socket.SOCK_STREAM]
        again.close()
        other.close()
        return seen

    mirrored(body, [-1, "EBADF", True, 5, b"hello", True, True])


def test_how_long_a_connection_may_be_silent_is_kept_and_inherited_and_has_limits():
    async def body():
        loop = asyncio.get_running_loop()
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
        with listening() as waiting, unbound() as one:
            seen = [
                [fate_of(waiting.setsockopt, socket.IPPROTO_TCP, each, value) for each in options]
                for value in (1, 127, 128, 32_767, 32_768, 0, -1)
            ]
            await loop.sock_connect(one, waiting.getsockname())
            other, _ = await loop.sock_accept(waiting)
            with other:
                seen.append([other.getsockopt(socket.IPPROTO_TCP, each) for each in options])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            one.setsockopt(socket.IPPROTO_TCP, options[0], 5)
            seen.append(one.getsockopt(socket.IPPROTO_TCP, options[0]))
        return seen

    bad = "EINVAL"
    taken = [[None, None, None]] * 2 + [[None, None, bad]] * 2 + [[bad, bad, bad]] * 3
    mirrored(body, [*taken, [32_767, 32_767, 127], 5])
