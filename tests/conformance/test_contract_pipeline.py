"""The pipeline, as somebody uses it: stages on agents, and what becomes of the items whatever happens."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import (
    CancelTimer,
    ConvergenceUsageError,
    DeadLetter,
    Decide,
    ItemState,
    Network,
    Observe,
    Persist,
    Pipeline,
    PropertyViolation,
    Rejected,
    Send,
    SessionState,
    SetTimer,
    Stage,
    Sync,
    Unfinished,
    item_progress,
)
from tests.unit.check import pipelines

AGENTS = ["fetcher", "parser", "writer"]
FAULTS = ["crash", "partition", "pause"]


def double(item):
    return item * 2


async def describe(agent, item):
    await asyncio.sleep(0.05)
    return f"{item} by {agent.name}"


STAGES = [
    Stage("fetch", "fetcher", double),
    Stage("parse", "parser", describe),
    Stage("write", "writer", str.upper),
]


def run(factory, stages, items, pattern: Any = "pipeline", scenario=None, **options):
    session = factory(pattern=pattern, agents=AGENTS, **options)
    return session.run(scenario, stages=stages, items=items)


@pytest.mark.convergence(pattern="pipeline", agents=AGENTS)
def test_items_come_out_in_their_order(convergence_session):
    outcome = convergence_session.run(stages=STAGES, items=[1, 2, 3])
    assert outcome.converged
    assert outcome.output == ["2 BY PARSER", "4 BY PARSER", "6 BY PARSER"]


@pytest.mark.convergence(
    pattern="pipeline",
    agents=AGENTS,
    network="flaky",
    faults=FAULTS,
    schedules=20,
    properties=["convergence"],
)
def test_nothing_is_lost_whatever_happens(convergence_session):
    outcome = convergence_session.run(stages=STAGES, items=list(range(8)))
    assert outcome.converged
    assert outcome.output == [f"{item * 2} BY PARSER" for item in range(8)]


def test_stages_may_share_an_agent_and_an_agent_may_have_none(convergence_session_factory):
    stages = [Stage("one", "parser", double), Stage("two", "parser", double), Stage("three", "parser", str)]
    outcome = run(convergence_session_factory, stages, [1, 2], network="lossy", faults=FAULTS, seed=3)
    assert outcome.output == ["4", "8"]


def test_a_pipeline_of_one_agent_needs_no_network(convergence_session_factory):
    session = convergence_session_factory(pattern="pipeline", agents=["only"])
    outcome = session.run(stages=[Stage("one", "only", double)], items=[1, 2])
    assert outcome.output == [2, 4]
    assert outcome.metrics.protocol_messages == 0


def test_without_items_there_is_nothing_to_do(convergence_session_factory):
    outcome = run(convergence_session_factory, STAGES, [])
    assert outcome.converged
    assert outcome.output == []


def test_none_is_a_result_like_any_other(convergence_session_factory):
    outcome = run(convergence_session_factory, [Stage("log", "writer", lambda item: None)], [1])
    assert outcome.converged
    assert outcome.output == [None]


def test_a_stage_works_on_as_many_items_at_a_time_as_it_has_workers(convergence_session_factory):
    async def slow(item):
        await asyncio.sleep(1)
        return item

    one = run(convergence_session_factory, [Stage("slow", "writer", slow)], list(range(8)))
    four = run(convergence_session_factory, [Stage("slow", "writer", slow, workers=4)], list(range(8)))
    assert one.duration == pytest.approx(8, abs=0.1)
    assert four.duration == pytest.approx(2, abs=0.1)


# -- failures ----------------------------------------------------------------------------------------------------------


def failing(times: int) -> Callable[[Any], Any]:
    """Fail so many times, then double."""
    left = {"times": times}

    def work(item):
        if left["times"]:
            left["times"] -= 1
            raise ConnectionError("not yet")
        return item * 2

    return work


def test_a_failure_is_retried_after_pauses_that_double(convergence_session_factory):
    outcome = run(
        convergence_session_factory, [Stage("try", "writer", failing(3))], [1], Pipeline(backoff_seconds=1)
    )
    assert outcome.output == [2]
    assert outcome.duration == pytest.approx(1 + 2 + 4, rel=0.5)
    assert outcome.metrics.retries == 3
    assert outcome.metrics.dead_letters == 0


def test_an_item_that_keeps_failing_is_a_dead_letter_in_its_place(convergence_session_factory):
    def work(item):
        if item == 2:
            raise ValueError("two is odd enough")
        return item

    stages = [Stage("try", "parser", work, max_attempts=3), Stage("write", "writer", str)]
    outcome = run(convergence_session_factory, stages, [1, 2, 3])
    assert outcome.converged
    assert outcome.output == ["1", DeadLetter(2, "try", "ValueError: two is odd enough", 3), "3"]
    assert outcome.metrics.dead_letters == 1


def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again(convergence_session_factory):
    attempts = []

    async def work(item):
        attempts.append(item)
        await asyncio.sleep(100 if len(attempts) == 1 else 1)
        return item

    outcome = run(convergence_session_factory, [Stage("wait", "writer", work, timeout=5)], [1])
    assert outcome.output == [1]
    assert attempts == [1, 1]
    assert 6 < outcome.duration < 7


def test_what_a_stage_does_not_accept_is_rejected_and_what_it_may_not_return_is_tried_again(
    convergence_session_factory,
):
    stages = [
        Stage("check", "parser", failing(0), accepts=lambda item: item != 3, returns=int, max_attempts=2),
        Stage("write", "writer", str, accepts=int),
    ]
    outcome = run(convergence_session_factory, stages, [1, 3, "x"])
    assert outcome.output == [
        "2",
        Rejected(3, "check", "<lambda> refused 3"),
        DeadLetter("x", "check", "the result is not valid: 'xx' is no int", 2),
    ]


def test_a_result_that_cannot_travel_is_a_failure(convergence_session_factory):
    def leak(item):
        return (number for number in range(item))

    outcome = run(convergence_session_factory, [Stage("leak", "writer", leak, max_attempts=1)], [1])
    assert isinstance(outcome.output[0], DeadLetter)
    assert "cannot pickle 'generator' object" in outcome.output[0].error


# -- keys, order, modes, room ------------------------------------------------------------------------------------------


def test_items_with_equal_keys_have_one_effect_and_one_result(convergence_session_factory):
    calls = []

    def work(item):
        calls.append(item["id"])
        return item["id"].upper()

    items = [{"id": "a"}, {"id": "b"}, {"id": "a"}]
    pattern = Pipeline(key=lambda item: item["id"])
    outcome = run(convergence_session_factory, [Stage("once", "writer", work)], items, pattern)
    assert outcome.output == ["A", "B", "A"]
    assert calls == ["a", "b"]


def test_items_with_equal_order_keys_keep_their_order(convergence_session_factory):
    for seed in range(10):
        seen: list[Any] = []

        async def work(agent, item, seen=seen):
            await asyncio.sleep(agent.random.uniform(0, 1))
            return item

        def note(item, seen=seen):
            if item not in seen:
                seen.append(item)

        stages = [Stage("work", "parser", work, workers=6), Stage("note", "writer", note)]
        pattern = Pipeline(order_by=lambda item: item % 2)
        run(convergence_session_factory, stages, list(range(10)), pattern, network="lossy", seed=seed)
        assert [item for item in seen if item % 2] == [1, 3, 5, 7, 9]
        assert [item for item in seen if not item % 2] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("mode", ["effectively-once", "at-least-once"])
def test_only_at_least_once_an_effect_may_come_twice(convergence_session_factory, mode):
    twice = 0
    for seed in range(20):
        pattern = Pipeline(mode=mode)
        outcome = run(
            convergence_session_factory,
            STAGES,
            list(range(5)),
            pattern,
            network="flaky",
            faults=FAULTS,
            seed=seed,
        )
        assert outcome.output == [f"{item * 2} BY PARSER" for item in range(5)]
        twice += outcome.metrics.duplicate_effects
    assert bool(twice) is (mode == "at-least-once")


def test_a_slow_stage_slows_those_before_it(convergence_session_factory):
    taken: list[int] = []

    async def slow(item):
        await asyncio.sleep(10)
        return item

    async def scenario(session):
        await session.sleep(15)
        progress = item_progress(session.trace)
        taken.extend(item for item, each in progress.items() if each.stage is not None)
        await session.sleep(1000)

    stages = [Stage("fetch", "fetcher", double, credits=3), Stage("write", "writer", slow, credits=2)]
    run(convergence_session_factory, stages, list(range(20)), scenario=scenario)
    # One is written; for the other three the fetcher answers, so it takes no more.
    assert taken == [
        0,
        1,
        2,
        3,
    ]


# -- who crashes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", AGENTS)
def test_a_crash_of_any_agent_loses_nothing(convergence_session_factory, victim):
    async def scenario(session):
        for _ in range(3):
            await session.sleep(0.1)
            session.agents[victim].crash()
            await session.sleep(1)
            session.agents[victim].restart()
        await session.sleep(30)

    outcome = run(convergence_session_factory, STAGES, list(range(20)), scenario=scenario)
    assert outcome.converged
    assert outcome.output == [f"{item * 2} BY PARSER" for item in range(20)]


def test_an_agent_that_stays_away_leaves_the_run_without_a_result(convergence_session_factory):
    async def scenario(session):
        session.agents["parser"].crash()
        await session.sleep(60)

    outcome = run(convergence_session_factory, STAGES, [1], scenario=scenario)
    assert outcome.state is SessionState.DIVERGED
    assert outcome.output is None
    progress = item_progress(outcome.trace)
    assert (progress[0].state, progress[0].passed) == (ItemState.WAITING, ("fetch",))


def test_a_deadline_ends_the_wait_for_an_agent_that_stays_away(convergence_session_factory):
    async def scenario(session):
        await session.sleep(0.02)
        session.agents["parser"].crash()
        await session.sleep(60)
        session.agents["parser"].restart()

    pattern = Pipeline(deadline_seconds=30)
    outcome = run(convergence_session_factory, STAGES, [1, 2], pattern, scenario=scenario)
    assert outcome.converged
    assert outcome.output == [Unfinished(item, "has not come out within 30 s") for item in (1, 2)]
    assert {each.state for each in item_progress(outcome.trace).values()} == {ItemState.ABANDONED}


def test_a_deadline_that_is_kept_changes_nothing(convergence_session_factory):
    outcome = run(convergence_session_factory, STAGES, [1, 2], Pipeline(deadline_seconds=30))
    assert outcome.output == ["2 BY PARSER", "4 BY PARSER"]
    assert outcome.duration < 1


def test_a_scenario_that_returns_early_leaves_the_items_their_time(convergence_session_factory):
    async def slow(item):
        await asyncio.sleep(20)
        return item

    async def scenario(session):
        await session.sleep(1)

    outcome = run(convergence_session_factory, [Stage("slow", "writer", slow)], [1, 2, 3], scenario=scenario)
    assert outcome.converged
    assert outcome.output == [1, 2, 3]
    assert outcome.duration > 60


def test_progress_is_known_item_by_item(convergence_session_factory):
    seen = []

    async def scenario(session):
        await session.sleep(0.075)
        seen.append(item_progress(session.trace))
        await session.sleep(10)

    outcome = run(convergence_session_factory, STAGES, [1, 2, 3], scenario=scenario)
    first, second, third = seen[0].values()
    assert (first.state, first.passed) == (ItemState.DONE, ("fetch", "parse", "write"))
    assert (second.state, second.stage) == (ItemState.WORKING, "parse")
    assert third.passed == ("fetch",)
    assert {each.state for each in item_progress(outcome.trace).values()} == {ItemState.DONE}


def test_a_session_that_has_not_begun_has_no_trace(convergence_session_factory):
    session = convergence_session_factory(pattern="pipeline", agents=AGENTS)
    with pytest.raises(ConvergenceUsageError, match="is not running yet"):
        item_progress(session.trace)


# -- agents of one's own -----------------------------------------------------------------------------------------------


def own_machine(cls: Any, names: tuple[str, ...], inputs: dict[str, Any]) -> Callable[[str], Any]:
    pattern = Pipeline(max_attempts=3)
    plan, (parcels, _) = pattern._plan(names, inputs["stages"]), pattern._parcels(inputs["items"])
    return lambda name: cls(name, names, plan, parcels, list)


class ParserThatForgets:
    """A machine of the user's, in the place of one agent of three: it forgets on restart what it has done."""

    def __init__(self, name: str, agents: tuple[str, ...], inputs: dict[str, Any]) -> None:
        self._inner = own_machine(pipelines.ForgetsTheJournal, agents, inputs)(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def on_start(self, durable):
        return self._inner.on_start(durable)

    def on_message(self, sender, kind, payload):
        return [
            effect
            for effect in self._inner.on_message(sender, kind, payload)
            if type(effect).__name__ != "Call"
        ]

    def on_timer(self, name):
        return self._inner.on_timer(name)


def test_a_machine_of_ones_own_may_take_the_place_of_one_agent(convergence_session_factory):
    async def scenario(session):
        await session.sleep(10)

    options = {"pattern": "pipeline", "agents": AGENTS, "protocol": {"parser": ParserThatForgets}}
    session = convergence_session_factory(**options, network="lossy", seed=1)
    with pytest.raises(PropertyViolation, match="item 0 went in and never came out"):
        session.run(scenario, stages=STAGES, items=[1])


class OwnParser:
    """Written after the table of messages in the how-to: one item, one durable record, one answer. It forwards what it has
    until the next stage answers."""

    def __init__(self, name: str, agents: tuple[str, ...], inputs: dict[str, Any]) -> None:
        self.name = name
        self.done: dict[str, Any] = {}
        self.result: Any = None

    def on_start(self, durable):
        self.done = {key: value for key, value in durable.items() if key.startswith("item ")}
        self.result = durable.get("result")
        recalled = [
            self._effect(parcel, recalled=True) for parcel in self.done.values() if parcel is not None
        ]
        return [*recalled, *self._rest(), SetTimer("again", 10**9)] if self.result is None else self._rest()

    def on_message(self, sender, kind, payload):
        if kind == "item":
            return self._on_item(sender, payload["parcel"])
        if kind == "ack":
            key = f"item {payload['id']}"
            if key in self.done and self.done[key] is not None:
                self.done[key] = None
                return [Persist(key, None), Sync()]
        if kind == "decided":
            effects = [Persist("result", payload["value"]), Sync()] if self.result is None else []
            self.result = payload["value"]
            told = {"value": self.result, "ask": False}
            return [
                *effects,
                CancelTimer("again"),
                *self._rest(),
                *([Send(sender, "decided", told)] * payload["ask"]),
            ]
        return []

    def _on_item(self, sender, parcel):
        id, key, order, value = parcel
        effects = []
        if f"item {id}" not in self.done:
            made = (id, key, order, f"<{value}>")
            self.done[f"item {id}"] = made
            effects = [Persist(f"item {id}", made), Sync(), self._effect(made), *self._forward(made)]
        return [*effects, Send(sender, "ack", {"source": 0, "id": id, "limit": len(self.done) + 3})]

    def _effect(self, parcel, **data):
        return Observe("effect", {"item": parcel[1], "stage": "parse", **data})

    def _forward(self, parcel):
        return [Send("writer", "item", {"stage": 2, "parcel": parcel})]

    def on_timer(self, name):
        waiting = [parcel for parcel in self.done.values() if parcel is not None]
        return [effect for parcel in waiting for effect in self._forward(parcel)] + [SetTimer("again", 10**9)]

    def on_command(self, name, argument):
        return []

    def _rest(self):
        return [] if self.result is None else [Decide(self.result)]

    def view(self):
        return None if self.result is None else [outcome[2] for outcome in self.result]


def test_a_machine_after_the_table_of_messages_works_among_reference_agents(convergence_session_factory):
    for seed in range(20):
        session = convergence_session_factory(
            pattern="pipeline",
            agents=AGENTS,
            protocol={"parser": OwnParser},
            network="flaky",
            faults=FAULTS,
            seed=seed,
        )
        stages = [
            Stage("fetch", "fetcher", double),
            Stage("parse", "parser", str),
            Stage("write", "writer", str),
        ]
        outcome = session.run(stages=stages, items=[1, 2, 3, 4])
        assert outcome.converged
        assert outcome.output == ["<2>", "<4>", "<6>", "<8>"]


async def shop(agent):
    agent.observe("feed", item="order")
    await agent.request("ledger", "order", timeout=5)


async def ledger(agent):
    async for message in agent.inbox:
        agent.observe("effect", item=message.payload)
        await agent.reply(message)


def test_agents_of_ones_own_are_judged_by_the_same_properties(convergence_session_factory):
    agents = {"shop": shop, "ledger": ledger}
    session = convergence_session_factory(agents=agents, properties=Pipeline().properties)
    assert session.run().converged
    with pytest.raises(
        PropertyViolation, match="item 'order' took effect at ledger .* and once more at ledger"
    ):
        for seed in range(20):
            convergence_session_factory(
                agents=agents, properties=Pipeline().properties, network=Network(duplicate=0.5), seed=seed
            ).run()


def test_as_the_protocol_of_the_pattern_they_converge_on_what_they_decide(convergence_session_factory):
    async def teller(agent):
        if agent.name == "shop":
            await shop(agent)
        else:
            message = await agent.receive()
            agent.observe("effect", item=message.payload)
            await agent.reply(message)
        agent.observe("decide", value=["booked"])

    session = convergence_session_factory(pattern="pipeline", agents=["shop", "ledger"], protocol=teller)
    outcome = session.run(stages=[Stage("book", "ledger", str)], items=["order"])
    assert outcome.converged
    assert outcome.output == ["booked"]
