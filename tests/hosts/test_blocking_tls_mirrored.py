"""TLS of programs that block, in a process of a simulated host and on this machine: with equal results."""

import contextlib
import http.client
import http.server
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.hosts.mirror import name_of, why_not
from tests.hosts.test_tls_mirrored import asking, serving
from tests.unit.sim.harness import make_session

LOCAL = "127.0.0.1"


def mirrored(body: Callable[[], Any], expected: Any) -> None:
    """Hold both worlds to what is expected; the real half is skipped where the machine has no loopback."""
    __tracebackhide__ = True
    session = make_session()
    session.host("here", body, process=True)
    assert session.run().results["here"] == expected, "the simulated world"
    if reason := why_not():
        pytest.skip(f"only the simulated half ran: {reason}")
    assert body() == expected, "the real world"


@contextlib.contextmanager
def answering(answer: Callable[[ssl.SSLSocket], None]) -> Any:
    """A server that answers one connection on a thread; yields its address."""
    with socket.create_server((LOCAL, 0)) as listening:

        def serve() -> None:
            plain, _ = listening.accept()
            with contextlib.suppress(OSError), serving().wrap_socket(plain, server_side=True) as secure:
                answer(secure)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()
        thread.join()


def echo(secure: ssl.SSLSocket) -> None:
    while data := secure.recv(1_000):
        secure.sendall(data)


def asked(address: Any, **options: Any) -> ssl.SSLSocket:
    plain = socket.create_connection(address)
    return asking().wrap_socket(plain, **{"server_hostname": "localhost", **options})


def test_a_conversation_in_secret() -> None:
    def body() -> Any:
        with answering(echo) as address, asked(address) as secure:
            secure.sendall(b"hello")
            seen = [secure.recv(2), secure.pending(), secure.recv(10), secure.version()]
            buffer = bytearray(4)
            secure.write(b"more")
            seen += [
                secure.recv_into(buffer),
                bytes(buffer),
                secure.server_hostname,
                secure.getpeername() == address,
            ]
            seen += [secure.session_reused, bool(secure.getpeercert()), isinstance(secure, ssl.SSLSocket)]
            with secure.makefile("rwb") as file:
                file.write(b"a line\n")
                file.flush()
                seen.append(file.readline())
        return seen

    mirrored(
        body, [b"he", 3, b"llo", "TLSv1.3", 4, b"more", "localhost", True, False, True, True, b"a line\n"]
    )


def test_more_than_fits_under_way() -> None:
    data = bytes(range(256)) * 4_000

    def body() -> Any:
        def take(secure: ssl.SSLSocket) -> None:
            got = b""
            while len(got) < len(data):
                got += secure.recv(65_536)
            secure.sendall(b"all" if got == data else b"other")

        with answering(take) as address, asked(address) as secure:
            secure.sendall(data)
            return secure.recv(10)

    mirrored(body, b"all")


def test_certificates_that_nobody_trusts_or_of_another_name() -> None:
    def body() -> Any:
        seen = []
        for context, name in ((ssl.create_default_context(), "localhost"), (asking(), "elsewhere")):
            with answering(echo) as address, socket.create_connection(address) as plain:
                try:
                    context.wrap_socket(plain, server_hostname=name)
                except ssl.SSLCertVerificationError as error:
                    seen.append(error.verify_code)
        return seen

    mirrored(body, [18, 62])


def test_goodbyes_and_ragged_ends() -> None:
    def body() -> Any:
        def unwrap(secure: ssl.SSLSocket) -> None:
            plain = secure.unwrap()
            plain.sendall(plain.recv(100))

        def break_off(secure: ssl.SSLSocket) -> None:
            secure.recv(1)
            socket.socket.shutdown(secure, socket.SHUT_RDWR)

        seen: list[Any] = []
        with answering(unwrap) as address, asked(address) as secure, secure.unwrap() as plain:
            plain.sendall(b"plain")
            seen.append(plain.recv(100))
        for ragged in (True, False):
            with answering(break_off) as address, asked(address, suppress_ragged_eofs=ragged) as secure:
                secure.sendall(b"x")
                try:
                    seen.append(secure.recv(10))
                except ssl.SSLEOFError as error:
                    seen.append(error.errno)
        return seen

    mirrored(body, [b"plain", b"", ssl.SSL_ERROR_EOF])


def test_timeouts_and_sockets_that_do_not_block() -> None:
    def body() -> Any:
        seen: list[Any] = []
        over = threading.Event()

        def late(secure: ssl.SSLSocket) -> None:
            over.wait()
            secure.sendall(b"now")

        with answering(late) as address, asked(address) as secure:
            secure.settimeout(0.01)
            try:
                secure.recv(10)
            except TimeoutError as error:
                seen.append(str(error))
            secure.setblocking(False)
            try:
                secure.recv(10)
            except ssl.SSLWantReadError as error:
                seen.append(error.errno)
            over.set()
            select.select([secure], [], [])
            seen.append(secure.recv(10))
        with answering(echo) as address, socket.create_connection(address) as plain:
            plain.setblocking(False)
            secure = asking().wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False)
            while True:
                try:
                    secure.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    select.select([secure], [], [])
            seen.append(secure.send(b"hello"))
            select.select([secure], [], [])
            secure.setblocking(True)
            seen.append(secure.recv(10))
            secure.close()
        return seen

    mirrored(body, ["The read operation timed out", ssl.SSL_ERROR_WANT_READ, b"now", 5, b"hello"])


def test_a_server_whose_listener_speaks_tls_and_a_socket_that_connects_later() -> None:
    def body() -> Any:
        with serving().wrap_socket(socket.create_server((LOCAL, 0)), server_side=True) as listening:

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    echo(connection)

            thread = threading.Thread(target=serve)
            thread.start()
            with asking().wrap_socket(socket.socket(), server_hostname="localhost") as secure:
                secure.connect(listening.getsockname())
                secure.sendall(b"hello")
                answer = secure.recv(10)
            thread.join()
        return answer

    mirrored(body, b"hello")


class Wrapping:
    """What is a socket as far as its methods go, as some libraries have them."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_what_behaves_as_a_socket_may_speak_tls() -> None:
    def body() -> Any:
        with answering(echo) as address:
            wrapping: Any = Wrapping(socket.create_connection(address))
            with asking().wrap_socket(wrapping, server_hostname="localhost") as secure:
                secure.sendall(b"hello")
                return secure.recv(10)

    mirrored(body, b"hello")


def test_a_web_server_over_tls() -> None:
    def body() -> Any:
        class Greeting(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hello " + self.path.encode())

            def log_message(self, *_: object) -> None: ...

        with http.server.ThreadingHTTPServer((LOCAL, 0), Greeting) as server:
            server.socket = serving().wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            client = http.client.HTTPSConnection("localhost", server.server_port, context=asking())
            client.request("GET", "/there")
            answer = client.getresponse().read()
            client.close()
            server.shutdown()
            thread.join()
        return answer

    mirrored(body, b"hello /there")


def test_a_socket_from_before_the_run_cannot_speak_tls_inside() -> None:
    with socket.socket() as real:

        def body() -> str:
            try:
                asking().wrap_socket(real, server_hostname="localhost")
            except Exception as error:
                return name_of(error)
            return "wrapped"

        session = make_session(may_try=[])
        session.host("here", body, process=True)
        with pytest.raises(Exception, match="made outside the run"):
            session.run()
