"""Where a connection's bytes may be cut, and where it may be reset: at any of them."""

import asyncio
import contextlib

import pytest

from pytest_convergence._engine.base.choices import Domain
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.sim.net.bytestream import LONGEST_PACKET
from pytest_convergence._engine.sim.net.disturbance import CutDomain, ResetDomain, place_in
from tests.unit.sim.harness import make_session

DRAWS = 300_000
SENT = bytes(number % 251 for number in range(50_000))


def options(domain: Domain, least: float) -> set[int]:
    """What may be chosen from a draw of ``least`` on."""
    return {domain.decode(least + (1 - least) * number / DRAWS) for number in range(DRAWS)}


def arrived(kind: str, option: int) -> list[int]:
    """Let a server send many bytes in one packet that is disturbed so; return how many its client reads at a time."""
    parts: list[bytes] = []

    async def serve() -> None:
        async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(1)
            writer.write(SENT)
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            writer.close()

        async with await asyncio.start_server(tell, "0.0.0.0", 7000) as server:
            await server.serve_forever()

    async def read() -> None:
        await asyncio.sleep(1)
        reader, writer = await asyncio.open_connection("server", 7000, limit=len(SENT))
        try:
            while sum(map(len, parts)) < len(SENT):
                parts.append(await reader.read(len(SENT)))
        except ConnectionResetError:
            pass
        writer.close()

    schedule = Schedule.of({f"{kind} server→client #1": option}, faults=("reset",))
    session = make_session(network="lan", faults=["reset"], schedule=schedule)
    session.host("server", serve)
    session.host("client", read)
    session.run()
    assert SENT.startswith(b"".join(parts))
    return list(map(len, parts))


@pytest.mark.parametrize(("domain", "least", "beyond"), [(CutDomain(), 0.9, 0), (ResetDomain(), 0.5, 1)])
def test_any_byte_of_a_packet_may_be_the_first_of_what_comes_apart_or_not_at_all(
    domain: Domain, least: float, beyond: int
) -> None:
    places = {option - beyond for option in options(domain, least)} - {0}
    for size in (2, 3, 999, 1_000, 1_001, 5_000, 16_413, LONGEST_PACKET - 1, LONGEST_PACKET):
        assert {place_in(size, place) for place in places} == set(range(1, size)), size


@pytest.mark.parametrize(("domain", "least"), [(CutDomain(), 0.9), (ResetDomain(), 0.5)])
def test_places_are_made_weaker_towards_round_ones(domain: Domain, least: float) -> None:
    for option in (1, *(domain.decode(least + (1 - least) * number / 100) for number in range(100))):
        weaker = domain.weaker(option)
        assert list(weaker) == sorted(set(weaker))
        assert all(0 < each < option for each in weaker)
        assert (option == 1) == (weaker == ())


def test_a_packet_is_cut_and_a_connection_is_reset_at_the_byte_that_is_named() -> None:
    exact = 50_234  # 234.50 thousandths
    place = place_in(len(SENT), exact)
    assert place % 50 > 0  # not to be named in thousandths
    assert arrived("cut", exact) == [place, len(SENT) - place]
    assert arrived("reset", exact + 1) == [place]
    assert arrived("reset", 1) == []
    assert ResetDomain().describe(exact + 1) == "connection reset after 23.45 % of its bytes"
    assert CutDomain().describe(234) == "read in two parts, cut after 23.4 % of its bytes"
