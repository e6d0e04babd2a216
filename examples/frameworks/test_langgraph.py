"""LangGraph, as it is: two researchers work side by side; the service that plays their model restarts in the middle."""

import asyncio
import operator
from typing import Annotated, TypedDict

import pytest

pytest.importorskip("langgraph")

from langgraph.graph import END, START, StateGraph

from pytest_convergence import Session


class State(TypedDict):
    topic: str
    notes: Annotated[list[str], operator.add]
    summary: str


async def fake_model() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            prompt = await reader.readline()
            await asyncio.sleep(1)  # models think
            writer.write(b"thoughts on " + prompt)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 7000)
    await server.serve_forever()


async def ask(prompt: str) -> str:
    while True:
        try:
            async with asyncio.timeout(5):
                return await ask_once(prompt)
        except OSError:  # refused, reset, timed out
            await asyncio.sleep(1)


async def ask_once(prompt: str) -> str:
    reader, writer = await asyncio.open_connection("model", 7000)
    try:
        writer.write(prompt.encode() + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the answer was cut off")
    return line.decode().strip()


async def team() -> tuple[list[str], str]:
    async def history(state: State) -> dict[str, list[str]]:
        return {"notes": [await ask(f"the history of {state['topic']}")]}

    async def future(state: State) -> dict[str, list[str]]:
        return {"notes": [await ask(f"the future of {state['topic']}")]}

    async def summarise(state: State) -> dict[str, str]:
        return {"summary": await ask(f"{len(state['notes'])} notes")}

    graph = StateGraph(State)
    for name, node in (("history", history), ("future", future)):
        graph.add_node(name, node)
        graph.add_edge(START, name)
    graph.add_node("summarise", summarise)
    graph.add_edge(["history", "future"], "summarise")
    graph.add_edge("summarise", END)
    result = await graph.compile().ainvoke({"topic": "tea", "notes": [], "summary": ""})
    return sorted(result["notes"]), result["summary"]


EXPECTED = (
    ["thoughts on the future of tea", "thoughts on the history of tea"],
    "thoughts on 2 notes",
)


@pytest.mark.convergence(network="flaky", schedules=5)
def test_the_team_comes_to_its_summary(convergence_session: Session) -> None:
    convergence_session.host("model", fake_model)
    convergence_session.host("team", team)
    assert convergence_session.run().results["team"] == EXPECTED


def test_the_team_comes_to_its_summary_although_the_model_restarts(convergence_session: Session) -> None:
    model = convergence_session.host("model", fake_model)
    convergence_session.host("team", team)

    async def scenario(session: Session) -> None:
        await session.sleep(1.5)
        model.crash()
        await session.sleep(10)
        model.restart()
        await session.finished()

    assert convergence_session.run(scenario).results["team"] == EXPECTED
