"""Whoever reaches for the real world fails its session, also where a library swallows the refusal."""

import asyncio
import errno
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from pytest_convergence import Session, SimulatedAgent
from pytest_convergence._engine.sim.shims import refusals
from pytest_convergence.errors import (
    AgentError,
    ConvergenceUsageError,
    RefusedCallError,
    SimulationEscapeError,
)
from tests.unit.sim.harness import make_session


async def swallowing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as web frameworks do: what a handler raises is the server's own secret."""
    await reader.readline()
    try:
        subprocess.run(["convert", "a.png"], check=True)
        writer.write(b"200\n")
    except Exception:
        writer.write(b"500\n")
    writer.close()


async def serve() -> None:
    await (await asyncio.start_server(swallowing, "0.0.0.0", 80)).serve_forever()


async def ask() -> bytes:
    await asyncio.sleep(1)
    reader, writer = await asyncio.open_connection("web", 80)
    writer.write(b"GET\n")
    answer = await reader.readline()
    writer.close()
    return answer


def test_an_escape_that_a_server_swallows_fails_the_session_and_names_call_host_line_and_ways_out() -> None:
    session = make_session()
    session.host("web", serve)
    session.host("client", ask)
    with pytest.raises(AgentError) as caught:
        session.run()
    assert caught.value.agent == "web"
    assert isinstance(caught.value.__cause__, SimulationEscapeError)
    said = str(caught.value)
    assert "'web'" in said
    assert "subprocess.run" in said
    assert 'test_escapes.py:28 in swallowing `subprocess.run(["convert", "a.png"], check=True)`' in said
    assert "start it before the run" in said
    assert [event.agent for event in caught.value.outcome.trace if event.kind == "error"] == ["web"]


def test_an_escape_that_a_process_swallows_fails_the_session_though_the_program_waits_for_ever() -> None:
    def program() -> None:
        try:
            subprocess.Popen(["true"])
        except Exception:
            threading.Event().wait()

    session = make_session()
    session.host("worker", program, process=True)
    with pytest.raises(AgentError, match=r"worker.*subprocess\.Popen"):
        session.run()


def test_an_escape_that_an_agent_swallows_fails_the_session() -> None:
    async def work(_: object) -> None:
        try:
            threading.Thread(target=print).start()
        except RuntimeError:
            pass
        except Exception:
            await asyncio.sleep(1)

    with pytest.raises(AgentError, match=r"agent 'a' raised SimulationEscapeError: .*Thread"):
        make_session(agents={"a": work}).run()


async def falls_back() -> str:
    try:
        await asyncio.create_subprocess_exec("convert")
    except OSError as error:  # as in a sandbox that forbids it
        assert isinstance(error, RefusedCallError)
        return f"{error.errno}: {error}"
    return "started"


def test_a_refused_call_that_a_host_may_try_fails_and_the_session_does_not() -> None:
    session = make_session()
    session.host("gallery", falls_back, may_try=["subprocess.Popen"])
    said = session.run().results["gallery"]
    assert said.startswith(
        f"{errno.EPERM}: asyncio.subprocess.create_subprocess_exec (subprocess.Popen) was called inside"
    )
    session = make_session()
    session.host("gallery", falls_back, may_try=["subprocess.Popen"])
    session.host("other", falls_back)
    with pytest.raises(AgentError, match=r"'other' .* let it try and fail: may_try=\['subprocess\.Popen'\]"):
        session.run()


def test_a_session_may_allow_all_its_programs_to_try() -> None:
    def program() -> str:
        try:
            return str(os.fork())
        except PermissionError:
            return "alone"

    async def work(agent: SimulatedAgent) -> None:
        try:
            threading.Thread(target=print).start()
        except RefusedCallError:
            agent.observe("alone")

    session = make_session(agents={"a": work}, may_try=["os.fork", "threading.Thread.start"])
    session.host("worker", program, process=True)
    assert session.run().results["worker"] == "alone"


def test_a_refused_call_that_may_be_tried_and_is_not_done_without_is_an_error_of_the_program() -> None:
    async def program() -> None:
        subprocess.Popen(["true"])

    session = make_session(may_try=["subprocess.Popen"])
    session.host("worker", program)
    with pytest.raises(AgentError, match=r"worker.* raised RefusedCallError: subprocess\.Popen was called"):
        session.run()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["subprocess.popen"],
            r"call in may_try 'subprocess\.popen': did you mean 'subprocess\.Popen'\? Known: ",
        ),
        (
            "os.fork",
            r"may_try must be a list of refused calls, such as \['subprocess\.Popen'\], not 'os\.fork'",
        ),
        (1, "not 1"),
    ],
)
def test_only_names_of_refused_calls_may_be_tried(names: object, said: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=said):
        make_session(may_try=names)
    with pytest.raises(ConvergenceUsageError, match=said):
        make_session().host("worker", falls_back, may_try=names)  # type: ignore[arg-type]


def test_every_refusal_that_names_a_way_to_try_names_one_that_is_known() -> None:
    source = Path(refusals.__file__).parent
    literal = re.compile(r'refuse\((?:THREADS|SIGNALS|DESCRIPTORS|LOOPS|UVLOOP), "([^"]+)"')
    named = {
        name for path in source.glob("*.py") for name in literal.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 9
    assert named <= refusals.TRYABLE


def test_an_escape_of_the_scenario_is_its_own_error() -> None:
    async def scenario(session: Session) -> None:
        try:
            subprocess.Popen(["true"])
        except Exception:
            await session.sleep(1)

    async def work(_: object) -> None: ...

    with pytest.raises(SimulationEscapeError, match="Popen"):
        make_session(agents={"a": work}).run(scenario)


def test_what_nobody_swallows_is_told_once() -> None:
    async def program() -> None:
        await asyncio.gather(ask_for_it())

    async def ask_for_it() -> None:
        subprocess.Popen(["true"])

    session = make_session()
    session.host("worker", program)
    with pytest.raises(AgentError) as caught:
        session.run()
    assert not getattr(caught.value, "__notes__", [])
    assert [event.kind for event in caught.value.outcome.trace].count("error") == 1


def test_what_a_crashed_host_would_have_met_concerns_nobody() -> None:
    async def program() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            subprocess.Popen(["true"])

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["worker"].crash()

    session = make_session()
    session.host("worker", program)
    session.run(scenario)
