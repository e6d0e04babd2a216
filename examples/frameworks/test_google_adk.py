"""google-adk, as it is, with a fake model: two researchers work side by side, and write into one session.

Each has a tool that asks on another host, where answers are late or lost, and keeps what it found in the state.
Who reads the state before he asks and writes it afterwards overwrites what the other has found meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

pytest.importorskip("google.adk")

from google.adk.agents import LlmAgent, ParallelAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools import ToolContext
from google.genai import types

from pytest_convergence import Session

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
TOPICS = ("history", "future")


async def library() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            topic = await reader.readline()
            await asyncio.sleep(1)
            writer.write(b"a book on the " + topic)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 7000)
    await server.serve_forever()


async def ask(topic: str) -> str:
    while True:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("library", 7000)
                try:
                    writer.write(topic.encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
            if line.endswith(b"\n"):
                return line.decode().strip()
        except OSError:  # refused, reset, timed out
            pass
        await asyncio.sleep(1)


async def look_up(topic: str, tool_context: ToolContext) -> str:
    """Look something up."""
    found = await ask(topic)
    tool_context.state[f"found:{topic}"] = found
    return found


async def look_up_and_overwrite(topic: str, tool_context: ToolContext) -> str:
    """Look something up."""
    before = tool_context.state.get("found", [])
    found = await ask(topic)
    tool_context.state["found"] = [*before, found]
    return found


class FakeModel(BaseLlm):
    """Looks its topic up, then says what it was told."""

    model: str = "fake"
    topic: str
    tool: str

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        await asyncio.sleep(1)  # models think
        told = [
            part.function_response.response["result"]
            for content in llm_request.contents
            for part in content.parts
            if part.function_response
        ]
        if told:
            part = types.Part(text=told[-1])
        else:
            part = types.Part(function_call=types.FunctionCall(name=self.tool, args={"topic": self.topic}))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def team(tool: Callable[..., Any]) -> dict[str, Any]:
    researchers = [
        LlmAgent(name=topic, model=FakeModel(topic=topic, tool=tool.__name__), tools=[tool])
        for topic in TOPICS
    ]
    runner = InMemoryRunner(ParallelAgent(name="team", sub_agents=researchers), app_name="research")
    service = runner.session_service
    session = await service.create_session(app_name="research", user_id="ann")
    question = types.Content(role="user", parts=[types.Part(text="what is known of tea?")])
    async for _ in runner.run_async(user_id="ann", session_id=session.id, new_message=question):
        pass
    kept = await service.get_session(app_name="research", user_id="ann", session_id=session.id)
    return dict(kept.state)


def start(session: Session, tool: Callable[..., Any]) -> None:
    session.host("library", library)
    session.host("team", team, tool)


@pytest.mark.convergence(network="flaky", schedules=10)
def test_what_both_have_found_is_kept(convergence_session: Session) -> None:
    start(convergence_session, look_up)
    assert convergence_session.run().results["team"] == {
        f"found:{topic}": f"a book on the {topic}" for topic in TOPICS
    }


def test_who_overwrites_the_state_loses_what_the_other_has_found(
    convergence_session_factory: Callable[..., Session],
) -> None:
    def is_complete(session: Session) -> bool:
        start(session, look_up_and_overwrite)
        return len(session.run().results["team"]["found"]) == len(TOPICS)

    sessions = (convergence_session_factory(network="flaky", seed=seed) for seed in range(20))
    assert not all(is_complete(session) for session in sessions)


@pytest.mark.parametrize("silently", [True, False])
def test_what_both_have_found_is_kept_although_the_library_was_closed(
    convergence_session: Session, silently: bool
) -> None:
    start(convergence_session, look_up)

    async def scenario(session: Session) -> None:
        await session.sleep(1.5)
        session.hosts["library"].crash(silently=silently)
        await session.sleep(20)
        session.hosts["library"].restart()
        await session.finished()

    assert len(convergence_session.run(scenario).results["team"]) == len(TOPICS)
