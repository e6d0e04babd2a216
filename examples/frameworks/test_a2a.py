"""a2a-sdk, as it is: a customer asks a print shop over A2A, and changes his mind while the machine runs.

His wish to cancel and the end of the work cross on the way. Whatever the network does with either: he is told
that the task is cancelled, or he gets his print, and not both.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

pytest.importorskip("a2a")
pytest.importorskip("uvicorn")

import httpx
import uvicorn
from a2a.client import ClientConfig, create_client
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    CancelTaskRequest,
    GetTaskRequest,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError
from starlette.applications import Starlette

from pytest_convergence import Session

URL = "http://shop:8000"
CARD = AgentCard(
    name="print shop",
    description="prints",
    version="1",
    capabilities=AgentCapabilities(streaming=False),
    default_input_modes=["text"],
    default_output_modes=["text"],
    supported_interfaces=[AgentInterface(protocol_binding="JSONRPC", url=f"{URL}/", protocol_version="1.0")],
)


class Printer(AgentExecutor):
    def __init__(self, prints: list[str]) -> None:
        self.prints = prints

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await self.work(context.task_id)
        await updater.complete()

    async def work(self, task_id: str) -> None:
        await asyncio.sleep(1)
        self.prints.append(task_id)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


class DeafPrinter(Printer):
    """What it has begun it ends, whoever cancels."""

    async def work(self, task_id: str) -> None:
        await asyncio.shield(super().work(task_id))


async def serve(printer: Printer) -> None:
    handler = DefaultRequestHandler(printer, InMemoryTaskStore(), CARD)
    app = Starlette(routes=[*create_agent_card_routes(CARD), *create_jsonrpc_routes(handler, "/")])
    await uvicorn.Server(uvicorn.Config(app, host="0.0.0.0", port=8000, log_config=None)).serve()


async def customer() -> str:
    await asyncio.sleep(1)  # by now the shop is open
    async with httpx.AsyncClient(timeout=60) as http:
        client = await create_client(CARD, ClientConfig(streaming=False, httpx_client=http))
        wish = new_text_message("a poster", role=Role.ROLE_USER)
        at_once = SendMessageConfiguration(return_immediately=True)
        request = SendMessageRequest(message=wish, configuration=at_once)
        task = [answer.task async for answer in client.send_message(request)][-1]
        await asyncio.sleep(0.8)
        with suppress(TaskNotCancelableError):  # it is printed
            await client.cancel_task(CancelTaskRequest(id=task.id))
        await asyncio.sleep(2)
        task = await client.get_task(GetTaskRequest(id=task.id))
        return str(TaskState.Name(task.status.state))


def order(session: Session, kind: type[Printer]) -> tuple[str, int]:
    """Order a print and cancel it; return what the customer is told, and how many prints there are."""
    prints: list[str] = []
    session.host("shop", serve, kind(prints))
    session.host("customer", customer)
    return session.run().results["customer"], len(prints)


FATES = {("TASK_STATE_CANCELED", 0), ("TASK_STATE_COMPLETED", 1)}


@pytest.mark.convergence(network="wan", schedules=20)
def test_a_customer_is_told_that_he_has_cancelled_or_gets_his_print(convergence_session: Session) -> None:
    assert order(convergence_session, Printer) in FATES


def test_both_may_happen(convergence_session_factory: Callable[..., Session]) -> None:
    sessions = (convergence_session_factory(network="wan", seed=seed) for seed in range(20))
    assert {order(session, Printer) for session in sessions} == FATES


def test_a_printer_that_does_not_listen_prints_what_is_cancelled(
    convergence_session_factory: Callable[..., Session],
) -> None:
    sessions = (convergence_session_factory(network="wan", seed=seed) for seed in range(20))
    assert ("TASK_STATE_CANCELED", 1) in {order(session, DeafPrinter) for session in sessions}
