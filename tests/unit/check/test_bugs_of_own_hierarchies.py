"""Hierarchies and reactions that users write themselves: their bugs are caught, and correct ones are left in peace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from pytest_convergence import (
    AgentRef,
    Call,
    ConvergenceEngine,
    Decide,
    Observe,
    Outcome,
    PropertyViolation,
    Reactive,
    Returned,
    Send,
)
from pytest_convergence._engine.run.agent import SimulatedAgent

Behaviour = Callable[[SimulatedAgent], Awaitable[Any]]
SEEDS = 12


def rate(
    agents: Mapping[str, Behaviour], properties: Sequence[str], *, network: str = "flaky", **options: Any
) -> int:
    """Return in how many of the runs one of the properties was broken."""
    found = 0
    for seed in range(SEEDS):
        engine = ConvergenceEngine()
        session = engine.create_session(
            f"seed {seed}", agents=agents, properties=properties, network=network, seed=seed, **options
        )
        try:
            session.run()
        except PropertyViolation as violation:
            found += violation.violations[0].property in properties
    return found


# -- hierarchies -------------------------------------------------------------------------------------------------------


def chief(*, checks_attempts: bool) -> Behaviour:
    """Delegates one task until it has a result; a buggy one takes the result of any attempt."""

    async def behave(agent: SimulatedAgent) -> int:
        attempt = 0
        agent.observe("begin", task="job")
        while True:
            attempt += 1
            agent.observe("delegate", task="sum", parent="job", to="clerk", attempt=attempt, seconds=3)
            await agent.send("clerk", attempt)
            answer = await answer_to(agent, attempt if checks_attempts else None)
            if answer is not None:
                agent.observe("accept", task="sum", attempt=answer)
                agent.observe("end", task="job", how="done")
                return answer

    return behave


async def answer_to(agent: SimulatedAgent, attempt: int | None) -> int | None:
    try:
        async with asyncio.timeout(2):
            while True:
                message = await agent.receive(type="result")
                if attempt in (None, message.payload):
                    return int(message.payload)
    except TimeoutError:
        return None


def clerk(*, looks_at_the_clock: bool) -> Behaviour:
    """Works up to four seconds; a buggy one forgets that it has only three."""

    async def behave(agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            agent.observe("begin", task="sum", attempt=message.payload, seconds=3)
            how = "done"
            try:
                async with asyncio.timeout(3 if looks_at_the_clock else None):
                    await asyncio.sleep(agent.random.uniform(0, 4))
            except TimeoutError:
                how = "failed"
            agent.observe("end", task="sum", attempt=message.payload, how=how)
            if how == "done":
                await agent.send("chief", message.payload, type="result")

    return behave


HIERARCHY = ("one_result_per_task", "deadline_respected", "acyclic_delegation", "escalation_reaches_root")


def test_bug_22_a_superseded_attempts_result_is_accepted() -> None:
    hasty = {"chief": chief(checks_attempts=False), "clerk": clerk(looks_at_the_clock=True)}
    assert rate(hasty, ["one_result_per_task"]) >= SEEDS // 2


def test_bug_22_a_child_works_past_its_deadline() -> None:
    slow = {"chief": chief(checks_attempts=True), "clerk": clerk(looks_at_the_clock=False)}
    assert rate(slow, ["deadline_respected"]) >= SEEDS // 2


@pytest.mark.parametrize("network", ["perfect", "lossy", "flaky", "chaos"])
def test_a_hierarchy_without_a_bug_is_left_in_peace(network: str) -> None:
    correct = {"chief": chief(checks_attempts=True), "clerk": clerk(looks_at_the_clock=True)}
    assert rate(correct, HIERARCHY, network=network) == 0


# -- sagas and handlers ------------------------------------------------------------------------------------------------


async def ask(agent: SimulatedAgent, to: str, what: str) -> Any:
    while True:
        try:
            return await agent.request(to, what, timeout=1.5)
        except TimeoutError:
            continue


def conductor(*, compensates: bool) -> Behaviour:
    """Books a hotel, then a flight, which may be refused; a buggy one leaves the hotel booked."""

    async def behave(agent: SimulatedAgent) -> None:
        agent.observe("saga_begin", saga="trip", steps=["hotel", "flight"], pivot="flight")
        await ask(agent, "hotel", "do")
        if await ask(agent, "flight", "do"):
            agent.observe("saga_end", saga="trip", how="done")
            return
        if compensates:
            await ask(agent, "hotel", "undo")
        agent.observe("saga_end", saga="trip", how="undone")

    return behave


def hotel(*, remembers: bool) -> Behaviour:
    """Can be booked once, and given back once; a buggy one gives back whenever it is asked to."""

    async def behave(agent: SimulatedAgent) -> None:
        state = "free"
        async for message in agent.inbox:
            if message.payload == "do" and state == "free":
                state = "booked"
                agent.observe("step_done", saga="trip", step="hotel")
            elif message.payload == "undo" and (state == "booked" or not remembers):
                state = "given back"
                agent.observe("step_undone", saga="trip", step="hotel")
            await agent.reply(message, True)

    return behave


async def flight(agent: SimulatedAgent) -> None:
    full = agent.random.random() < 0.8
    said = False
    async for message in agent.inbox:
        if not said:
            said = True
            agent.observe("step_failed" if full else "step_done", saga="trip", step="flight")
        await agent.reply(message, not full)


SAGA = ("saga_atomic", "pivot_no_undo")


def test_bug_23_no_compensation() -> None:
    agents = {"conductor": conductor(compensates=False), "hotel": hotel(remembers=True), "flight": flight}
    assert rate(agents, ["saga_atomic"]) >= SEEDS // 2


def test_bug_23_compensation_twice() -> None:
    agents = {"conductor": conductor(compensates=True), "hotel": hotel(remembers=False), "flight": flight}
    assert rate(agents, ["saga_atomic"], network="chaos") >= SEEDS // 2


@pytest.mark.parametrize("network", ["perfect", "lossy", "flaky", "chaos"])
def test_a_saga_without_a_bug_is_left_in_peace(network: str) -> None:
    agents = {"conductor": conductor(compensates=True), "hotel": hotel(remembers=True), "flight": flight}
    assert rate(agents, SAGA, network=network) == 0


def player(topic: str, partner: str) -> Behaviour:
    """Answers every event with another."""

    async def behave(agent: SimulatedAgent) -> None:
        if topic == "ping":
            agent.observe("publish", event="0", topic="pong", to=[partner])
            await agent.send(partner, 0)
        async for message in agent.inbox:
            cause, number = str(message.payload), message.payload + 1
            agent.observe("handled", event=cause)
            agent.observe("publish", event=str(number), topic=topic, to=[partner], cause=cause)
            await agent.send(partner, number)

    return behave


def test_bug_23_handlers_trigger_each_other() -> None:
    agents = {"a": player("ping", "b"), "b": player("pong", "a")}
    assert rate(agents, ["no_feedback_loop"], network="lan") == SEEDS


# -- in place of the reference protocol --------------------------------------------------------------------------------


class Broadcaster:
    """A reactive agent of a user's, much simplified: the first agent tells all, and everybody handles what it hears."""

    def __init__(self, name: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        self.name, self.agents, self.inputs = name, agents, inputs
        self.heard: Any = None

    def on_start(self, durable: Mapping[str, Any]) -> list[Any]:
        if self.name != self.agents[0]:
            return []
        _, payload = self.inputs["events"][0]
        publish = Observe("publish", {"event": "1", "topic": "go", "to": ["b"]})
        return [publish, Send("b", "event", payload)]

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Any]:
        if kind == "result":
            self.heard = payload
            return [Decide(payload)]
        return [Call("1", "handle go", (payload,))]

    def on_timer(self, name: str) -> list[Any]:
        return []

    def on_command(self, name: str, argument: Returned) -> list[Any]:
        self.heard = {"go": {"b": [argument.value]}}
        return [Observe("handled", {"event": "1"}), Decide(self.heard), Send("a", "result", self.heard)]

    def view(self) -> Any:
        return self.heard


