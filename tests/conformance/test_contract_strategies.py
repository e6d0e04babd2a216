"""Section 9 of the usage contract in words: strategies that hold to what they promise, in sync and async tests."""

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from pytest_convergence import Message, Network, Schedule, VectorClock, assert_merge_laws
from pytest_convergence import strategies as cst

SENT = [("a", 1), ("b", 2), ("a", 3), ("c", 4)]


@given(cst.message_orderings(SENT, order="fifo"))
def test_fifo_keeps_the_order_of_each_sender(ordering):
    assert [message.payload for message in ordering if message.sender == "a"] == [1, 3]
    assert sorted(message.payload for message in ordering) == [1, 2, 3, 4]


@given(cst.message_orderings(SENT, order="any"))
def test_any_keeps_nothing_but_the_messages(ordering):
    assert isinstance(ordering, tuple)
    assert all(isinstance(message, Message) for message in ordering)
    assert sorted(message.payload for message in ordering) == [1, 2, 3, 4]


def test_any_finds_orders_that_fifo_does_not():
    def overtaken(ordering):
        return [message.payload for message in ordering if message.sender == "a"] == [3, 1]

    assert find(cst.message_orderings(SENT, order="any"), overtaken)


def test_an_ordering_shrinks_to_the_one_that_was_given():
    found = find(cst.message_orderings(SENT, order="any"), lambda ordering: True)
    assert [message.payload for message in found] == [1, 2, 3, 4]


@given(cst.vector_clocks(["a", "b"]), cst.vector_clocks(["a", "b"]))
def test_vector_clocks_are_ordered_or_concurrent(one, other):
    assert isinstance(one, VectorClock)
    assert (one < other) + (other < one) + (one == other) + one.concurrent_with(other) == 1


@given(cst.histories(3))
def test_histories_are_valid(history):
    for event in history.events:
        if event.kind == "receive":
            sent = history.events[event.source]
            assert sent.kind == "send"
            assert sent.number < event.number
            assert sent.clock < event.clock


@given(cst.conflicting_states(agents=["x", "y"], fields={"title": st.text(max_size=3)}))
def test_conflicting_states_are_states_by_agent(states):
    by_agent = dict(states.items())
    assert list(by_agent) == list(states.agents) == ["x", "y"]
    assert all(set(state) <= {"title"} for state in by_agent.values())


def test_a_schedule_shrinks_to_the_calm_one():
    assert find(cst.schedules(faults=["loss", "delay", "crash"]), lambda schedule: True).is_calm


def test_types_are_registered_with_hypothesis():
    for kind in (Schedule, Network, VectorClock):
        assert isinstance(find(st.from_type(kind), lambda value: True), kind)


@given(schedule=cst.schedules(faults=["loss", "duplicate"]))
def test_the_factory_is_usable_under_given_without_a_health_check(convergence_session_factory, schedule):
    async def asker(agent):
        while True:
            try:
                return await agent.request("echo", "hello", timeout=1)
            except TimeoutError:
                continue

    async def echo(agent):
        async for message in agent.inbox:
            await agent.reply(message, message.payload)

    session = convergence_session_factory(agents={"asker": asker, "echo": echo}, schedule=schedule)
    assert session.run().results["asker"] == "hello"


@pytest.mark.convergence(agents=["a", "b"])
@given(title=st.text(max_size=5))
async def test_async_tests_with_the_marker_may_be_given_examples(convergence_session_factory, title):
    session = convergence_session_factory()

    async def scenario(session):
        session.agents["a"].state.set("title", title)

    assert (await session.execute(scenario)).converged
    assert session.agents["b"].state.get("title") == title


# -- merge laws --------------------------------------------------------------------------------------------------------

STATES = [{"n": 1}, {"n": 2}, {"m": 3}]


def take_the_first(one, other):
    return one or other


def add_up(one, other):
    return {key: one.get(key, 0) + other.get(key, 0) for key in {*one, *other}}


def average(one, other):
    return {key: (one.get(key, 0) + other.get(key, 0)) / 2 for key in {*one, *other}}


@pytest.mark.parametrize(
    ("merge", "law"),
    [(take_the_first, "commutative"), (add_up, "idempotent"), (average, "associative|idempotent")],
)
def test_a_merge_that_breaks_a_law_is_told_which_and_on_what(merge, law):
    with pytest.raises(AssertionError, match=f"{merge.__name__} is not ({law})") as caught:
        assert_merge_laws(merge, STATES)
    assert "x = " in str(caught.value)
