"""grpclib, as it is: calls with deadlines are tried again, and an account is charged once for each."""

import asyncio

import pytest

pytest.importorskip("grpclib")
pytest.importorskip("google.protobuf")

from google.protobuf.wrappers_pb2 import StringValue
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server, Stream

from pytest_convergence import Session


class Bank:
    """A service as the compiler of protobuf would describe it."""

    def __init__(self, charged: set[str]) -> None:
        self.charged = charged

    async def charge(self, stream: Stream[StringValue, StringValue]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.charged.add(request.value)
        await stream.send_message(StringValue(value=f"charged {request.value}"))

    def __mapping__(self) -> dict[str, Handler]:
        return {"/shop.Bank/Charge": Handler(self.charge, Cardinality.UNARY_UNARY, StringValue, StringValue)}


async def serve(charged: set[str]) -> None:
    server = Server([Bank(charged)])
    await server.start("0.0.0.0", 50051)
    await server.wait_closed()


async def pay(numbers: list[str]) -> list[str]:
    answers: list[str] = []
    for number in numbers:
        while True:
            channel = Channel("bank", 50051)
            try:
                charge = UnaryUnaryMethod(channel, "/shop.Bank/Charge", StringValue, StringValue)
                answers.append((await charge(StringValue(value=number), timeout=5)).value)
                break
            except (OSError, GRPCError, StreamTerminatedError):
                await asyncio.sleep(1)
            finally:
                channel.close()
    return answers


@pytest.mark.convergence(network="flaky", schedules=10)
def test_each_call_is_answered(convergence_session: Session) -> None:
    charged: set[str] = set()
    convergence_session.host("bank", serve, charged)
    convergence_session.host("shop", pay, ["1", "2"])
    assert convergence_session.run().results["shop"] == ["charged 1", "charged 2"]
    assert charged == {"1", "2"}


def test_calls_are_answered_after_the_bank_is_back(convergence_session: Session) -> None:
    charged: set[str] = set()
    bank = convergence_session.host("bank", serve, charged)
    convergence_session.host("shop", pay, ["1", "2"])

    async def scenario(session: Session) -> None:
        await session.sleep(0.01)
        bank.crash()
        await session.sleep(20)
        bank.restart()
        await session.finished()

    assert convergence_session.run(scenario).results["shop"] == ["charged 1", "charged 2"]
