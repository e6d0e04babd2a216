"""Row 23: a trip is booked in steps that are undone when one fails; and events that cause events."""

from __future__ import annotations

from functools import cache, partial
from typing import Any, Final

from pytest_convergence import SimulatedAgent
from tests.quality.planted.bug import Bug, Case

STEPS: Final = ["hotel", "flight", "train", "car"]


async def conductor(agent: SimulatedAgent, *, undoes: bool = True) -> None:
    """Do the steps in order; when one fails, undo those that were done, in reverse."""
    agent.observe("saga_begin", saga="trip", steps=STEPS)
    for step in STEPS:
        if await ask(agent, step, "do") == "failed":
            break
    done = STEPS[: STEPS.index(step)]
    for step in reversed(done if undoes else []):
        await ask(agent, step, "undo")
    agent.observe("saga_end", saga="trip", how="undone")


async def ask(agent: SimulatedAgent, step: str, what: str) -> Any:
    while True:
        try:
            return await agent.request(step, what, timeout=0.5)
        except TimeoutError:
            continue  # it does nothing twice, so ask again


async def member(agent: SimulatedAgent, *, undoes_once: bool = True) -> None:
    """Do and undo one step, each once; there is no car."""
    disk, names = agent.storage, {"saga": "trip", "step": agent.name}
    if disk.get("done"):
        agent.observe("step_done", remembered=True, **names)
    if disk.get("undone"):
        agent.observe("step_undone", remembered=True, **names)
    async for message in agent.inbox:
        state = "undone" if disk.get("undone") else "done" if disk.get("done") else "free"
        if agent.name == "car":
            agent.observe("step_failed", **names)
            state = "failed"
        elif message.payload == "do" and state == "free":
            state = await keep(agent, "done")
            agent.observe("step_done", **names)
        elif message.payload == "undo" and (state == "done" or not undoes_once):
            state = await keep(agent, "undone")
            agent.observe("step_undone", **names)
        await agent.reply(message, state)


async def keep(agent: SimulatedAgent, state: str) -> str:
    agent.storage.put(state, True)  # what is torn as it is written is not true
    await agent.storage.sync()
    return state


@cache
def trip(conducted: Any = conductor, done_by: Any = member) -> Case:
    agents = {"conductor": conducted, **dict.fromkeys(STEPS, done_by)}
    options = {"agents": agents, "properties": ["saga_atomic", "pivot_no_undo"], "network": "lossy"}
    return Case(options | {"faults": ["crash", "partition"]})


# -- events ----------------------------------------------------------------------------------------------------------------


async def thermostat(agent: SimulatedAgent, *, always_answers: bool = False) -> None:
    """Take over what the others have set, and tell the one to the right of it."""
    ring = sorted(agent.session.agents)
    right = ring[(ring.index(agent.name) + 1) % len(ring)]
    degrees = 18

    async def tell(number: int, cause: str | None) -> None:
        event = f"{agent.name} {number}"
        agent.observe("publish", event=event, topic="degrees", to=[right], cause=cause, budget=8)
        await agent.send(right, {"degrees": degrees, "event": event})

    if agent.name == ring[0]:
        degrees = 21
        await tell(0, None)
    number = 0
    async for message in agent.inbox:
        number += 1
        changed, degrees = message.payload["degrees"] != degrees, message.payload["degrees"]
        agent.observe("handled", event=message.payload["event"])
        if changed or always_answers:
            await tell(number, message.payload["event"])


def house(one: Any) -> Case:
    agents = dict.fromkeys(("attic", "bath", "cellar", "den", "hall"), one)
    return Case({"agents": agents, "properties": ["no_feedback_loop"], "network": "lossy"})


BUGS: Final = (
    Bug(23, "no compensation", trip(partial(conductor, undoes=False)), trip(), ("saga_atomic",), 30),
    Bug(
        23,
        "compensation twice",
        trip(done_by=partial(member, undoes_once=False)),
        trip(),
        ("saga_atomic",),
        300,
    ),
    Bug(
        23,
        "handlers trigger each other",
        house(partial(thermostat, always_answers=True)),
        house(thermostat),
        ("no_feedback_loop",),
        30,
    ),
)
