"""asyncio's servers, and connecting to them, behave on simulated sockets as on those of this machine."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from tests.hosts.mirror import free_port, listening, mirrored, outcome_of, unbound
from tests.hosts.protocols import address, echo

LOCAL = "127.0.0.1"


def test_a_refused_connection():
    async def body():
        port = await free_port()
        return await outcome_of(asyncio.open_connection(LOCAL, port))

    mirrored(body, "ECONNREFUSED")


def test_a_name_that_nobody_has():
    async def body():
        try:
            await asyncio.open_connection("no-such-host.invalid", 80)
        except socket.gaierror as error:
            return error.errno in {socket.EAI_NONAME, socket.EAI_AGAIN}

    mirrored(body, True)


def test_a_local_address_of_ones_own_choice():
    async def body():
        async with await asyncio.start_server(echo, LOCAL, 0) as server:
            port = await free_port()
            _, writer = await asyncio.open_connection(*address(server), local_addr=(LOCAL, port))
            seen = [writer.get_extra_info("sockname") == (LOCAL, port)]
            seen.append(await outcome_of(asyncio.open_connection(*address(server), local_addr=(LOCAL, port))))
            seen.append(
                await outcome_of(asyncio.open_connection(*address(server), local_addr=("192.0.2.1", 0)))
            )
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, [True, "EADDRINUSE", "EADDRNOTAVAIL"])


@pytest.mark.parametrize("delay", [None, 0.25])
def test_of_two_addresses_the_one_that_answers_is_taken(delay: float | None):
    async def body():
        loop = asyncio.get_running_loop()
        async with await asyncio.start_server(echo, LOCAL, 0) as server:
            port = address(server)[1]

            async def both(*_: Any, **__: Any) -> Any:
                return [
                    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCAL, port)),
                ]

            loop.getaddrinfo = both  # type: ignore[method-assign]
            try:
                reader, writer = await asyncio.open_connection("both", port, happy_eyeballs_delay=delay)
            finally:
                del loop.getaddrinfo
            writer.write(b"x")
            seen = await reader.readexactly(1), writer.get_extra_info("peername")[0]
            writer.close()
            await writer.wait_closed()
            return seen

    mirrored(body, (b"x", LOCAL), family=socket.AF_INET6)


def test_if_no_address_answers_all_errors_are_told():
    async def body():
        loop = asyncio.get_running_loop()
        port = await free_port()

        async def both(*_: Any, **__: Any) -> Any:
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCAL, port)),
            ]

        loop.getaddrinfo = both  # type: ignore[method-assign]
        try:
            await asyncio.open_connection("both", port)
        except OSError as error:
            return type(error).__name__, str(error).count("Connect call failed")
        finally:
            del loop.getaddrinfo

    mirrored(body, ("OSError", 2), family=socket.AF_INET6)


def test_a_server_at_several_addresses():
    async def body():
        server = await asyncio.start_server(echo, [LOCAL, "::1"], 0)
        async with server:
            seen = [sorted(sock.getsockname()[0] for sock in server.sockets)]
            for sock in server.sockets:
                reader, writer = await asyncio.open_connection(*sock.getsockname()[:2])
                writer.write(b"x")
                seen.append(await reader.readexactly(1))
                writer.close()
                await writer.wait_closed()
            return seen

    mirrored(body, [[LOCAL, "::1"], b"x", b"x"], family=socket.AF_INET6)


def test_a_server_at_all_addresses_of_both_families():
    async def body():
        async with await asyncio.start_server(echo, None, await free_port()) as server:
            return sorted(sock.getsockname()[0] for sock in server.sockets)

    mirrored(body, ["0.0.0.0", "::"], family=socket.AF_INET6)


def test_two_servers_at_one_port():
    async def body():
        async with await asyncio.start_server(echo, LOCAL, 0) as server:
            seen = [await outcome_of(asyncio.start_server(echo, *address(server)))]
        async with await asyncio.start_server(echo, LOCAL, 0, reuse_port=True) as server:
            second = await asyncio.start_server(echo, *address(server), reuse_port=True)
            seen.append(address(second) == address(server))
            second.close()
        return seen

    mirrored(body, ["EADDRINUSE", True])


def test_a_server_on_a_socket_of_ones_own():
    async def body():
        waiting = listening()
        async with await asyncio.start_server(echo, sock=waiting) as server:
            seen = [address(server) == waiting.getsockname(), server.is_serving()]
            reader, writer = await asyncio.open_connection(*address(server))
            writer.write(b"x")
            seen.append(await reader.readexactly(1))
            writer.close()
            await writer.wait_closed()
        return [*seen, server.is_serving(), server.sockets]

    mirrored(body, [True, True, b"x", False, ()])


def test_a_server_that_starts_to_serve_later():
    async def body():
        server = await asyncio.start_server(echo, LOCAL, 0, start_serving=False)
        where = address(server)
        seen = [server.is_serving(), await outcome_of(asyncio.open_connection(*where))]
        await server.start_serving()
        _, writer = await asyncio.open_connection(*where)
        writer.close()
        await writer.wait_closed()
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return [*seen, serving.cancelled(), server.is_serving()]

    mirrored(body, [False, "ECONNREFUSED", True, False])


def test_a_closed_server_leaves_its_connections_open():
    async def body():
        server = await asyncio.start_server(echo, LOCAL, 0)
        where = address(server)
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"1")
        seen = [await reader.readexactly(1)]
        server.close()
        writer.write(b"2")
        seen += [await reader.readexactly(1), await outcome_of(asyncio.open_connection(*where))]
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()
        return seen

    mirrored(body, [b"1", b"2", "ECONNREFUSED"])


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Server.close_clients is of Python 3.13")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
def test_a_server_closes_the_connections_of_its_clients(how: str):
    async def body():
        server = await asyncio.start_server(echo, LOCAL, 0)
        reader, writer = await asyncio.open_connection(*address(server))
        writer.write(b"1")
        seen = [await reader.readexactly(1)]
        server.close()
        getattr(server, how)()
        await server.wait_closed()
        seen.append(await outcome_of(reader.read()))
        writer.close()
        return seen

    mirrored(body, [b"1", b""])


def test_a_cancelled_connect_leaves_nothing_behind():
    async def body():
        with listening() as waiting:
            connecting = asyncio.create_task(asyncio.open_connection(*waiting.getsockname()))
            for _ in range(3):
                await asyncio.sleep(0)
            connecting.cancel()
            result = (await asyncio.gather(connecting, return_exceptions=True))[0]
            if isinstance(result, tuple):
                result[1].close()
            return connecting.done()

    mirrored(body, True)


def test_a_client_that_resets_while_the_server_answers():
    async def body():
        loop = asyncio.get_running_loop()
        ended, asked = loop.create_future(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            asked.set()
            seen = [await outcome_of(reader.read(1))]
            writer.write(b"x")
            seen.append(await outcome_of(writer.drain()))
            writer.close()
            seen.append(await outcome_of(writer.wait_closed()))
            ended.set_result(seen)

        async with await asyncio.start_server(serve, LOCAL, 0) as server:
            one = unbound()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await loop.sock_connect(one, address(server))
            await loop.sock_sendall(one, b"?")
            await asked.wait()
            one.close()
            return await ended

    mirrored(body, ["ECONNRESET", "ECONNRESET", "ECONNRESET"])
