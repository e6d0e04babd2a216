"""Hosts with a thread of their own: programs that block, one at a time."""

import asyncio
import http.client
import http.server
import select
import selectors
import socket
import socketserver
import threading
import time
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence.errors import AgentError, BudgetExceeded, DeadlockError, SimulationEscapeError
from tests.unit.sim.harness import make_session


def serve(port: int = 7000) -> None:
    """Answer lines in capitals, one client after another."""
    server = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as file:
            for line in file:
                file.write(line.upper())
                file.flush()


def ask(text: str, host: str = "server") -> str:
    """Ask the server once."""
    with socket.create_connection((host, 7000)) as connection:
        connection.sendall(text.encode() + b"\n")
        return connection.makefile().readline().strip()


def test_a_client_and_a_server_that_block_take_turns() -> None:
    session = make_session()
    session.host("server", serve, process=True)
    for name in ("a", "b", "c"):
        session.host(name, ask, name, process=True)
    assert session.run().results == {"a": "A", "b": "B", "c": "C"}
    assert not [thread.name for thread in threading.enumerate() if "Dummy" in thread.name]


def test_the_same_schedule_gives_the_same_trace() -> None:
    digests = set()
    for _ in range(3):
        session = make_session(network="flaky", seed=7)
        session.host("server", serve, process=True)
        session.host("client", ask, "hello", process=True)
        outcome = session.run()
        assert outcome.results == {"client": "HELLO"}
        digests.add(outcome.trace.digest())
    assert len(digests) == 1


def test_who_sleeps_sleeps_alone_and_in_virtual_time() -> None:
    def nap(seconds: float) -> float:
        time.sleep(seconds)
        return time.monotonic()

    session = make_session()
    session.host("short", nap, 1.0, process=True)
    session.host("long", nap, 3_600.0, process=True)
    assert session.run().results == {"short": 1.0, "long": 3_600.0}


def test_a_web_server_of_the_standard_library_answers_its_client() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"you asked for {self.path} of {socket.gethostname()}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    def web() -> None:
        http.server.HTTPServer(("0.0.0.0", 80), Handler).serve_forever()

    def fetch() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("web", timeout=30)
        connection.request("GET", "/index")
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    session = make_session(network="lossy", seed=3)
    session.host("web", web, process=True)
    session.host("client", fetch, process=True)
    assert session.run().results == {"client": (200, b"you asked for /index of web")}


def test_datagrams_and_socketserver_work_too() -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            sock.sendto(data[::-1], self.client_address)

    def mirror() -> None:
        with socketserver.UDPServer(("0.0.0.0", 5000), Handler) as server:
            server.serve_forever()

    def look() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(b"live", ("mirror", 5000))
            return sock.recvfrom(100)[0]

    session = make_session()
    session.host("mirror", mirror, process=True)
    session.host("client", look, process=True)
    assert session.run().results == {"client": b"evil"}


