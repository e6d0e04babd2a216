"""A hand-off protocol of a user's own: coroutine agents that pass one work around, and the ways to get that wrong.

An owner works, offers the work to the next agent, releases it when that one accepts, and transfers it until it is
acknowledged. Tokens count the owners. Each bug is one that somebody would write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pytest_convergence import StaleTokenError

WORK = "the work"
SECONDS = 30


class Runner:
    """One agent that passes the work on.

    Bugs: ``release first`` (before anybody has accepted), ``take twice`` (a transfer that arrives again is taken again),
    ``any ack`` (an acknowledgement, however old, makes it forget the work), ``half`` (keeps half of the context).
    """

    def __init__(self, agent: Any, bug: str | None) -> None:
        self.agent = agent
        self.bug = bug
        ring = sorted([agent.name, *agent.peers])
        self.next = ring[(ring.index(agent.name) + 1) % len(ring)]
        self.owned: int | None = None
        self.seen = 0
        self.pending: int | None = None
        self.context = list(range(8))
        if agent.name == ring[0]:
            self.own(1)

    def own(self, token: int) -> None:
        """The work is ours."""
        self.owned = self.seen = token
        self.agent.observe("own", task=WORK, token=token, context=self.context)

    def release(self) -> None:
        """The work is ours no more."""
        self.agent.observe("release", task=WORK, token=self.owned)
        self.owned = None

    async def run(self) -> None:
        """Say again whatever is not answered, and answer what comes."""
        agent = self.agent
        while agent.now() < SECONDS + 60:  # nothing new towards the end, but what is under way arrives
            await self.say()
            try:
                message = await agent.receive(timeout=0.5)
            except TimeoutError:
                continue
            await getattr(self, f"on_{message.type}")(message.payload, message.sender)

    async def say(self) -> None:
        """Offer what is owned, transfer what is promised."""
        agent = self.agent
        if self.pending is not None:
            await agent.send(self.next, (self.pending, self.context), type="transfer")
        elif self.owned is not None and agent.now() < SECONDS:
            agent.observe("offered", task=WORK, token=self.owned + 1, to=self.next, max_hops=1000)
            if self.bug == "release first":
                token = self.owned + 1
                self.release()
                await agent.send(self.next, (token, self.context), type="transfer")
            else:
                await agent.send(self.next, self.owned + 1, type="offer")

    async def on_offer(self, token: int, sender: str) -> None:
        """Somebody offers the work."""
        if token > self.seen:
            await self.agent.send(sender, token, type="accept")

    async def on_accept(self, token: int, sender: str) -> None:
        """The next one will take it."""
        if self.owned is not None and token == self.owned + 1 and self.agent.now() < SECONDS + 10:
            self.release()
            self.pending = token

    async def on_transfer(self, payload: tuple[int, list[int]], sender: str) -> None:
        """The work arrives."""
        token, context = payload
        if token > self.seen or (self.bug == "take twice" and self.owned is None):
            self.context = context[:4] if self.bug == "half" else context
            self.own(token)
        await self.agent.send(sender, token, type="ack")

    async def on_ack(self, token: int, sender: str) -> None:
        """The next one has it."""
        if self.bug == "any ack":
            self.pending = None
            if self.owned is not None:
                self.release()
        elif token == self.pending:
            self.pending = None


def runner(bug: str | None = None) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return the behaviour of an agent that passes the work on."""

    async def behave(agent: Any) -> None:
        await Runner(agent, bug).run()

    return behave


def owner(*, fenced: bool, lease: float = 2.0) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return an owner that writes to a store now and then, as long as its lease (renewed by an answer) lasts.

    Without fencing it believes what it checked before it thought for a while.
    """

    async def behave(agent: Any) -> None:
        token = 1
        agent.observe("own", task=WORK, token=token)
        until = agent.now() + lease
        while agent.now() < SECONDS:
            if agent.now() >= until:
                agent.observe("suspend", task=WORK, token=token)
                return
            await asyncio.sleep(agent.random.uniform(0, 0.5))  # thinks: it may be held up here
            if fenced:
                try:
                    agent.session.resource("store").apply("write", token=token)
                except StaleTokenError:
                    return
            else:
                agent.observe("access", resource="store", task=WORK, token=token)
            try:
                await agent.request("standby", token, timeout=0.5)
                until = agent.now() + lease
            except TimeoutError:
                pass

    return behave


def standby(*, fenced: bool, patience: float = 4.0) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return an agent that takes the work over when the owner has been silent for so long."""

    async def behave(agent: Any) -> None:
        while agent.now() < SECONDS:
            try:
                await agent.reply(await agent.receive(timeout=patience))
            except TimeoutError:
                break
        agent.observe("own", task=WORK, token=2)
        for _ in range(5):
            if fenced:
                agent.session.resource("store").apply("take over", token=2)
            else:
                agent.observe("access", resource="store", task=WORK, token=2)
            await asyncio.sleep(1)

    return behave
