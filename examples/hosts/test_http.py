"""httpx, uvicorn and Starlette, as they are: an order is placed once, although answers are lost and the shop restarts."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pytest_convergence import Session

Take = Callable[[str, Any], None]


async def serve(take: Take) -> None:
    async def order(request: Request) -> JSONResponse:
        take(request.headers["Idempotency-Key"], await request.json())
        await asyncio.sleep(0.01)  # the database takes its time
        return JSONResponse({"taken": True})

    app = Starlette(routes=[Route("/orders", order, methods=["POST"])])
    await uvicorn.Server(uvicorn.Config(app, host="0.0.0.0", port=8000, log_config=None)).serve()


async def buy(items: list[str]) -> str:
    async with httpx.AsyncClient(base_url="http://shop:8000", timeout=5) as client:
        for number, item in enumerate(items):
            while True:
                try:
                    headers = {"Idempotency-Key": f"order-{number}"}
                    response = await client.post("/orders", json={"item": item}, headers=headers)
                    response.raise_for_status()
                    break
                except httpx.TransportError:  # refused, reset, timed out: was the order taken?
                    await asyncio.sleep(1)
    return "bought"


@pytest.mark.convergence(network="flaky", schedules=20)
def test_each_order_is_placed_once(convergence_session: Session) -> None:
    orders: dict[str, Any] = {}  # the shop's database
    convergence_session.host("shop", serve, orders.setdefault)
    convergence_session.host("customer", buy, ["tea", "milk"])
    assert convergence_session.run().results["customer"] == "bought"
    assert orders == {"order-0": {"item": "tea"}, "order-1": {"item": "milk"}}


def test_nothing_is_lost_when_the_shop_restarts(convergence_session: Session) -> None:
    orders: dict[str, Any] = {}
    shop = convergence_session.host("shop", serve, orders.setdefault)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.host("customer", buy, ["tea", "milk"])
        await session.sleep(0.005)
        # Uvicorn ends in good order, and dies of the signal that asked it to.
        shop.send_signal(signal.SIGTERM)
        await session.sleep(10)
        shop.restart()
        await session.finished()

    outcome = convergence_session.run(scenario)
    assert outcome.results["customer"] == "bought"
    assert len(orders) == 2


def test_a_shop_that_ignores_the_keys_takes_an_order_twice_when_the_answer_is_lost(
    convergence_session: Session,
) -> None:
    orders: list[Any] = []
    convergence_session.host("shop", serve, lambda _, order: orders.append(order))

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.host("customer", buy, ["tea"])
        while not orders:
            await session.sleep(0.001)
        with session.network.drop("shop", "customer"):
            await session.sleep(8)
        await session.finished()

    convergence_session.run(scenario)
    assert orders == [{"item": "tea"}] * 2