def run_own(protocol: Any, function: Any) -> Outcome:
    session = ConvergenceEngine().create_session(
        "own", pattern=Reactive(), agents=["a", "b"], protocol=protocol
    )
    return session.run(handlers={"go": {"b": function}}, events=[("go", 20)])


def test_a_machine_of_the_users_may_call_the_functions_that_the_pattern_was_given() -> None:
    outcome = run_own(Broadcaster, lambda agent, payload: f"{agent.name} {payload + 1}")
    assert outcome.converged
    assert outcome.output == {"go": {"b": ["b 21"]}}


class HandsItOver(Broadcaster):
    """Gives the handler the other agent as well."""

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Any]:
        if kind == "event":
            return [Call("1", "handle go", (AgentRef("a"),))]
        return super().on_message(sender, kind, payload)


def test_a_call_may_pass_another_agent() -> None:
    assert run_own(HandsItOver, lambda agent, other: agent.name + other.name).output == {"go": {"b": ["ba"]}}


def test_the_result_of_coroutines_is_what_they_decide() -> None:
    async def behave(agent: SimulatedAgent) -> None:
        agent.observe("decide", value=36)

    session = ConvergenceEngine().create_session(
        "own", pattern="hierarchical", agents=["a", "b"], protocol=behave
    )
    outcome = session.run(tree={"a": ["b"]}, task=1, split=list, work=len, combine=sum)
    assert outcome.converged
    assert outcome.output == 36
