"""A recorded run knows where the code of each agent stood when it came to its end."""

import asyncio
import inspect
from collections.abc import Callable

import pytest

from pytest_convergence import (
    AgentError,
    ConvergenceEngine,
    Observe,
    PropertyViolation,
    Session,
    SimulatedAgent,
)


def stood(agents: object, **options: object) -> dict[str, str]:
    """Run agents of which somebody leads twice; return where each stood."""
    session = ConvergenceEngine().create_session(
        "test", agents=agents, properties=["election_safety"], **options
    )
    session.is_recorded = True
    with pytest.raises(PropertyViolation):
        session.run()
    assert session._conduct is not None
    return session._conduct.ending.stood


def line_of(function: Callable[..., object], code: str) -> str:
    """``file:line in function: code``, as it is told."""
    lines, first = inspect.getsourcelines(function)
    number = next(place for place, line in enumerate(lines) if code in line)
    return f"test_standpoints.py:{first + number} in {function.__qualname__}: {lines[number].strip()}"


async def leads(agent: SimulatedAgent) -> None:
    await asyncio.sleep(1)
    await claims(agent)


async def claims(agent: SimulatedAgent) -> None:
    agent.observe("leader", term=1)
    await asyncio.sleep(1)


async def waits(agent: SimulatedAgent) -> None:
    async for _ in agent.inbox:
        pass


async def returns(agent: SimulatedAgent) -> None:
    """It is over at once."""


def test_a_coroutine_stands_where_it_waits_or_where_it_has_just_said_what_was_wrong():
    where = stood({"a": leads, "b": leads, "c": waits, "d": returns})
    assert {name: place.partition("/")[0] and place.rpartition("/")[2] for name, place in where.items()} == {
        "a": line_of(claims, "sleep"),
        "b": line_of(claims, "observe"),
        "c": line_of(waits, "async for"),
    }


class Claimant:
    def __init__(self, name: str, agents: object) -> None:
        self.name = name

    def on_start(self, durable: object):
        yield from self.claim()

    def claim(self):
        yield Observe("leader", {"term": 1})

    def on_message(self, sender: str, kind: str, payload: object):
        return ()

    def on_timer(self, name: str):
        return ()

    def on_command(self, name: str, argument: object):
        return ()

    def view(self):
        return None


def test_a_machine_stands_at_the_effect_that_it_yields():
    where = stood(["a", "b"], pattern="leader-follower", protocol=Claimant)
    assert [place.rpartition("/")[2] for place in where.values()] == [line_of(Claimant.claim, "yield")]


def test_a_run_that_is_not_recorded_is_not_looked_at():
    session = ConvergenceEngine().create_session("test", agents={"c": waits})
    session.run()
    assert session._conduct is not None
    assert session._conduct.ending.stood == {}


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def serves() -> None:
    server = await asyncio.start_server(answers, "0.0.0.0", 80)
    async with server:
        await server.serve_forever()


async def connects(number: int) -> None:
    links = [await asyncio.open_connection("server", 80) for _ in range(number)]
    await asyncio.sleep(1)
    assert not links, "no links"


def test_of_hosts_it_is_told_where_each_task_waits_and_where_a_program_raised() -> None:
    session = ConvergenceEngine().create_session("test")
    session.is_recorded = True
    session.host("server", serves)
    session.host("client", connects, 2)
    with pytest.raises(AgentError, match="^host 'client' raised AssertionError: no links"):
        session.run()
    assert session._conduct is not None
    where = {who: place.rpartition("/")[2] for who, place in session._conduct.ending.stood.items()}
    assert where == {
        "server": line_of(serves, "serve_forever"),
        "server (2 × answers)": line_of(answers, "await reader"),
        "client": line_of(connects, "assert"),
    }


async def dies() -> None:
    await asyncio.sleep(0.5)


def test_of_a_host_that_has_crashed_or_returned_nothing_is_told() -> None:
    session = ConvergenceEngine().create_session("test")
    session.is_recorded = True
    crashing = session.host("server", serves)
    session.host("gone", dies)
    session.host("client", connects, 0)

    async def scenario(session: Session) -> None:
        crashing.crash()
        await session.sleep(2)

    session.run(scenario)
    assert session._conduct is not None
    assert session._conduct.ending.stood == {}


def test_two_places_of_one_function_are_told_apart() -> None:
    session = ConvergenceEngine().create_session("test")
    session.is_recorded = True
    session.host("host", starts_two)
    with pytest.raises(AgentError):
        session.run()
    assert session._conduct is not None
    assert list(session._conduct.ending.stood) == [
        "host",
        "host (waits_here_or_there)",
        "host (waits_here_or_there, 2)",
    ]


async def waits_here_or_there(here: bool) -> None:
    if here:
        await asyncio.sleep(8)
    await asyncio.sleep(9)


async def starts_two() -> None:
    tasks = [asyncio.create_task(waits_here_or_there(here)) for here in (True, False)]
    await asyncio.sleep(1)
    assert not tasks
