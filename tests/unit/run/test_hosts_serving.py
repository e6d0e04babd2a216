"""When a run with hosts is over, where a server begins to listen after all others are done; and what the end leaves."""

import asyncio
import gc


async def handle(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line.upper())
    finally:
        writer.close()


async def serve_late():
    await asyncio.sleep(5)
    server = await asyncio.start_server(handle, "0.0.0.0", 7000)
    while True:  # as uvicorn does, which looks around every so often
        await asyncio.sleep(0.1)
    server.close()


async def done_at_once():
    return "done"


def test_a_run_ends_when_the_last_host_begins_to_listen(convergence_session):
    convergence_session.host("server", serve_late)
    convergence_session.host("client", done_at_once)
    outcome = convergence_session.run()
    assert outcome.results == {"client": "done"}
    assert 5 <= outcome.duration < 10


def test_a_scenario_that_waits_for_all_goes_on_when_the_last_host_begins_to_listen(convergence_session):
    async def scenario(session):
        await session.finished()
        return session.hosts["server"].is_alive

    convergence_session.host("server", serve_late)
    convergence_session.host("client", done_at_once)
    assert convergence_session.run(scenario).output is True


def test_a_host_that_listens_and_goes_on_is_not_cut_short(convergence_session):
    async def both():
        server = await asyncio.start_server(handle, "0.0.0.0", 7000)
        reader, writer = await asyncio.open_connection("localhost", 7000)
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
        server.close()
        return line

    convergence_session.host("server", both)
    assert convergence_session.run().results["server"] == b"HELLO\n"


def test_the_end_of_a_run_says_nothing_about_connections_that_were_open(convergence_session, caplog):
    async def serve():
        server = await asyncio.start_server(handle, "0.0.0.0", 7000)
        await server.serve_forever()

    async def talk():
        reader, writer = await asyncio.open_connection("server", 7000)
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
        return line

    convergence_session.host("server", serve)
    convergence_session.host("client", talk)
    assert convergence_session.run().results["client"] == b"HELLO\n"
    assert not caplog.records


def test_what_a_crash_leaves_in_an_asynchronous_generator_is_not_complained_of(convergence_session):
    async def lines():
        waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
            yield "never"
        finally:
            waiter.get_loop().call_soon(print)  # refused by a closed loop

    async def main():
        async for _ in lines():
            pass

    async def scenario(session):
        await session.sleep(1)
        host.crash()

    host = convergence_session.host("host", main)
    convergence_session.run(scenario)
    gc.collect()
