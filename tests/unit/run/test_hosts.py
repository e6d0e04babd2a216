"""Hosts: programs on simulated machines, their lives, their ends, and who they are."""

import asyncio
import functools
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence.errors import AgentError, ConvergenceUsageError, DeadlockError
from tests.unit.sim.harness import make_session


async def serve(port: int = 7000) -> None:
    """Answer each line in capitals."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line.upper())
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", port)
    await server.serve_forever()


async def ask(text: str, host: str = "server", port: int = 7000) -> str:
    """Ask the server once."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(text.encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


def test_a_client_talks_to_a_server_and_the_run_ends_with_the_client() -> None:
    session = make_session()
    session.host("server", serve)
    session.host("client", ask, "hello")
    outcome = session.run()
    assert outcome.results == {"client": "HELLO"}
    assert outcome.converged
    assert outcome.trace.agents == ("scenario", "server", "client")


def test_a_server_that_never_comes_to_rest_does_not_keep_the_run_going() -> None:
    async def serve_and_tick() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            while True:
                await asyncio.sleep(0.1)

    session = make_session()
    session.host("server", serve_and_tick)
    session.host("client", ask, "hello")
    assert session.run().duration < 1


def test_each_host_has_a_name_addresses_and_a_process_of_its_own() -> None:
    async def who() -> tuple[str, int, str]:
        ip = socket.getaddrinfo(socket.gethostname(), 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
        return socket.gethostname(), os.getpid(), str(ip)

    session = make_session()
    one, other = session.host("one", who), session.host("other", who)
    results = session.run().results
    assert (results["one"][0], results["other"][0]) == ("one", "other")
    assert results["one"][1] != results["other"][1]
    assert (results["one"][2], results["other"][2]) == ("10.0.0.2", "10.0.0.3")
    assert repr(one) == "<SimulatedHost 'one'>"
    assert other.is_alive


def test_a_host_is_found_by_its_addresses_and_its_other_names() -> None:
    async def scenario(session: Session) -> list[str]:
        server = session.hosts["server"]
        return [await ask("x", name) for name in (server.ip, server.ipv6, "api.example.com", "SERVER")]

    async def answer_six(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"six\n")
        writer.close()

    async def serve_both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            server = await asyncio.start_server(answer_six, "::", 7000)
            group.create_task(server.serve_forever())

    session = make_session()
    session.host("server", serve_both, names=["api.example.com"])
    assert session.run(scenario).output == ["X", "six", "X", "X"]


def test_the_loopback_interface_of_each_host_is_its_own() -> None:
    session = make_session()
    session.host("server", serve)
    session.host("client", ask, "hello", "127.0.0.1")
    with pytest.raises(AgentError, match="Connect call failed"):
        session.run()


def test_an_agent_can_talk_to_a_host() -> None:
    async def agent(_: Any) -> str:
        return await ask("from an agent")

    session = make_session(agents={"a": agent})
    session.host("server", serve)
    assert session.run().results["a"] == "FROM AN AGENT"


def test_a_host_can_join_a_session_that_runs() -> None:
    async def scenario(session: Session) -> Any:
        session.host("server", serve)
        await session.sleep(1)
        session.host("client", ask, "late")
        return await session.finished()

    assert make_session().run(scenario).output == {"client": "LATE"}


def test_a_program_that_fails_fails_the_run_by_the_hosts_name() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    session = make_session()
    session.host("client", fail)
    with pytest.raises(AgentError, match="'client' raised ValueError: broken"):
        session.run()


def test_a_client_that_waits_for_ever_is_a_deadlock() -> None:
    async def mute() -> None:
        held = []
        server = await asyncio.start_server(lambda *both: held.append(both), "0.0.0.0", 7000)
        await server.serve_forever()

    session = make_session()
    session.host("server", mute)
    session.host("client", ask, "hello")
    with pytest.raises(DeadlockError, match=r"client waits: .*await reader.readline\(\)"):
        session.run()


def test_who_serves_can_be_told_apart_by_hand() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    session = make_session()
    session.host("idle", wait_for_ever, serves=True)
    session.host("server", serve)
    session.host("client", ask, "hello")
    assert session.run().results == {"client": "HELLO"}


@pytest.mark.parametrize(("silently", "error"), [(False, ConnectionError), (True, TimeoutError)])
def test_a_crash_is_a_reset_or_silence(silently: bool, error: type[Exception]) -> None:
    async def wait() -> str:
        reader, writer = await asyncio.open_connection("server", 7000)
        try:
            async with asyncio.timeout(60):
                await reader.readexactly(1)
        except error as caught:
            writer.close()
            return type(caught).__name__
        return "nothing"

    async def scenario(session: Session) -> Any:
        await session.sleep(1)
        session.hosts["server"].crash(silently=silently)
        return (await session.finished())["client"]

    session = make_session()
    session.host("server", serve)
    session.host("client", wait)
    assert session.run(scenario).output in {"ConnectionResetError", "TimeoutError"}


def test_a_host_begins_again_after_a_restart_and_its_old_connections_are_gone() -> None:
    async def patient() -> list[str]:
        answers = []
        while len(answers) < 2:
            try:
                answers.append(await ask(str(len(answers))))
            except OSError:
                await asyncio.sleep(0.5)
            await asyncio.sleep(1)
        return answers

    async def scenario(session: Session) -> Any:
        await session.sleep(0.5)
        session.hosts["server"].crash(silently=False)
        await session.sleep(3)
        session.hosts["server"].restart()
        return (await session.finished())["client"]

    session = make_session()
    session.host("server", serve)
    session.host("client", patient)
    outcome = session.run(scenario)
    assert outcome.output == ["0", "1"]
    assert 3.5 < outcome.duration < 6


def test_a_paused_host_answers_when_it_goes_on() -> None:
    async def scenario(session: Session) -> float:
        server = session.hosts["server"]
        await session.sleep(1)
        server.pause()
        request = asyncio.create_task(ask("x"))
        await session.sleep(5)
        assert not request.done()
        server.resume()
        assert await request == "X"
        return session.now

    session = make_session()
    session.host("server", serve)
    assert 6 < session.run(scenario).output < 6.1


def test_an_isolated_host_is_reached_again_once_it_is_healed() -> None:
    async def late() -> str:
        await asyncio.sleep(2.5)
        return await ask("x")

    async def scenario(session: Session) -> float:
        await session.sleep(1)
        with session.hosts["server"].isolate():
            await session.sleep(2.5)
        return (await session.finished())["client"]

    session = make_session()
    session.host("server", serve)
    session.host("client", late)
    # It asks after 2 seconds, is not heard, and asks again a second later: the kernel does.
    outcome = session.run(scenario)
    assert outcome.output == "X"
    assert 3.5 < outcome.duration < 3.6


def test_a_hosts_clock_can_be_off() -> None:
    async def clock() -> float:
        return asyncio.get_running_loop().time()

    async def scenario(session: Session) -> Any:
        session.hosts["fast"].skew_clock(offset=90)
        return (await session.finished())["fast"]

    session = make_session()
    session.host("fast", clock)
    assert session.run(scenario).output >= 0


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (lambda s: s.host("", serve), "a host's name must be a text"),
        (lambda s: s.host("two words", serve), "without spaces"),
        (lambda s: s.host("scenario", serve), "the name of another participant"),
        (lambda s: (s.host("a", serve), s.host("a", serve)), "take another one"),
        (lambda s: s.host("a", len), "needs a coroutine function"),
        (lambda s: s.host("a", b"serve"), "needs a coroutine function"),
        (lambda s: s.host("a", serve, cancel=3), "cancel= takes True"),
        (lambda s: (s.host("a", serve), s.host("b", serve, names="a"), s.run()), "a name leads to one host"),
    ],
)
def test_bad_arguments_are_refused(host: Callable[[Session], Any], message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        host(make_session())


def test_a_partial_is_a_program_too() -> None:
    session = make_session()
    session.host("server", functools.partial(serve, port=7001))
    session.host("client", functools.partial(ask, port=7001), "hello")
    assert session.run().results == {"client": "HELLO"}
