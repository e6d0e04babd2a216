"""Messages are snapshots, and keep their names."""

from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

import pytest

from pytest_convergence._engine.base.messages import Message, snapshot
from pytest_convergence._engine.run.session import Session
from tests.unit.sim.harness import run_session


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.mark.parametrize(
    "value",
    [
        1,
        "text",
        None,
        [1, [2, {"k": [3]}]],
        {"a": {"b": [1]}},
        (1, [2]),
        {1, 2},
        frozenset({"a"}),
        Pair(1, [2]),
        OrderedDict(a=[1]),
    ],
    ids=repr,
)
def test_a_snapshot_is_equal_and_of_the_same_type(value: Any):
    copied = snapshot(value)
    assert copied == value
    assert type(copied) is type(value)


def test_a_snapshot_does_not_change_with_its_original():
    inner = [1]
    original = {"list": inner, "tuple": (inner,), "pair": Pair(inner, {"deep": inner}), "set": {1}}
    copied = snapshot(original)
    inner.append(2)
    original["set"].add(2)  # type: ignore[union-attr]
    assert copied == {"list": [1], "tuple": ([1],), "pair": Pair([1], {"deep": [1]}), "set": {1}}


def test_what_is_immutable_to_the_ground_is_not_copied():
    value = (1, ("a", None), b"x")
    assert snapshot(value) is value
    assert snapshot(message := Message("a", "b", 1)) is message


def test_what_cannot_be_copied_is_refused():
    with pytest.raises(TypeError):
        snapshot({"lock": Lock()})


def test_a_message_is_named_by_its_link_and_number():
    message = Message("a", "b", None, number=3)
    assert (message.link, message.id) == ("a→b", "a→b #3")


def test_what_the_sender_changes_later_does_not_arrive():
    async def scenario(session: Session) -> Any:
        a, b = session.agents.values()
        payload = {"steps": [1]}
        await a.send("b", payload)
        payload["steps"].append(2)
        return (await b.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == {"steps": [1]}


def test_what_the_recipient_changes_does_not_change_the_trace():
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        await a.send("b", [1])
        (await b.receive()).payload.append(2)

    assert [message.payload for message in run_session(scenario, agents=["a", "b"]).trace.messages] == [[1]]


class Labelled(Pair):
    """Has a dict of its own beside its items."""


def test_a_named_tuple_that_is_immutable_to_the_ground_is_not_copied():
    pair = Pair(1, (2, "three"))
    assert snapshot(pair) is pair


def test_what_hangs_on_a_named_tuple_is_copied_with_it():
    original: Any = Labelled(1, 2)
    original.label = ["here"]
    copied = snapshot(original)
    original.label.append("there")
    assert copied.label == ["here"]
