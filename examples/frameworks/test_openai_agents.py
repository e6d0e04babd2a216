"""openai-agents, as it is, with a fake model: a tool books a flight, and its answer is lost. Was the flight booked?

The tool asks again. The airline takes the second question for the first, if both carry the same key: the id of the tool call
is one. A team whose tool sends none books twice, sooner or later.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled
from agents.tool_context import ToolContext
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from pytest_convergence import PropertyViolation, Session

set_tracing_disabled(True)  # it would send traces from a thread


async def airline(bookings: dict[str, str]) -> None:
    """Takes lines of a key and a name; what has a key that it knows is booked already."""

    async def book(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):
                key, name = line.decode().split()
                bookings.setdefault(f"booking {len(bookings)}" if key == "-" else key, name)
                await asyncio.sleep(1)
                writer.write(b"booked\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(book, "0.0.0.0", 7000)
    await server.serve_forever()


async def ask(line: str) -> str:
    while True:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("airline", 7000)
                try:
                    writer.write(line.encode() + b"\n")
                    answer = await reader.readline()
                finally:
                    writer.close()
            if answer.endswith(b"\n"):
                return answer.decode().strip()
        except OSError:  # refused, reset, timed out
            pass
        await asyncio.sleep(1)


@function_tool
async def book(context: ToolContext[Any], name: str) -> str:
    """Book a flight for somebody."""
    return await ask(f"{context.tool_call_id} {name}")


@function_tool(name_override="book")
async def book_without_key(name: str) -> str:
    """Book a flight for somebody."""
    return await ask(f"- {name}")


class FakeModel(Model):
    """Books for Ann and for Bob, side by side, then says what it was told."""

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:
        await asyncio.sleep(1)  # models think
        told = [each["output"] for each in input if isinstance(each, dict) and "output" in each]
        output: list[Any]
        if told:
            text = ResponseOutputText(type="output_text", text=", ".join(told), annotations=[])
            output = [
                ResponseOutputMessage(
                    id="1", type="message", role="assistant", status="completed", content=[text]
                )
            ]
        else:
            output = [
                ResponseFunctionToolCall(
                    call_id=f"call-{name}",
                    type="function_call",
                    name="book",
                    arguments=f'{{"name": "{name}"}}',
                )
                for name in ("Ann", "Bob")
            ]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


async def travel_agent(tool: Any) -> Any:
    agent = Agent(name="travel agent", model=FakeModel(), tools=[tool])
    return (await Runner.run(agent, "book a flight for Ann and one for Bob")).final_output


def start(session: Session, tool: Any) -> dict[str, str]:
    bookings: dict[str, str] = {}  # the airline's database
    session.host("airline", airline, bookings)
    session.host("agent", travel_agent, tool)
    session.always("nobody is booked twice", lambda _: len(bookings) == len(set(bookings.values())))
    return bookings


@pytest.mark.convergence(network="flaky", schedules=20)
def test_everybody_is_booked_once(convergence_session: Session) -> None:
    bookings = start(convergence_session, book)
    assert convergence_session.run().results["agent"] == "booked, booked"
    assert sorted(bookings.values()) == ["Ann", "Bob"]


def test_without_a_key_somebody_is_booked_twice(convergence_session_factory: Callable[..., Session]) -> None:
    with pytest.raises(PropertyViolation, match="nobody is booked twice"):
        for seed in range(50):
            session = convergence_session_factory(network="flaky", seed=seed)
            start(session, book_without_key)
            session.run()


@pytest.mark.parametrize("silently", [True, False])
def test_everybody_is_booked_once_although_the_airline_restarts(
    convergence_session: Session, silently: bool
) -> None:
    bookings = start(convergence_session, book)

    async def scenario(session: Session) -> None:
        while not bookings:
            await session.sleep(0.1)
        session.hosts["airline"].crash(silently=silently)
        await session.sleep(10)
        session.hosts["airline"].restart()
        await session.finished()

    assert convergence_session.run(scenario).results["agent"] == "booked, booked"
    assert sorted(bookings.values()) == ["Ann", "Bob"]
