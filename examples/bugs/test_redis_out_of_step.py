"""redis-py 4.5.1 to 4.5.4 (CVE-2023-28858, CVE-2023-28859): users saw what belonged to other users.

A command that is cancelled after it was sent, and before its answer was read, goes back to the pool with its connection. The
next command on that connection reads the answer of the one before. Reported as https://github.com/redis/redis-py/issues/2624
and https://github.com/redis/redis-py/issues/2665; fixed for good in 4.5.5. In March 2023 it showed titles of chats to
strangers.

The test knows nothing of that. It asks what its author would promise anyway, while the network is a bit slow at times.
"""

import asyncio

import pytest

pytest.importorskip("redis")

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pytest_convergence import Session

TITLES = {"ann": "recipes for ann", "bob": "poems for bob"}


async def mini_redis() -> None:
    """As much of a Redis server as the client needs: GET, and OK to everything else."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                if words[0] == "GET":
                    value = TITLES[words[1]].encode()
                    writer.write(b"$%d\r\n%s\r\n" % (len(value), value))
                else:
                    writer.write(b"+OK\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", 6379)
    await server.serve_forever()


async def visit(redis: "Redis[str]", user: str) -> None:
    for _ in range(5):
        try:
            async with asyncio.timeout(0.2):  # as web frameworks do for requests that take too long
                title = await redis.get(user)
        except (TimeoutError, RedisError):
            await asyncio.sleep(0.1)
            continue
        assert title == TITLES[user], f"{user} was shown {title!r}"


async def website() -> None:
    redis = Redis(host="redis", decode_responses=True)
    await asyncio.gather(*(visit(redis, user) for user in TITLES))


@pytest.mark.convergence(network="flaky", schedules=100)
def test_nobody_is_shown_what_belongs_to_another(convergence_session: Session) -> None:
    convergence_session.host("redis", mini_redis)
    convergence_session.host("website", website)
    convergence_session.run()
