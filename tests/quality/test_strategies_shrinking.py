"""What the strategies shrink to: the calm, the empty, the equal, and the few things that a failure needs."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from pytest_convergence import strategies as cst
from pytest_convergence._engine.base.choices import Span, TapeChoices
from pytest_convergence._engine.base.clocks import HybridClock, LamportClock, VectorClock
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.goal import Goal
from pytest_convergence._engine.sim.conditions import Network

_FIXED = settings(
    derandomize=True,
    database=None,
    max_examples=2_000,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def minimal(strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool] = lambda value: True) -> Any:
    return find(strategy, condition, settings=_FIXED)


@pytest.mark.parametrize(
    ("strategy", "simplest"),
    [
        (cst.vector_clocks(), VectorClock()),
        (cst.lamport_clocks(["b", "a"]), LamportClock(0, "b")),
        (cst.hybrid_clocks(), HybridClock()),
        (cst.histories(["a", "b"]), cst.History(("a", "b"))),
        (cst.schedules(), Schedule.calm()),
        (cst.proposals(["a", "b"]), {"a": "A", "b": "A"}),
        (cst.networks(), Network(latency=(0.0, 0.0))),
        (cst.goals(), Goal("agree")),
        (cst.messages(["a", "b"]), Message("a", "b", None)),
    ],
)
def test_each_strategy_shrinks_to_its_simplest_value(strategy: st.SearchStrategy[Any], simplest: Any) -> None:
    assert minimal(strategy) == simplest


def test_deltas_shrink_to_the_one_that_says_nothing() -> None:
    delta = minimal(cst.deltas())
    assert not delta
    assert delta.updates == ()


def test_a_delta_that_says_something_shrinks_to_one_write() -> None:
    delta = minimal(cst.deltas(), lambda delta: bool(delta.updates))
    assert [str(update) for update in delta.updates] == ["set set.x 0 by agent-1 #1"]


def test_a_clock_shrinks_to_the_count_that_matters() -> None:
    assert minimal(cst.vector_clocks(["a", "b", "c"]), lambda clock: clock["b"] >= 3) == VectorClock({"b": 3})


def test_concurrent_clocks_shrink_to_one_event_each() -> None:
    pair = st.tuples(cst.vector_clocks(["a", "b"]), cst.vector_clocks(["a", "b"]))
    one, other = minimal(pair, lambda clocks: clocks[0].concurrent_with(clocks[1]))
    assert {one, other} == {VectorClock({"a": 1}), VectorClock({"b": 1})}


def test_a_history_shrinks_to_one_sending_and_one_reception() -> None:
    history = minimal(cst.histories(3), lambda history: any(event.kind == "receive" for event in history))
    assert [(event.agent, event.kind, event.source) for event in history] == [
        ("agent-1", "send", None),
        ("agent-2", "receive", 0),
    ]


# ------------------------------------------------------------------------------------------------------------ orderings

_LETTERS = [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("b", 5)]


@pytest.mark.parametrize("order", ["any", "fifo", "causal"])
def test_an_ordering_shrinks_to_the_order_given(order: str) -> None:
    assert [message.payload for message in minimal(cst.message_orderings(_LETTERS, order))] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("order", ["any", "fifo", "causal"])
def test_an_ordering_shrinks_to_the_one_overtake_that_matters(order: str) -> None:
    def last_overtakes_second(ordering: tuple[Message, ...]) -> bool:
        arrived = [message.payload for message in ordering]
        return arrived.index(4) < arrived.index(2)

    found = minimal(cst.message_orderings(_LETTERS, order), last_overtakes_second)
    assert [message.payload for message in found] == [1, 3, 4, 2, 5]


# --------------------------------------------------------------------------------------------------------------- states


def test_conflicting_states_shrink_to_one_field_of_one_agent() -> None:
    states = minimal(cst.conflicting_states(agents=3))
    assert states.agents == ("agent-1", "agent-2", "agent-3")
    assert states.conflicts == ("title",)
    assert states["agent-1"] == states["agent-3"]
    assert {states["agent-1"]["title"], states["agent-2"]["title"]} == {"", "a"}
    rest = {**states["agent-1"], "title": None}
    assert rest == {"title": None, "count": 0, "done": False, "plan": {"steps": [], "owner": ""}}


def test_conflicting_states_stay_minimal_when_hypothesis_explains() -> None:
    both = st.tuples(cst.histories(2), cst.conflicting_states(["a", "b"]))
    all_phases = settings(_FIXED, phases=tuple(Phase))
    history, states = find(both, lambda drawn: len(drawn[0]) >= 3, settings=all_phases)
    assert len(history) == 3
    assert len(states.conflicts) == 1
    assert any(
        state == {"title": "", "count": 0, "done": False, "plan": {"steps": [], "owner": ""}}
        for state in states
    )


def test_conflicting_states_shrink_to_the_field_that_matters() -> None:
    states = minimal(
        cst.conflicting_states(["a", "b"], fields={"title": st.text(), "count": st.integers()}),
        lambda states: states["b"]["count"] > states["a"]["count"] + 5,
    )
    assert states.conflicts == ("count",)
    assert states["a"]["title"] == ""
    assert (states["a"]["count"], states["b"]["count"]) in ((0, 6), (-6, 0))


# ------------------------------------------------------------------------------------------------------------ schedules


def _asked(schedule: Schedule, labels: dict[str, int]) -> dict[str, int]:
    """The options that a run would get which asks for so many messages of each link."""
    choices = schedule.choices(lambda seed: None)  # type: ignore[arg-type,return-value]
    assert schedule.kind != "tape" or isinstance(choices, TapeChoices)
    options: dict[str, int] = {}
    for stem, count in labels.items():
        answer = choices.every(stem, Span(99))
        options.update((f"{stem} #{number}", answer()) for number in range(1, count + 1))
    return options


_LINKS = {"deliver a→b": 12, "deliver b→a": 12, "deliver b→c": 12}


def test_a_schedule_shrinks_to_the_messages_that_matter() -> None:
    def fails(schedule: Schedule) -> bool:
        fates = _asked(schedule, _LINKS)
        return fates["deliver a→b #3"] > fates["deliver b→c #5"] + 20 and fates["deliver b→a #1"] >= 90

    schedule = minimal(cst.schedules(), fails)
    deviating = {label: option for label, option in _asked(schedule, _LINKS).items() if option}
    assert deviating == {"deliver a→b #3": 21, "deliver b→a #1": 90}
    assert schedule.seed == 0


def test_a_schedule_for_a_session_shrinks_to_one_lost_message() -> None:
    async def teller(agent: Any) -> None:
        for number in range(5):
            await agent.send("bank", number)

    def missing(schedule: Schedule) -> set[int]:
        engine = ConvergenceEngine()
        heard: list[int] = []

        async def listener(agent: Any) -> None:
            async for message in agent.inbox:
                heard.append(message.payload)

        engine.run(engine.create_session("s", agents={"teller": teller, "bank": listener}, schedule=schedule))
        return {0, 1, 2, 3, 4} - set(heard)

    schedule = minimal(cst.schedules(faults=["loss", "delay"], cells=128), lambda drawn: 3 in missing(drawn))
    assert missing(schedule) == {3}
    assert sum(map(bool, schedule.tape)) == 1


def test_a_replica_that_takes_the_last_arrival_is_caught_with_one_overtake() -> None:
    edits = [("planner", "first draft"), ("coder", "code"), ("planner", "final draft"), ("coder", "tests")]

    def diverges(ordering: tuple[Message, ...]) -> bool:
        document: dict[str, str] = {}
        for message in ordering:
            document[message.sender] = message.payload
        return document != {"planner": "final draft", "coder": "tests"}

    found = minimal(cst.message_orderings(edits), diverges)
    assert [message.payload for message in found] in (
        ["code", "final draft", "first draft", "tests"],
        ["first draft", "final draft", "tests", "code"],
    )
    with pytest.raises(NoSuchExample):
        find(
            cst.message_orderings(edits, order="fifo"), diverges, settings=settings(_FIXED, max_examples=200)
        )
