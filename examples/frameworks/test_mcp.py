"""The MCP Python SDK, as it is: a tool pays an invoice, in memory and over streamable HTTP. It must pay once.

The server crashes under the client, and answers are lost: the client calls again. A tool that knows which invoices are paid
may be called as often as one likes; one that does not pays twice.
"""

import asyncio
from collections.abc import Callable

import pytest

pytest.importorskip("mcp")
pytest.importorskip("uvicorn")

import uvicorn
from mcp import Client
from mcp.server.mcpserver import MCPServer

from pytest_convergence import PropertyViolation, Session


class Bank:
    """The bank's database: it outlives the server."""

    def __init__(self, *, knows_invoices: bool) -> None:
        self.knows_invoices = knows_invoices
        self.paid: list[str] = []

    def pay(self, invoice: str) -> None:
        if not (self.knows_invoices and invoice in self.paid):
            self.paid.append(invoice)


def cashier(bank: Bank) -> MCPServer:
    server = MCPServer("cashier")

    @server.tool()
    async def pay(invoice: str) -> str:
        """Pay an invoice."""
        bank.pay(invoice)
        await asyncio.sleep(0.5)  # the receipt is printed
        return f"{invoice} is paid"

    return server


async def serve(bank: Bank) -> None:
    app = cashier(bank).streamable_http_app(host="0.0.0.0")
    await uvicorn.Server(uvicorn.Config(app, host="0.0.0.0", port=8000, log_config=None)).serve()


async def pay_in_memory(bank: Bank) -> str:
    async with Client(cashier(bank)) as client:
        return str((await client.call_tool("pay", {"invoice": "rent"})).content[0].text)


async def pay(invoice: str) -> str:
    while True:
        try:
            async with asyncio.timeout(10), Client("http://cashier:8000/mcp") as client:
                return str((await client.call_tool("pay", {"invoice": invoice})).content[0].text)
        except Exception:  # errors of httpx, of MCP, and groups of both; the next call will tell
            await asyncio.sleep(1)


async def pay_all() -> list[str]:
    return await asyncio.gather(pay("rent"), pay("water"))


def start(session: Session, bank: Bank) -> None:
    session.host("cashier", serve, bank)
    session.host("customer", pay_all)
    session.always("no invoice is paid twice", lambda _: len(bank.paid) == len(set(bank.paid)))


def test_a_tool_is_called_in_memory(convergence_session: Session) -> None:
    convergence_session.host("customer", pay_in_memory, Bank(knows_invoices=False))
    assert convergence_session.run().results["customer"] == "rent is paid"


@pytest.mark.convergence(network="flaky", schedules=5)
def test_each_invoice_is_paid_once(convergence_session: Session) -> None:
    bank = Bank(knows_invoices=True)
    start(convergence_session, bank)
    assert convergence_session.run().results["customer"] == ["rent is paid", "water is paid"]
    assert sorted(bank.paid) == ["rent", "water"]


@pytest.mark.parametrize("silently", [True, False])
def test_each_invoice_is_paid_once_although_the_cashier_crashes(
    convergence_session: Session, silently: bool
) -> None:
    bank = Bank(knows_invoices=True)
    start(convergence_session, bank)

    async def scenario(session: Session) -> None:
        while not bank.paid:
            await session.sleep(0.1)
        session.hosts["cashier"].crash(silently=silently)
        await session.sleep(5)
        session.hosts["cashier"].restart()
        await session.finished()

    assert convergence_session.run(scenario).results["customer"] == ["rent is paid", "water is paid"]
    assert sorted(bank.paid) == ["rent", "water"]


def test_a_bank_that_does_not_know_its_invoices_pays_twice(
    convergence_session_factory: Callable[..., Session],
) -> None:
    with pytest.raises(PropertyViolation, match="no invoice is paid twice"):
        for seed in range(20):
            session = convergence_session_factory(network="flaky", seed=seed)
            start(session, Bank(knows_invoices=False))
            session.run()
