"""Section 11 of the usage contract: asyncio programs that know nothing of this plugin, on simulated hosts."""

import asyncio

import pytest


async def handle(reader, writer):
    """Answer line by line."""
    try:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve():  # knows nothing of this plugin
    server = await asyncio.start_server(handle, "0.0.0.0", 7000)
    await server.serve_forever()


async def talk():
    while True:
        try:
            reader, writer = await asyncio.open_connection("server", 7000)
            writer.write(b"hello\n")
            await writer.drain()
            answer = await reader.readline()
            writer.close()
        except OSError:
            await asyncio.sleep(1)
            continue
        if answer.endswith(b"\n"):
            return answer


@pytest.mark.convergence(network="flaky")
def test_client_survives_resets(convergence_session):
    convergence_session.host("server", serve)
    convergence_session.host("client", talk)
    assert convergence_session.run().results["client"] == b"HELLO\n"


@pytest.mark.convergence(network="flaky", schedules=30)
def test_client_survives_resets_under_many_schedules(convergence_session):
    convergence_session.host("server", serve)
    convergence_session.host("client", talk)
    assert convergence_session.run().results["client"] == b"HELLO\n"


def test_agents_and_hosts_live_in_one_session_and_one_network(convergence_session_factory):
    async def asker(agent):
        reader, writer = await asyncio.open_connection("server", 7000)
        writer.write(b"an agent\n")
        answer = await reader.readline()
        writer.close()
        return answer

    session = convergence_session_factory(agents={"asker": asker})
    session.host("server", serve)
    assert session.run().results["asker"] == b"AN AGENT\n"


def test_a_partition_cuts_hosts_off_as_it_does_agents(convergence_session):
    async def scenario(session):
        with session.network.partition(["server"]):
            await session.sleep(30)
        await session.finished()

    convergence_session.host("server", serve)
    convergence_session.host("client", talk)
    outcome = convergence_session.run(scenario)
    assert outcome.results["client"] == b"HELLO\n"
    assert outcome.duration > 30
