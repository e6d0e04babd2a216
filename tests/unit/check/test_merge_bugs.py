"""Bugs in a parallel merge are caught by the property that is meant for them; correct agents are not."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation
from tests.unit.check import own_merge
from tests.unit.check.own_merge import BASE, Coordinator, ThreeWay, cast, list_of

INPUTS: Mapping[str, Any] = {
    "tasks": {"a": "a", "b": "b", "c": "c"},
    "work": lambda task: task,
    "merge": list_of,
}


def runs(
    coordinator: type[Coordinator], seeds: int, *, lazy: float = 0.0, network: str = "flaky"
) -> Counter[str]:
    """Return how many of the runs of a user's own agents broke each property."""
    found: Counter[str] = Counter()
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}",
            pattern="parallel-merge",
            agents=["boss", "a", "b", "c"],
            protocol=cast(coordinator, lazy),
            network=network,
            faults=["crash"],
            seed=seed,
            trace=False,
        )
        three_way = {"merge": "three-way", "base": dict(BASE)} if issubclass(coordinator, ThreeWay) else {}
        try:
            session.run(**{**INPUTS, **three_way})
        except PropertyViolation as violation:
            found.update(each.property for each in violation.violations)
    return found


@pytest.mark.parametrize(
    ("bug", "name", "lazy", "at_least"),
    [
        pytest.param(own_merge.CountsEarlierRounds, "round_isolation", 0, 3, id="19 an earlier round counts"),
        pytest.param(own_merge.MergesAsTheyCome, "merge_order_independent", 0, 3, id="20 by completion"),
        pytest.param(own_merge.CountsCopies, "each_part_once", 0, 3, id="copies count"),
        pytest.param(own_merge.CountsHedges, "hedge_idempotent", 0, 3, id="hedges count"),
        pytest.param(own_merge.SaysNothing, "completeness_or_flag", 25, 3, id="a partial result is silent"),
        pytest.param(own_merge.WaitsForEver, "straggler_bound", 25, 3, id="the deadline is not kept"),
        pytest.param(own_merge.TheLastWins, "three_way_identities", 0, 3, id="the last side wins"),
        pytest.param(own_merge.DropsConflicts, "three_way_identities", 0, 3, id="a conflict is dropped"),
        pytest.param(
            own_merge.SeesConflictsEverywhere, "three_way_identities", 0, 3, id="no change is a conflict"
        ),
    ],
)
def test_a_bug_in_a_users_own_merge_is_caught(
    bug: type[Coordinator], name: str, lazy: float, at_least: int
) -> None:
    assert runs(bug, 6, lazy=lazy)[name] >= at_least


@pytest.mark.parametrize("network", ["perfect", "lan", "wan", "lossy", "flaky", "chaos"])
@pytest.mark.parametrize("lazy", [0, 25], ids=["swift", "lazy"])
@pytest.mark.parametrize("coordinator", [Coordinator, ThreeWay], ids=["values", "three ways"])
def test_a_users_own_merge_without_a_bug_is_not_reported(
    coordinator: type[Coordinator], network: str, lazy: float
) -> None:
    assert not runs(coordinator, 3, lazy=lazy, network=network)


class Sum:
    """A user's own value that claims to have a join, which adds."""

    def __init__(self, value: int) -> None:
        self.value = value

    def merge(self, other: "Sum") -> "Sum":
        return Sum(self.value + other.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class Greatest(Sum):
    def merge(self, other: Sum) -> "Greatest":
        return Greatest(max(self.value, other.value))


def joined(kind: type[Sum]) -> Any:
    session = ConvergenceEngine().create_session("join", pattern="parallel-merge", agents=["a", "b"])
    return session.run(tasks={"a": 1, "b": 2}, work=kind, merge="crdt").output


def test_a_join_that_breaks_a_law_is_caught() -> None:
    with pytest.raises(PropertyViolation, match="merge_laws: the join of round 1 is not idempotent"):
        joined(Sum)


def test_a_join_that_keeps_the_laws_is_not_reported() -> None:
    assert joined(Greatest) == Greatest(2)
