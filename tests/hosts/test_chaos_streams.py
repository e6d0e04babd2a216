"""Whatever is sent over a network in chaos arrives complete and in order, or its connection fails loudly."""

import asyncio
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_convergence._engine.sim.conditions import Network
from tests.unit.sim.harness import make_session

PORT = 7000
CHAOS = Network(latency=(0.0001, 2.0), loss=0.3, duplicate=0.2, reorder=0.3)
SIZES = st.lists(st.one_of(st.integers(1, 20), st.sampled_from([1_000, 65_536, 65_537, 200_000])), max_size=8)


@settings(max_examples=25)
@given(there=SIZES, back=SIZES, seed=st.integers(0, 2**32), ends_first=st.booleans())
def test_streams_are_complete_and_in_order(
    there: list[int], back: list[int], seed: int, ends_first: bool
) -> None:
    def text(sizes: list[int], salt: int) -> list[bytes]:
        return [
            bytes((number * 7 + place * 13 + salt) % 256 for place in range(size))
            for number, size in enumerate(sizes)
        ]

    async def speak(writer: asyncio.StreamWriter, parts: list[bytes]) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.write_eof()

    async def serve() -> bytes:
        answered = asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if ends_first:
                await speak(writer, text(back, 1))
                got = await reader.read()
            else:
                got = await reader.read()
                await speak(writer, text(back, 1))
            writer.close()
            answered.set_result(got)

        async with await asyncio.start_server(handle, "0.0.0.0", PORT):
            return await answered

    async def ask() -> bytes:
        await asyncio.sleep(1)
        reader, writer = await asyncio.open_connection("server", PORT, family=socket.AF_INET)
        _, got = await asyncio.gather(speak(writer, text(there, 2)), reader.read())
        writer.close()
        return got

    session = make_session(network=CHAOS, seed=seed, timeout=100_000)
    session.host("server", serve, serves=False)
    session.host("client", ask)
    results: Any = session.run().results
    assert results["server"] == b"".join(text(there, 2))
    assert results["client"] == b"".join(text(back, 1))
