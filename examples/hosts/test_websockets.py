"""websockets, as it is: a sensor has to deliver each reading, although connections are reset and the collector restarts."""

import asyncio

import pytest

pytest.importorskip("websockets")

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import WebSocketException

from pytest_convergence import Session


async def collect(readings: dict[int, str]) -> None:
    async def handle(connection: ServerConnection) -> None:
        async for text in connection:
            number, _, value = str(text).partition(":")
            readings[int(number)] = value  # the same reading twice is one
            await connection.send(number)  # "I have it"

    async with serve(handle, "0.0.0.0", 8765) as server:
        await server.serve_forever()


async def patient_sensor(values: list[str]) -> str:
    waiting = dict(enumerate(values))  # those that the collector has not confirmed
    while waiting:
        try:
            async with asyncio.timeout(10), connect("ws://collector:8765") as connection:
                for number, value in list(waiting.items()):
                    await connection.send(f"{number}:{value}")
                    waiting.pop(int(await connection.recv()), None)
        except (OSError, WebSocketException):  # refused, reset, timed out
            await asyncio.sleep(1)
    return "delivered"


async def hasty_sensor(values: list[str]) -> str:
    waiting = dict(enumerate(values))
    while waiting:
        try:
            async with asyncio.timeout(10), connect("ws://collector:8765") as connection:
                for number, value in list(waiting.items()):
                    await connection.send(f"{number}:{value}")
                    del waiting[number]  # sent is not delivered
        except (OSError, WebSocketException):
            await asyncio.sleep(1)
    return "sent"


@pytest.mark.convergence(network="flaky", schedules=20)
def test_every_reading_arrives(convergence_session: Session) -> None:
    readings: dict[int, str] = {}
    convergence_session.host("collector", collect, readings)
    convergence_session.host("sensor", patient_sensor, ["warm", "hot", "hotter"])
    convergence_session.run()
    assert readings == {0: "warm", 1: "hot", 2: "hotter"}


async def restart_soon(session: Session) -> None:
    collector = session.hosts["collector"]
    await session.sleep(0.0045)  # the connection stands, and the first readings are on their way
    collector.crash(silently=False)
    await session.sleep(5)
    collector.restart()
    await session.finished()


def test_every_reading_arrives_although_the_collector_restarts(convergence_session: Session) -> None:
    readings: dict[int, str] = {}
    convergence_session.host("collector", collect, readings)
    convergence_session.host("sensor", patient_sensor, ["warm", "hot", "hotter"])
    convergence_session.run(restart_soon)
    assert readings == {0: "warm", 1: "hot", 2: "hotter"}


def test_who_takes_sent_for_delivered_loses_readings(convergence_session: Session) -> None:
    readings: dict[int, str] = {}
    convergence_session.host("collector", collect, readings)
    convergence_session.host("sensor", hasty_sensor, ["warm", "hot", "hotter"])
    convergence_session.run(restart_soon)
    assert not readings
