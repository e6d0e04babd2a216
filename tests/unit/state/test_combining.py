"""Combining parts: by name, by a function of all of them, by a function of two."""

import asyncio
import operator
from typing import Any

import pytest

from pytest_convergence._engine.state.combining import (
    as_function,
    combine_named,
    combine_plainly,
    is_pairwise,
    required_arguments,
)

PARTS = {"a": [1], "b": [2], "c": [3]}


def listed(results: Any) -> Any:
    return list(results.values())


async def awaited(one: Any, other: Any) -> Any:
    return one + other


def test_a_function_of_two_is_folded_in_the_order_of_the_parts() -> None:
    assert is_pairwise(operator.add)
    assert asyncio.run(as_function(operator.add)(PARTS)) == [1, 2, 3]
    assert asyncio.run(as_function(awaited)(PARTS)) == [1, 2, 3]
    assert combine_plainly(operator.add, PARTS) == ([1, 2, 3],)


def test_a_function_of_all_parts_stays_what_it_is() -> None:
    assert as_function(listed) is listed
    assert as_function(len) is len
    assert combine_plainly(listed, PARTS) == ([[1], [2], [3]],)


def test_a_function_that_asks_for_the_agent_is_not_taken_for_one_of_two_parts() -> None:
    def merge(agent: Any, results: Any) -> Any: ...

    assert not is_pairwise(merge)
    assert combine_plainly(merge, PARTS) is None  # there is no agent to give it


def test_what_cannot_be_had_without_waiting_is_left_alone() -> None:
    async def later(results: Any) -> Any: ...

    assert combine_plainly(later, PARTS) is None
    assert combine_plainly(lambda results: later(list(results)), PARTS) is None
    assert combine_plainly(lambda results: Later(), PARTS) is None


class Later:
    """An awaitable that cannot be closed."""

    def __await__(self) -> Any:
        yield


def test_a_name_stands_for_a_join_or_a_three_way_merge() -> None:
    assert combine_named("crdt", {"a": 1, "b": 2}, None) == (2, ())
    assert combine_named("three-way", {"a": 1, "b": 2}, 1) == (2, ())
    assert combine_plainly("crdt", {"a": 1, "b": 2}) == (2,)


@pytest.mark.parametrize(
    ("function", "names"),
    [(listed, ["results"]), (operator.add, ["a", "b"]), (dict, []), (lambda one, *more, key=1: one, ["one"])],
)
def test_the_arguments_that_a_function_cannot_do_without(function: Any, names: list[str]) -> None:
    assert required_arguments(function) == names


def test_the_parts_are_copies() -> None:
    def spoil(results: Any) -> Any:
        results["a"].append(9)
        return results

    assert combine_plainly(spoil, PARTS) == ({"a": [1, 9], "b": [2], "c": [3]},)
    assert PARTS["a"] == [1]
