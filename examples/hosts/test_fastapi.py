"""FastAPI, as it is, with endpoints that are plain functions: anyio runs them on worker threads, which take turns.

Two customers want the last seat. Between looking and writing another thread may come: without a lock, a seat is sold twice.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException

from pytest_convergence import Session


async def serve(with_lock: bool) -> None:
    app = FastAPI()
    seats = ["1A"]
    lock = threading.Lock() if with_lock else nullcontext()

    @app.post("/seats")
    def book() -> str:  # not async: it runs on a worker thread
        with lock:
            if not seats:
                raise HTTPException(409, "sold out")
            seat = seats[0]
            time.sleep(0.01)  # the database takes its time
            if seat in seats:
                seats.remove(seat)
            return seat

    await uvicorn.Server(uvicorn.Config(app, host="0.0.0.0", port=8000, log_config=None)).serve()


async def book() -> str | None:
    await asyncio.sleep(1)
    async with httpx.AsyncClient(base_url="http://theatre:8000") as client:
        response = await client.post("/seats")
        return str(response.json()) if response.is_success else None


def seats_sold(session: Session, *, with_lock: bool) -> list[str]:
    session.host("theatre", serve, with_lock)
    for name in ("Ann", "Bob"):
        session.host(name, book)
    results = session.run().results
    return [seat for name in ("Ann", "Bob") if (seat := results[name])]


@pytest.mark.convergence(schedules=15)
def test_the_last_seat_is_sold_once(convergence_session: Session) -> None:
    assert seats_sold(convergence_session, with_lock=True) == ["1A"]


def test_without_a_lock_the_last_seat_is_sold_twice(
    convergence_session_factory: Callable[..., Session],
) -> None:
    sessions = (convergence_session_factory(seed=seed) for seed in range(20))
    assert any(seats_sold(session, with_lock=False) == ["1A", "1A"] for session in sessions)
