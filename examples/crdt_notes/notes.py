"""A shopping list that several agents write at once, each in a document of its own.

``note_taker`` keeps a real Yjs document (pycrdt). The agents exchange the real binary messages of the Yjs sync protocol:
"this is what I have" (a state vector) is answered with exactly what is missing. ``naive_note_taker`` sends its whole text
around, and whatever arrives last wins.
"""

import asyncio

from pycrdt import Doc, Text, create_sync_message, handle_sync_message

from pytest_convergence import SimulatedAgent

ITEMS = {
    "ann": ["milk\n", "eggs\n"],
    "bob": ["bread\n", "salt\n"],
    "cho": ["tea\n", "plums\n"],
}
"""Who writes what."""

SYNC_EVERY_SECONDS = 1.0


async def note_taker(agent: SimulatedAgent) -> None:
    """Write one's own items, and keep the document in step with everybody else's."""
    # Yjs orders what was written at once by client id. It would draw one at random; a name that is the same in each run
    # makes the run repeatable.
    doc: Doc[Text] = Doc(client_id=1 + sorted(ITEMS).index(agent.name))
    note = doc.get("note", type=Text)
    agent.expose(lambda: str(note))  # what all agents must agree on in the end

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write(agent, note))
        tasks.create_task(ask_around(agent, doc))
        async for message in agent.inbox:
            # The first byte says "sync"; the rest is a state vector, or an update. Only the former needs an answer.
            answer = handle_sync_message(message.payload[1:], doc)
            if answer is not None:
                await agent.send(message.sender, answer)


async def write(agent: SimulatedAgent, note: Text) -> None:
    for item in ITEMS[agent.name]:
        await asyncio.sleep(agent.random.uniform(1, 5))  # virtual seconds: nobody waits for them
        note += item


async def ask_around(agent: SimulatedAgent, doc: Doc[Text]) -> None:
    """Ask everybody for what is missing, again and again: any single message may get lost."""
    while True:
        await asyncio.sleep(SYNC_EVERY_SECONDS)
        await agent.broadcast(create_sync_message(doc))


async def naive_note_taker(agent: SimulatedAgent) -> None:
    """The same, as one would first think of it: tell everybody the whole text, and take over whatever arrives."""
    text = ""
    agent.expose(lambda: text)

    async def write_and_tell() -> None:
        nonlocal text
        for item in ITEMS[agent.name]:
            await asyncio.sleep(agent.random.uniform(1, 5))
            text += item
            await agent.broadcast(text)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_and_tell())
        async for message in agent.inbox:
            text = message.payload  # the last arrival wins, whoever wrote meanwhile
