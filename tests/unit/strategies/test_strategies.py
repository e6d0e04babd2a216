"""What the strategies draw, what they keep, and what they refuse."""

import copy
import pickle
from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_convergence import strategies as cst
from pytest_convergence._engine.base.clocks import HybridClock, LamportClock, VectorClock
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.goal import Goal
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.state.updates import Delta
from pytest_convergence.errors import ConvergenceUsageError

# ---------------------------------------------------------------------------------------------------------------- agents


@pytest.mark.parametrize(
    ("agents", "names"),
    [(2, ("agent-1", "agent-2")), (["x", "y"], ("x", "y")), (("x",), ("x",)), ({"x": None}, ("x",))],
)
def test_agents_are_a_number_or_names_as_for_a_session(agents: Any, names: tuple[str, ...]) -> None:
    @settings(max_examples=5)
    @given(cst.histories(agents))
    def check(history: cst.History) -> None:
        assert history.agents == names

    check()


@pytest.mark.parametrize(
    "strategy", [cst.vector_clocks, cst.histories, cst.proposals, cst.conflicting_states]
)
@pytest.mark.parametrize("agents", [0, [], ["a", "a"], "abc", [1]])
def test_what_a_session_would_refuse_as_agents_is_refused_here_too(strategy: Any, agents: Any) -> None:
    with pytest.raises(ConvergenceUsageError, match=r"agent"):
        strategy(agents)


def test_strategies_about_differences_need_two_agents() -> None:
    for strategy in (cst.conflicting_states, cst.messages):
        with pytest.raises(ConvergenceUsageError, match="at least 2 agents"):
            strategy(1)


# ------------------------------------------------------------------------------------------------------------- causality


@given(cst.histories(3, max_events=8))
def test_a_reception_follows_a_sending_of_another_agent(history: cst.History) -> None:
    assert len(history) <= 8
    for number, event in enumerate(history):
        assert event.number == number
        assert history[number] is event
        assert (event.source is not None) is (event.kind == "receive")
        if event.source is not None:
            sending = history[event.source]
            assert sending.kind == "send"
            assert sending.agent != event.agent
            assert sending.number < event.number


def test_a_history_cannot_have_fewer_than_no_events() -> None:
    with pytest.raises(ConvergenceUsageError, match="0 or more"):
        cst.histories(max_events=-1)


# ------------------------------------------------------------------------------------------------------------- orderings

_MESSAGES = [
    Message("a", "b", "question", uid=7),
    Message("c", "b", "noise", uid=8),
    Message("b", "a", "answer", uid=9, reply_to=7),
    Message("a", "c", "aside", uid=10),
]


def _drawn(messages: Iterable[Any], order: str) -> set[tuple[Any, ...]]:
    found: set[tuple[Any, ...]] = set()

    @settings(max_examples=250, database=None, derandomize=True, deadline=None)
    @given(cst.message_orderings(messages, order))
    def collect(ordering: tuple[Message, ...]) -> None:
        found.add(tuple(message.payload for message in ordering))

    collect()
    return found


def test_any_order_is_every_permutation() -> None:
    messages = [("a", number) for number in range(3)]
    assert _drawn(messages, "any") == set(permutations(range(3)))


def test_fifo_keeps_the_order_of_each_link() -> None:
    pairs = [("a", 1), ("b", 2), ("a", 3)]
    assert _drawn(pairs, "fifo") == {(1, 2, 3), (2, 1, 3), (1, 3, 2)}
    links = [Message("a", "b", 1), Message("a", "c", 2), Message("a", "b", 3)]
    assert _drawn(links, "fifo") == {(1, 2, 3), (2, 1, 3), (1, 3, 2)}


def test_causal_keeps_each_senders_order_and_answers_after_questions() -> None:
    drawn = _drawn(_MESSAGES, "causal")
    expected = {
        order
        for order in permutations(["question", "noise", "answer", "aside"])
        if order.index("question") < order.index("answer") and order.index("question") < order.index("aside")
    }
    assert drawn == expected


@given(cst.message_orderings(_MESSAGES))
def test_messages_are_drawn_as_they_were_given(ordering: tuple[Message, ...]) -> None:
    assert sorted(ordering, key=lambda message: message.uid) == _MESSAGES


@given(cst.message_orderings([("a", 1), ("b", 2), ("a", 3)]))
def test_pairs_become_messages_numbered_by_their_sender(ordering: tuple[Message, ...]) -> None:
    assert {(message.sender, message.number, message.payload) for message in ordering} == {
        ("a", 1, 1), ("b", 1, 2), ("a", 2, 3),
    }  # fmt: skip


@given(cst.message_orderings([]))
def test_no_messages_have_one_order(ordering: tuple[Message, ...]) -> None:
    assert ordering == ()


def test_what_cannot_be_ordered_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match="unknown order 'casual': did you mean 'causal'"):
        cst.message_orderings([], order="casual")
    with pytest.raises(ConvergenceUsageError, match="'hello' is not a message"):
        cst.message_orderings(["hello"])  # type: ignore[list-item]
    with pytest.raises(ConvergenceUsageError, match="not causal"):
        cst.message_orderings([_MESSAGES[2], _MESSAGES[0]], order="causal")


# ---------------------------------------------------------------------------------------------------------------- states


