"""nats-py, as it is, against a NATS server in miniature: requests are answered although the server restarts."""

import asyncio

import pytest

pytest.importorskip("nats")

import nats
import nats.errors
from nats.aio.msg import Msg

from pytest_convergence import Session

# nats-py leaves a writer open when an attempt to connect comes to nothing.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

INFO = b'INFO {"server_id":"mini","version":"2.10.0","max_payload":1048576,"headers":false}\r\n'


async def mini_nats() -> None:
    """The part of the protocol that the client needs: INFO, CONNECT, PING, SUB, UNSUB, PUB and MSG."""
    subscriptions: dict[tuple[asyncio.StreamWriter, bytes], bytes] = {}

    def deliver(subject: bytes, reply: list[bytes], data: bytes) -> None:
        for (writer, number), pattern in list(subscriptions.items()):
            if subject == pattern or (pattern.endswith(b"*") and subject.startswith(pattern[:-1])):
                words = [b"MSG", subject, number, *reply, b"%d" % len(data)]
                writer.write(b" ".join(words) + b"\r\n" + data + b"\r\n")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(INFO)
            while line := await reader.readline():
                verb, *words = line.split() or [b""]
                if verb == b"PING":
                    writer.write(b"PONG\r\n")
                elif verb == b"SUB":
                    subscriptions[writer, words[-1]] = words[0]
                elif verb == b"UNSUB":
                    subscriptions.pop((writer, words[0]), None)
                elif verb == b"PUB":
                    data = await reader.readexactly(int(words[-1]) + 2)
                    deliver(words[0], words[1:-1], data[:-2])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for key in [each for each in subscriptions if each[0] is writer]:
                del subscriptions[key]
            writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", 4222)
    await server.serve_forever()


async def connected() -> nats.NATS:
    while True:
        try:
            return await nats.connect(
                "nats://nats:4222",
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                ping_interval=5,
                error_cb=ignore,
            )
        except (OSError, nats.errors.Error):
            await asyncio.sleep(1)


async def ignore(_: Exception) -> None:
    """What nats-py would log."""


async def worker() -> None:
    client = await connected()

    async def double(message: Msg) -> None:
        await message.respond(b"%d" % (2 * int(message.data)))

    await client.subscribe("double", cb=double)
    await asyncio.Event().wait()


async def asker() -> list[int]:
    client = await connected()
    answers: list[int] = []
    while len(answers) < 5:
        try:
            reply = await client.request("double", b"%d" % len(answers), timeout=2)
            answers.append(int(reply.data))
        except (TimeoutError, nats.errors.Error):
            pass
        await asyncio.sleep(1)
    await client.close()
    return answers


def start(session: Session) -> None:
    session.host("nats", mini_nats)
    session.host("worker", worker, serves=True)
    session.host("asker", asker)


@pytest.mark.convergence(network="flaky", schedules=10)
def test_every_request_is_answered(convergence_session: Session) -> None:
    start(convergence_session)
    assert convergence_session.run().results["asker"] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("silently", [True, False])
def test_subscriptions_come_back_after_the_server_does(convergence_session: Session, silently: bool) -> None:
    start(convergence_session)

    async def scenario(session: Session) -> None:
        await session.sleep(2.5)
        session.hosts["nats"].crash(silently=silently)
        await session.sleep(10)
        session.hosts["nats"].restart()
        await session.finished()

    assert convergence_session.run(scenario).results["asker"] == [0, 2, 4, 6, 8]