def test_a_program_may_run_an_event_loop_of_its_own() -> None:
    async def main() -> tuple[bytes, list[int]]:
        reader, writer = await asyncio.open_connection("server", 7000)
        writer.write(b"from a loop\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        done, _ = await asyncio.wait([asyncio.create_task(asyncio.sleep(0, n)) for n in range(20)])
        assert await asyncio.to_thread(str.upper, "inline") == "INLINE"
        return line, [task.result() for task in done]

    session = make_session()
    session.host("server", serve, process=True)
    session.host("client", main, process=True)
    assert session.run().results["client"] == (b"FROM A LOOP\n", list(range(20)))


def test_selectors_and_select_wait_for_simulated_sockets() -> None:
    def watch() -> list[str]:
        seen = []
        with selectors.DefaultSelector() as selector, socket.create_connection(("server", 7000)) as sock:
            key = selector.register(sock, selectors.EVENT_WRITE, "data")
            assert selector.get_key(sock) is key
            assert selector.select() == [(key, selectors.EVENT_WRITE)]
            sock.sendall(b"x\n")
            selector.modify(sock, selectors.EVENT_READ)
            assert len(selector.get_map()) == 1
            assert selector.select(0) == []
            seen.append(f"{len(selector.select(5))} ready")
            assert select.select([sock], [], [], 0)[0] == [sock]
            sock.recv(10)
            before = time.monotonic()
            assert select.select([sock], [], [], 2) == ([], [], [])
            seen.append(f"waited {time.monotonic() - before:g}")
            selector.unregister(sock)
            with pytest.raises(KeyError):
                selector.unregister(sock)
        return seen

    session = make_session()
    session.host("server", serve, process=True)
    session.host("client", watch, process=True)
    assert session.run().results["client"] == ["1 ready", "waited 2"]


def test_a_timeout_of_a_socket_is_virtual() -> None:
    def wait() -> tuple[str, float]:
        with socket.create_connection(("server", 7000), timeout=7) as sock:
            try:
                sock.recv(1)
            except TimeoutError as error:
                return str(error), time.monotonic()
        return "", 0.0

    session = make_session()
    session.host("server", serve, process=True)
    session.host("client", wait, process=True)
    words, at = session.run().results["client"]
    assert (words, round(at)) == ("timed out", 7)


def test_nobody_at_the_port_is_a_refusal() -> None:
    session = make_session()
    session.host("other", lambda: time.sleep(1), process=True)
    session.host("client", ask, "x", "other", process=True)
    with pytest.raises(AgentError, match="ConnectionRefusedError"):
        session.run()


def test_what_a_program_raises_fails_the_run() -> None:
    def fail() -> None:
        raise ValueError("broken")

    session = make_session()
    session.host("p", fail, process=True)
    with pytest.raises(AgentError, match="'p' raised ValueError: broken"):
        session.run()


def test_a_deadlock_says_where_each_thread_stands() -> None:
    def stuck() -> None:
        with socket.create_connection(("server", 7000)) as sock:
            sock.recv(1)

    session = make_session()
    session.host("server", serve, process=True)
    session.host("client", stuck, process=True)
    with pytest.raises(DeadlockError, match=r"client waits: .*sock\.recv\(1\)"):
        session.run()


def test_a_crashed_process_takes_no_step_and_begins_again_from_the_top() -> None:
    log: list[str] = []

    def work() -> str:
        log.append("begins")
        try:
            time.sleep(10)
            log.append("ends")
        finally:
            log.append(f"unwinds at {time.monotonic():g}")
        return "done"

    async def scenario(session: Session) -> Any:
        await session.sleep(5)
        session.hosts["p"].crash()
        await session.sleep(20)
        assert log == ["begins"]
        session.hosts["p"].restart()
        return (await session.finished())["p"]

    session = make_session()
    session.host("p", work, process=True)
    assert session.run(scenario).output == "done"
    assert log[:4] == ["begins", "begins", "ends", "unwinds at 35"]
    assert log[4].startswith("unwinds")  # the crashed one's thread ends with the run


def test_a_program_that_refuses_to_end_is_left_behind() -> None:
    tries = [0]

    def refuse() -> None:
        while tries[0] < 100_000:
            tries[0] += 1
            try:
                time.sleep(10)
            except BaseException:
                continue

    async def scenario(session: Session) -> None:
        await session.sleep(15)

    session = make_session()
    session.host("p", refuse, process=True)
    session.run(scenario)
    assert 50 < tries[0] < 1_000  # it is let be after a hundred attempts


def test_a_process_that_is_paused_waits() -> None:
    def work() -> float:
        time.sleep(1)
        return time.monotonic()

    async def scenario(session: Session) -> Any:
        session.hosts["p"].pause()
        await session.sleep(10)
        session.hosts["p"].resume()
        return (await session.finished())["p"]

    session = make_session()
    session.host("p", work, process=True)
    assert session.run(scenario).output >= 10


def test_code_that_keeps_the_baton_is_found_by_the_budget_of_real_time() -> None:
    release = threading.Event()

    def block() -> None:
        lock = threading.Lock()
        lock.acquire()
        while not release.is_set():
            lock.acquire(timeout=0.01)

    session = make_session(real_timeout=0.3)
    session.host("p", block, process=True)
    try:
        with pytest.raises(BudgetExceeded, match=r"real_timeout(.|\n)*in block\n"):
            session.run()
    finally:
        release.set()


def test_what_blocks_outside_a_process_is_refused_and_says_how_to_make_one() -> None:
    async def main() -> None:
        socket.create_connection(("127.0.0.1", 1))

    session = make_session()
    session.host("p", main)
    with pytest.raises(AgentError, match=r"process=True") as caught:
        session.run()
    assert isinstance(caught.value.__cause__, SimulationEscapeError)


def test_real_descriptors_are_refused_in_a_process() -> None:
    def watch() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)

    session = make_session()
    session.host("p", watch, process=True)
    with pytest.raises(AgentError, match="a real file descriptor"):
        session.run()