@given(cst.conflicting_states(agents=3))
def test_some_field_differs_and_all_agents_have_all_fields(states: cst.ConflictingStates) -> None:
    assert states.conflicts
    assert states.agents == tuple(states.keys()) == ("agent-1", "agent-2", "agent-3")
    assert len(states) == 3
    assert [name for name, _ in states.items()] == list(states.agents)
    for state in states:
        assert set(state) == {"title", "count", "done", "plan"}
        assert set(state["plan"]) == {"steps", "owner"}


@given(cst.conflicting_states(2, fields={"only.one": st.booleans()}))
def test_even_a_single_field_of_two_values_differs(states: cst.ConflictingStates) -> None:
    assert states.conflicts == ("only.one",)
    assert {state["only"]["one"] for state in states} == {True, False}


def test_states_are_copies() -> None:
    given_states: dict[str, dict[str, list[int]]] = {"a": {"x": [1]}, "b": {"x": [2]}}
    states = cst.ConflictingStates(given_states)
    given_states["a"]["x"].append(9)
    states["a"]["x"].append(9)
    next(iter(states))["x"].append(9)
    assert states.as_dict() == {"a": {"x": [1]}, "b": {"x": [2]}}
    assert dict(states) == states.as_dict()
    with pytest.raises(AttributeError, match="immutable"):
        states.agents = ()
    assert states == cst.ConflictingStates({"a": {"x": [1]}, "b": {"x": [2]}})
    assert states != cst.ConflictingStates({"a": {"x": [1]}, "b": {"x": [3]}})
    assert states != {"a": {"x": [1]}}
    assert repr(states) == "ConflictingStates({'a': {'x': [1]}, 'b': {'x': [2]}})"
    with pytest.raises(TypeError, match="unhashable"):
        hash(states)


def test_states_survive_copying_and_pickling() -> None:
    states = cst.ConflictingStates({"a": {"x": [1]}, "b": {"x": [2]}})
    assert copy.deepcopy(states) == pickle.loads(pickle.dumps(states)) == states


def test_a_field_that_an_agent_lacks_is_a_conflict() -> None:
    assert cst.ConflictingStates({"a": {"x": 1, "y": 1}, "b": {"x": 1}}).conflicts == ("y",)
    assert cst.ConflictingStates({"a": {"x": 1}, "b": {"x": True}}).conflicts == ("x",)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "must map paths to strategies"),
        (["title"], "must map paths to strategies"),
        ({"title": "text"}, "needs a strategy"),
        ({"a..b": st.none()}, "not a path"),
        ({"plan": st.none(), "plan.title": st.none()}, "lie within each other"),
    ],
)
def test_fields_that_cannot_be_drawn_are_refused(fields: Any, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        cst.conflicting_states(fields=fields)


# ------------------------------------------------------------------------------------------------- schedules and sessions


@given(cst.schedules(faults=["crash", "loss", "crash"], cells=16))
def test_a_schedule_is_calm_or_a_tape_with_the_faults_named(schedule: Schedule) -> None:
    if schedule != Schedule.calm():
        assert schedule.kind == "tape"
        assert schedule.faults == ("crash", "loss")
        assert len(schedule.tape) == 16


def test_a_schedule_of_unknown_faults_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match="did you mean 'duplicate'"):
        cst.schedules(faults=["duplication"])
    with pytest.raises(ConvergenceUsageError, match="must be a list of kinds"):
        cst.schedules(faults="loss")
    with pytest.raises(ConvergenceUsageError, match="from 1 up"):
        cst.schedules(cells=0)


@given(cst.proposals(["a", "b"], st.integers(0, 1)))
def test_proposals_are_one_for_each_agent(proposals: dict[str, Any]) -> None:
    assert list(proposals) == ["a", "b"]
    assert set(proposals.values()) <= {0, 1}


@given(cst.networks(max_latency=0.5, max_loss=0.1))
def test_networks_stay_within_their_bounds(network: Network) -> None:
    assert isinstance(network.latency, tuple)
    assert 0 <= network.latency[0] <= network.latency[1] <= 0.5
    assert network.loss <= 0.1


@given(cst.deltas(3))
def test_deltas_hold_what_their_end_has_and_their_start_has_not(delta: Delta) -> None:
    assert delta.start <= delta.end
    for update in delta.updates:
        assert delta.end.covers(*update.dot)
        assert not delta.start.covers(*update.dot)


@pytest.mark.parametrize(
    "kind",
    [
        VectorClock, LamportClock, HybridClock, Message, Schedule, Network, Goal, Delta, cst.History,
        cst.ConflictingStates,
    ],
)  # fmt: skip
def test_types_are_registered(kind: type) -> None:
    @settings(max_examples=3)
    @given(st.from_type(kind))
    def check(value: Any) -> None:
        assert isinstance(value, kind)

    check()


def test_a_drawn_schedule_is_shown_by_the_cells_that_deviate() -> None:
    schedule = Schedule.from_tape({3: 200}, cells=8, seed=1, faults=("loss",))
    assert schedule.tape == b"\0\0\0\xc8\0\0\0\0"
    assert repr(schedule) == "Schedule.from_tape({3: 200}, cells=8, seed=1, faults=('loss',))"
    assert eval(repr(schedule), {"Schedule": Schedule}) == schedule
