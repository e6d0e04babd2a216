"""Who waits for bytes reads them in the event of their arrival where that is what happens next: it makes no difference."""

import asyncio
import copy
import pickle
import socket
from typing import Any

import pytest

from pytest_convergence._engine.base.packets import DATA, Packet, Segment
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence.errors import BudgetExceeded
from tests.unit.sim.harness import make_session, running_loop

PORT = 7000
UNEVEN = Network(latency=(0.0001, 0.01))
"""Two packets hardly ever come at one instant."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1_000):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def serve() -> None:
    async with await asyncio.start_server(echo, "0.0.0.0", PORT) as server:
        await server.serve_forever()


async def ask(rounds: int) -> int:
    await asyncio.sleep(1)
    reader, writer = await asyncio.open_connection("server", PORT, family=socket.AF_INET)
    for number in range(rounds):
        writer.write(b"x" * (700 * number + 1))
        await reader.readexactly(700 * number + 1)
    writer.close()
    return rounds


def conversation(*, in_turn: bool, rounds: int = 8, **options: Any) -> tuple[Outcome, dict[str, int], int]:
    """Let two clients ask a server; return what came of it, the steps of each host, and how much happened in all."""
    session = make_session(**options)
    seen: list[Any] = []

    async def begin() -> int:
        world = running_loop().world
        seen.append(world)
        if in_turn:  # somebody looks after every step, so that each has its turn
            world.after_step = lambda: None
        return await ask(rounds)

    session.host("server", serve)
    session.host("first", begin)
    session.host("second", ask, rounds)
    outcome = session.run()
    steps = {name: node.life.steps for name, node in session._fabric().nodes.items()}
    return outcome, steps, seen[0].happened


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("network", ["perfect", "lossy", UNEVEN, Network(latency=(0.0, 0.0))])
def test_reading_at_once_and_reading_in_turn_are_the_same_run(network: Any, seed: int) -> None:
    at_once, in_turn = (conversation(in_turn=each, network=network, seed=seed) for each in (False, True))
    assert at_once[0].trace.digest() == in_turn[0].trace.digest()
    assert at_once[1:] == in_turn[1:]


class Answering(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data.upper(), address)


def told_by_datagrams(*, in_turn: bool, **options: Any) -> tuple[str, Any, float]:
    """Let a host send datagrams to another one, some of them two at a time; return what came of it."""

    async def answer() -> None:
        loop = running_loop()
        await loop.create_datagram_endpoint(Answering, ("0.0.0.0", PORT))
        if in_turn:
            loop.world.after_step = lambda: None
        await asyncio.Event().wait()

    async def send() -> list[bytes]:
        await asyncio.sleep(1)
        seen, loop = [], running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("server", PORT))
            for number in range(12):
                for _ in range(1 + number % 2):
                    sock.send(f"datagram {number}".encode())
                try:
                    async with asyncio.timeout(2):
                        seen.append(await loop.sock_recv(sock, 100))
                except TimeoutError:
                    seen.append(b"")
        return seen

    session = make_session(**options)
    session.host("server", answer, serves=True)
    session.host("client", send)
    outcome = session.run()
    return outcome.trace.digest(), outcome.results["client"], outcome.duration


@pytest.mark.parametrize("network", ["perfect", "lossy"])
def test_datagrams_read_at_once_and_in_turn_are_the_same_run(network: str) -> None:
    at_once, in_turn = (told_by_datagrams(in_turn=each, network=network, seed=5) for each in (False, True))
    assert at_once == in_turn
    assert b"DATAGRAM 3" in at_once[1]


def test_a_budget_of_events_is_used_up_to_the_same_event() -> None:
    told = []
    for in_turn in (False, True):
        with pytest.raises(BudgetExceeded) as caught:
            conversation(in_turn=in_turn, rounds=10_000, max_events=5_000, network=UNEVEN, seed=1)
        assert caught.value.outcome is not None
        told.append(caught.value.outcome.trace.digest())
    assert told[0] == told[1]


@pytest.mark.parametrize("in_turn", [False, True])
def test_what_a_reader_raises_is_told_and_what_it_left_is_read_in_the_next_turn(in_turn: bool) -> None:
    told: list[str] = []
    got: list[bytes] = []

    async def read() -> None:
        loop = running_loop()
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        if in_turn:
            loop.world.after_step = lambda: None
        with socket.create_server(("0.0.0.0", PORT)) as server:
            server.setblocking(False)
            accepted, _ = await loop.sock_accept(server)

            def take_three(what: str) -> None:
                got.append(accepted.recv(3))
                if len(got) == 1:
                    raise ValueError(what)

            loop.add_reader(accepted, take_three, "the first three")
            await asyncio.sleep(5)
            loop.remove_reader(accepted)
            accepted.close()

    async def write() -> None:
        await asyncio.sleep(1)
        _, writer = await asyncio.open_connection("server", PORT, family=socket.AF_INET)
        await asyncio.sleep(1)
        writer.write(b"abcdefgh")
        await asyncio.sleep(9)
        writer.close()

    session = make_session()
    session.host("server", read, serves=False)
    session.host("client", write)
    session.run()
    assert got == [b"abc", b"def", b"gh"]
    assert told == ["ValueError('the first three')"]


def test_a_host_that_is_paused_reads_when_it_goes_on() -> None:
    session = make_session(seed=3, faults=["pause"], network="perfect")
    session.host("server", serve)
    session.host("client", ask, 20)
    assert session.run().results["client"] == 20


def test_the_bytes_of_a_connection_can_be_copied_and_kept_elsewhere() -> None:
    segment = Segment()
    segment.source, segment.target = ("10.0.0.1", 4_000), ("10.0.0.2", 80)
    segment.seq, segment.data, segment.secret, segment.connection = 7, b"abc", False, 3
    for same in (copy.deepcopy(segment), pickle.loads(pickle.dumps(segment))):
        assert isinstance(same, Packet)
        assert (same.kind, same.attempt, same.sends, same.answers) == (DATA, 0, 0, None)
        assert same.__canonical__() == segment.__canonical__()
    assert segment.again().attempt == 1
