"""Faults that take time: a server that answers late, a program that reads slowly. Simulated only."""

import asyncio
from typing import Any

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.net.disturbance import LateDomain, SlowDomain
from tests.hosts.test_network_faults import now, opened, run

SEEDS = range(12)


async def timed_echo() -> list[float]:
    """Send a hundred bytes ten times; return how long each of them was under way there and back."""
    await asyncio.sleep(1)
    reader, writer = await opened()
    times = []
    for number in range(10):
        begin = now()
        data = bytes([number]) * 100
        writer.write(data)
        assert await reader.readexactly(100) == data
        times.append(now() - begin)
    writer.close()
    assert await reader.read() == b""
    return times


@pytest.mark.parametrize(("kind", "longest"), [("late-answer", 100.1), ("slow-read", 20.1)])
def test_bytes_come_late_in_order_and_complete(kind: str, longest: float):
    times = [seconds for seed in SEEDS for seconds in run(timed_echo, faults=[kind], seed=seed)]
    slow = [seconds for seconds in times if seconds > 0.0025]
    assert 2 <= len(slow) <= len(times) / 2
    assert max(times) <= longest
    assert max(slow) > 1


@pytest.mark.parametrize("network", ["perfect", "lan", "flaky"])
def test_nothing_of_that_happens_unless_it_is_asked_for(network: str):
    def recorded(faults: list[str]) -> list[str]:
        found: list[str] = []
        for seed in SEEDS:
            session = make_recorded(network, faults, seed)
            found += [label.partition(" ")[0] for label in session.recorded.deviations]
        return found

    assert not {"late", "slow"} & set(recorded([]))
    assert {"late", "slow"} <= set(recorded(["late-answer", "slow-read"]))


def make_recorded(network: str, faults: list[str], seed: int) -> Any:
    """Run an echo and return its session, which has recorded what was chosen."""
    from tests.hosts.test_network_faults import serve
    from tests.unit.sim.harness import make_session

    async def client() -> None:
        await asyncio.sleep(1)
        try:
            reader, writer = await opened()
            for _ in range(10):
                writer.write(b"x" * 100)
                await reader.readexactly(100)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass

    async def patient() -> None:
        while True:
            try:
                await serve()
            except OSError:
                continue

    session = make_session(network=network, faults=faults, seed=seed, timeout=3_600)
    session.is_recorded = True
    session.host("server", patient)
    session.host("client", client)
    session.run()
    return session


def test_under_the_calm_schedule_nobody_is_slow():
    calm = run(timed_echo, faults=["late-answer", "slow-read"], schedule=Schedule.calm())
    assert calm == pytest.approx([0.002] * 10)


def test_what_is_asked_is_never_late_and_what_is_answered_may_be():
    async def client() -> float:
        """Send without waiting; the time until all of it has come is told by the server."""
        reader, writer = await opened()
        writer.write(b"x" * 1_000)
        await asyncio.sleep(0.01)
        writer.write(b"y" * 1_000)
        answer = await reader.readline()
        writer.close()
        return float(answer)

    async def server() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            begin = now()
            await reader.readexactly(2_000)
            writer.write(f"{now() - begin}\n".encode())
            writer.close()

        async with await asyncio.start_server(handle, "0.0.0.0", 7000) as listening:
            await listening.serve_forever()

    always = Network(late_answer=1.0)
    for seed in SEEDS:
        assert run(client, server=server, network=always, seed=seed) < 0.02


def test_the_process_that_waits_for_a_late_answer_may_be_gone():
    async def client() -> None:
        reader, writer = await opened()
        writer.write(b"x")
        await reader.read(1)
        writer.close()

    async def scenario(session: Any) -> None:
        await session.sleep(0.05)
        session.hosts["client"].crash(silently=False)
        await session.sleep(200)
        session.hosts["client"].restart()
        await session.finished()

    schedule = Schedule.of({"late server→client #1": 60_000}, faults=("late-answer",))
    run(client, scenario, schedule=schedule)


def test_both_are_made_weaker_towards_a_short_time():
    late, slow = LateDomain(), SlowDomain()
    assert late.describe(3_200) == "came 3.2 s late"
    assert slow.describe(slow.decode(0.0)) == "read in 2 parts over 10 ms"
    assert (slow.decode(0.9999) & 15) + 2 == 16
    for domain in (late, slow):
        for place in range(100):
            option = domain.decode(place / 100)
            assert option > 0
            assert all(0 < weaker < option for weaker in domain.weaker(option))


def test_slow_reads_leave_the_sender_no_room():
    async def client() -> float:
        """Write more than fits under way; return how long that took."""
        _, writer = await opened()
        begin = now()
        writer.write(bytes(2_000_000))
        await writer.drain()
        seconds = now() - begin
        writer.close()
        return seconds

    async def sink() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65_536):
                pass
            writer.close()

        async with await asyncio.start_server(handle, "0.0.0.0", 7000) as listening:
            await listening.serve_forever()

    swift = run(client, server=sink)
    slow = [run(client, server=sink, faults=["slow-read"], seed=seed) for seed in SEEDS]
    assert max(slow) > swift + 1
