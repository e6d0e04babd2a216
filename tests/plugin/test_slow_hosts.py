"""Bugs that only a late answer or a slow reader shows, as a user meets them."""

import pytest

from tests.plugin.conftest import RunSuite

_ASKING = """
async def greet(reader, writer):
    while name := await reader.readline():
        writer.write(b"hello " + name)
    writer.close()

async def serve():
    server = await asyncio.start_server(greet, "0.0.0.0", 7000)
    await server.serve_forever()

async def ask():
    await asyncio.sleep(1)
    reader, writer = await asyncio.open_connection("server", 7000)
    for name in (b"Ann", b"Bob", b"Cid"):
        writer.write(name + b"\\n")
        try:
            answer = await asyncio.wait_for(reader.readline(), timeout=5)
        except TimeoutError:
            {given_up}
        assert answer == b"hello " + name + b"\\n"
    writer.close()

@pytest.mark.convergence(network="lan", faults=["{fault}"], schedules=200)
def test_greeting(convergence_session):
    convergence_session.host("server", serve)
    convergence_session.host("client", ask)
    convergence_session.run()
"""


def test_the_answer_to_a_question_that_was_given_up_is_found_and_told(run_suite: RunSuite) -> None:
    result = run_suite(_ASKING.format(given_up="continue", fault="late-answer"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "It takes 1 deviation from the calm schedule:",
            "  - answer server→client #[12] came * s late",
            "      without it: the test passes (converged)",
        ]
    )
    token = result.stdout.str().split("--convergence-replay=")[1].split()[0]
    again = run_suite(
        _ASKING.format(given_up="continue", fault="late-answer"), f"--convergence-replay={token}"
    )
    again.stdout.fnmatch_lines(["  - answer server→client #[12] came * s late", "1 schedule explored; *"])


@pytest.mark.parametrize(("given_up", "fault"), [("continue", "delay"), ("break", "late-answer")])
def test_it_takes_a_late_answer_and_a_client_that_goes_on(
    run_suite: RunSuite, given_up: str, fault: str
) -> None:
    run_suite(_ASKING.format(given_up=given_up, fault=fault)).assert_outcomes(passed=1)


_READING = """
DUE = 3

async def serve():
    async def tell(reader, writer):
        writer.write(bytes(200_000))
        try:
            async with asyncio.timeout(DUE):
                await writer.drain()
        except TimeoutError:
            writer.transport.abort()  # "a dead client"
        writer.close()
    server = await asyncio.start_server(tell, "0.0.0.0", 7000)
    await server.serve_forever()

async def read():
    await asyncio.sleep(1)
    reader, writer = await asyncio.open_connection("server", 7000)
    await reader.readexactly(200_000)
    writer.close()

@pytest.mark.convergence(network="lan", faults=["{fault}"], schedules=200)
def test_reading(convergence_session):
    convergence_session.host("server", serve)
    convergence_session.host("client", read)
    convergence_session.run()
"""


def test_a_server_that_takes_a_slow_reader_for_dead_is_found_and_told(run_suite: RunSuite) -> None:
    result = run_suite(_READING.format(fault="slow-read"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "It takes 1 deviation from the calm schedule:",
            "  - data packet server→client #* was read in 2 parts over * s",
            "* ├────────────>│ * tcp data :7000 → :32768 65536 bytes *",
            "* ◌   client: has read 32768 of the 65536 bytes of data packet server→client #* ⏱ *",
            "* ✂             │   server: cancelled by asyncio.timeout *",
            "* ◌   client: has read 65536 of the 65536 bytes of data packet server→client #* ⏱ *",
            "key: * ◌ what has come is read bit by bit; *",
        ]
    )
    run_suite(_READING.format(fault="delay"), "--convergence-database=none").assert_outcomes(passed=1)
