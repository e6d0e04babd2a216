"""autogen-core, as it is: a ticket is published to two agents, and each wants it. Who gets it must be one of them.

Each agent asks a model first, on another host, whose answer is late, lost or cut off. A desk that gives the ticket
away in one step finds one owner under every schedule. A desk that believes what its clerks saw before gives it to both.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

pytest.importorskip("autogen_core")

from autogen_core import (
    AgentId,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TypeSubscription,
    message_handler,
)

from pytest_convergence import PropertyViolation, Session


async def model() -> None:
    """A model that thinks it over, and then is always willing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            await asyncio.sleep(1)
            writer.write(b"yes\n")
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
                reader, writer = await asyncio.open_connection("model", 7000)
                try:
                    writer.write(prompt.encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
            if line.endswith(b"\n"):
                return line.decode().strip()
        except OSError:  # refused, reset, timed out
            pass
        await asyncio.sleep(1)


@dataclass
class Ticket:
    text: str


@dataclass
class Question:
    pass


@dataclass
class Claim:
    by: str


@dataclass
class Answer:
    yes: bool


class Desk(RoutedAgent):
    def __init__(self, owners: list[str]) -> None:
        super().__init__("gives tickets away")
        self.owners = owners

    @message_handler
    async def is_free(self, message: Question, ctx: MessageContext) -> Answer:
        return Answer(not self.owners)

    @message_handler
    async def claim(self, message: Claim, ctx: MessageContext) -> Answer:
        if self.owners:
            return Answer(False)
        self.owners.append(message.by)
        return Answer(True)


class CredulousDesk(Desk):
    """It believes that who claims a ticket has asked before."""

    @message_handler
    async def claim(self, message: Claim, ctx: MessageContext) -> Answer:
        self.owners.append(message.by)
        return Answer(True)


class Clerk(RoutedAgent):
    @message_handler
    async def on_ticket(self, message: Ticket, ctx: MessageContext) -> None:
        desk = AgentId("desk", "default")
        is_free = await self.send_message(Question(), desk)
        if is_free.yes and await ask(f"Can you do this? {message.text}") == "yes":
            await self.send_message(Claim(self.id.type), desk)


async def office(owners: list[str], desk: type[Desk]) -> None:
    runtime = SingleThreadedAgentRuntime()
    await desk.register(runtime, "desk", lambda: desk(owners))
    for name in ("Ann", "Bob"):
        await Clerk.register(runtime, name, lambda name=name: Clerk(name))
        await runtime.add_subscription(TypeSubscription("default", name))
    runtime.start()
    await runtime.publish_message(Ticket("the printer is on fire"), DefaultTopicId())
    await runtime.stop_when_idle()


def open_office(session: Session, desk: type[Desk]) -> list[str]:
    owners: list[str] = []
    session.host("model", model)
    session.host("office", office, owners, desk)
    session.always("a ticket has one owner", lambda _: len(owners) <= 1)
    return owners


@pytest.mark.convergence(network="flaky", schedules=30)
def test_a_ticket_gets_one_owner(convergence_session: Session) -> None:
    owners = open_office(convergence_session, Desk)
    convergence_session.sometimes("Ann has it", lambda _: owners == ["Ann"])
    convergence_session.sometimes("Bob has it", lambda _: owners == ["Bob"])
    convergence_session.run()
    assert owners


def test_a_desk_that_believes_its_clerks_gives_a_ticket_to_both(
    convergence_session_factory: Callable[..., Session],
) -> None:
    with pytest.raises(PropertyViolation, match="a ticket has one owner"):
        for seed in range(10):
            session = convergence_session_factory(network="flaky", seed=seed)
            open_office(session, CredulousDesk)
            session.run()


@pytest.mark.parametrize("silently", [True, False])
def test_a_ticket_gets_its_owner_although_the_model_was_down(
    convergence_session: Session, silently: bool
) -> None:
    owners = open_office(convergence_session, Desk)

    async def scenario(session: Session) -> None:
        session.hosts["model"].crash(silently=silently)
        await session.sleep(20)
        session.hosts["model"].restart()
        await session.finished()

    assert convergence_session.run(scenario).duration > 20
    assert len(owners) == 1
