"""What happens when replicas have written concurrently: conflicts, and how they are settled."""

import pytest

from pytest_convergence._engine.state.conflicts import Conflict, Resolution, distinct_conflicts
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.resolution import (
    KNOWN_STRATEGIES,
    Resolver,
    as_resolver,
    available_strategies,
)
from pytest_convergence._engine.state.updates import DELETED
from pytest_convergence.errors import ConvergenceUsageError


class Clock:
    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def _pair(**options) -> tuple[Replica, Replica]:
    return Replica("a", **options), Replica("b", **options)


def _meet(*replicas: Replica) -> None:
    for _ in replicas:
        for one in replicas:
            for other in replicas:
                assert one.join(other.delta_since(one.clock))
    assert len({replica.checksum for replica in replicas}) == 1
    assert len({replica.clock for replica in replicas}) == 1


def test_concurrent_writes_of_one_path_are_a_conflict_that_both_sides_name_alike() -> None:
    clock = Clock()
    a, b = Replica("a", now_ns=clock), Replica("b", now_ns=clock)
    clock.now_ns = 10
    b.set("plan.title", "from b")
    clock.now_ns = 20
    a.set("plan.title", "from a")
    _meet(a, b)
    assert a.get("plan.title") == "from a"
    assert a.conflicts == b.conflicts
    assert hash(a.conflicts[0]) == hash(b.conflicts[0])
    (conflict,) = distinct_conflicts([*a.conflicts, *b.conflicts])
    assert conflict.path == "plan.title"
    assert conflict.agents == ("a", "b")
    assert conflict.values == {"a": "from a", "b": "from b"}
    assert conflict.resolution == Resolution("last-write", "from a", "a")
    assert conflict.winner == "a"
    assert str(conflict) == "plan.title: a wrote 'from a', b wrote 'from b'; last-write kept 'from a' of a"


def test_equal_times_are_decided_by_the_name() -> None:
    a, b = _pair()
    b.set("x", "from b")
    a.set("x", "from a")
    _meet(a, b)
    assert a.get("x") == "from b"


def test_a_causal_successor_wins_whatever_its_clock_says() -> None:
    fast, slow = Replica("fast", now_ns=lambda: 1_000), Replica("slow", now_ns=lambda: 1)
    fast.set("x", "first")
    _meet(fast, slow)
    slow.set("x", "second")
    _meet(fast, slow)
    assert fast.get("x") == "second"
    assert not fast.conflicts
    assert not slow.conflicts


def test_concurrent_writes_of_different_paths_are_no_conflict() -> None:
    a, b = _pair()
    a.set("plan.title", "T")
    b.set("plan.owner", "O")
    a.set("x", 1)
    _meet(a, b)
    assert a.as_dict() == {"plan": {"title": "T", "owner": "O"}, "x": 1}
    assert not a.conflicts
    assert not b.conflicts


def test_concurrent_writes_of_equal_values_are_no_conflict() -> None:
    a, b = _pair(initial={"x": [1, {"k": 2}]})
    _meet(a, b)
    assert not a.conflicts
    a.set("y", 1)
    b.set("y", True)
    _meet(a, b)
    assert [conflict.path for conflict in a.conflicts] == ["y"]


def test_concurrent_increments_and_appends_lose_nothing_and_are_no_conflict() -> None:
    clock = Clock()
    a, b = Replica("a", now_ns=clock), Replica("b", now_ns=clock)
    a.set("n", 100)
    _meet(a, b)
    for number in range(3):
        clock.now_ns += 1
        a.increment("n")
        a.append("log", f"a{number}")
        clock.now_ns += 1
        b.increment("n", 10)
        b.append("log", f"b{number}")
    _meet(a, b)
    assert a.get("n") == 133
    assert a.get("log") == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert not a.conflicts
    b.increment("n")
    _meet(a, b)
    assert a.get("n") == 134


def test_an_append_comes_after_those_that_its_author_had_seen() -> None:
    fast, slow = Replica("fast", now_ns=lambda: 1_000), Replica("slow", now_ns=lambda: 1)
    fast.append("log", "question")
    _meet(fast, slow)
    slow.append("log", "answer")
    _meet(fast, slow)
    assert fast.get("log") == slow.get("log") == ["question", "answer"]


def test_a_set_beside_an_increment_is_a_conflict_and_the_later_comes_on_top() -> None:
    clock = Clock()
    a, b = Replica("a", now_ns=clock), Replica("b", now_ns=clock)
    a.increment("n", 5)
    _meet(a, b)
    clock.now_ns = 1
    b.set("n", 100)
    clock.now_ns = 2
    a.increment("n")
    _meet(a, b)
    assert a.get("n") == 101, "what b had seen of the run of a is not counted again"
    (conflict,) = a.conflicts
    assert conflict.values == {"a": 6, "b": 100}
    a.increment("n")
    b.increment("n")
    _meet(a, b)
    assert a.get("n") == 103


def test_a_subtree_beside_a_part_of_it_is_one_conflict_at_the_subtree() -> None:
    clock = Clock()
    a, b = Replica("a", now_ns=clock), Replica("b", now_ns=clock)
    a.merge({"plan": {"title": "T", "n": 1}})
    _meet(a, b)
    clock.now_ns = 1
    a.set("plan", {"title": "A"})
    clock.now_ns = 2
    b.set("plan.title", "B")
    b.set("plan.n", 2)
    _meet(a, b)
    assert a.as_dict() == {"plan": {"title": "B", "n": 2}}
    (conflict,) = a.conflicts
    assert conflict.path == "plan"
    assert conflict.values == {"a": {"title": "A"}, "b": {"title": "B", "n": 2}}
    assert [write.path for write in conflict.writes] == ["plan", "plan.title", "plan.n"]


def test_a_delete_beside_a_write_is_a_conflict() -> None:
    clock = Clock()
    a, b = Replica("a", now_ns=clock), Replica("b", now_ns=clock)
    a.set("x", 1)
    _meet(a, b)
    clock.now_ns = 1
    a.set("x", 2)
    clock.now_ns = 2
    b.delete("x")
    _meet(a, b)
    assert a.get("x") is None
    (conflict,) = a.conflicts
    assert conflict.values == {"a": 2, "b": DELETED}
    assert str(conflict) == "x: a wrote 2, b wrote DELETED; last-write kept DELETED of b"
    assert conflict.writes[1].value is DELETED


def test_concurrent_deletes_agree() -> None:
    a, b = _pair()
    a.set("x.y", 1)
    _meet(a, b)
    a.delete("x")
    b.delete("x.y")
    _meet(a, b)
    assert not a.conflicts


def test_a_conflict_that_goes_on_is_listed_once() -> None:
    a, b, c = Replica("a"), Replica("b"), Replica("c")
    told: list[Conflict] = []
    b.on_conflict = told.append
    a.set("x", 1)
    b.set("x", 2)
    b.join(a.delta_since(b.clock))
    a.set("x", 3)  # overwrites its own write and still knows nothing of b
    b.join(a.delta_since(b.clock))
    c.set("x", 4)
    b.join(c.delta_since(b.clock))
    assert [conflict.values for conflict in told] == [
        {"a": 1, "b": 2},
        {"a": 3, "b": 2},
        {"a": 3, "b": 2, "c": 4},
    ]
    assert [conflict.values for conflict in b.conflicts] == [{"a": 3, "b": 2, "c": 4}]
    _meet(a, b, c)
    everywhere = [*told, *a.conflicts, *b.conflicts, *c.conflicts]
    assert distinct_conflicts(everywhere) == b.conflicts


def test_a_conflict_stays_listed_when_its_replica_is_restored() -> None:
    a, b = _pair()
    a.set("x", 1)
    b.set("x", 2)
    a.join(b.delta_since(a.clock))
    a.set("x", 3)
    met = a.conflicts
    a.restore(a.updates, a.clock, a.version)
    assert a.conflicts == met
    assert len(met) == 1


def test_two_conflicts_of_one_path_are_two() -> None:
    a, b = _pair()
    for value in (1, 2):
        a.set("x", value)
        b.set("x", -value)
        _meet(a, b)
    assert [conflict.values for conflict in distinct_conflicts([*a.conflicts, *b.conflicts])] == [
        {"a": 1, "b": -1},
        {"a": 2, "b": -2},
    ]


def test_a_reported_conflict_cannot_change_the_replica() -> None:
    a, b = _pair(resolve="first-come")
    a.set("x", [1])
    b.set("x", [2])
    _meet(a, b)
    conflict = a.conflicts[0]
    conflict.values["a"].append(9)
    assert conflict.resolution is not None
    conflict.resolution.value.append(9)
    a.set("x.y", 1)
    a.rollback(a.version - 1)
    assert a.get("x") == [1]


def test_first_come_keeps_the_earliest_write() -> None:
    clock = Clock()
    a, b, c = (Replica(name, now_ns=clock, resolve="first-come") for name in "abc")
    for replica, at_ns in ((c, 2), (b, 1), (a, 3)):
        clock.now_ns = at_ns
        replica.set("x", replica.agent)
    _meet(a, b, c)
    assert a.get("x") == "b"
    assert a.conflicts[0].resolution == Resolution("first-come", "b", "b")


def test_a_function_may_settle_conflicts() -> None:
    def longest(conflict: Conflict) -> str:
        return max(conflict.values.values(), key=len)

    a, b = _pair(resolve=longest)
    a.set("title", "a longer one")
    b.set("title", "short")
    b.append("log", 1)
    _meet(a, b)
    assert a.get("title") == "a longer one"
    assert a.conflicts[0].resolution == Resolution("longest", "a longer one")
    assert str(a.conflicts[0]).endswith("; longest kept 'a longer one'")
    a.set("title", "x")
    _meet(a, b)
    assert b.get("title") == "x"


def test_a_function_may_merge_or_delete() -> None:
    a, b = _pair(
        resolve=lambda conflict: DELETED if conflict.path == "gone" else sorted(conflict.values.values())
    )
    a.merge({"gone": 1, "kept": 1})
    b.merge({"gone": 2, "kept": 2})
    _meet(a, b)
    assert a.as_dict() == {"kept": [1, 2]}
    assert {conflict.resolution.strategy for conflict in a.conflicts if conflict.resolution} == {"function"}


def test_what_is_written_in_knowledge_of_a_conflict_comes_on_top_of_its_resolution() -> None:
    a, b = _pair(resolve=lambda conflict: {"n": 10})
    a.set("plan", {"n": 1})
    b.set("plan", {"n": 2})
    _meet(a, b)
    a.increment("plan.n")
    b.set("plan.title", "T")
    _meet(a, b)
    assert a.as_dict() == {"plan": {"n": 11, "title": "T"}}


def test_a_resolver_may_leave_a_conflict_unresolved() -> None:
    a, b = _pair(resolve=Resolver("undecided", lambda conflict: None))
    a.set("x", 1)
    b.set("x", 2)
    _meet(a, b)
    (conflict,) = a.conflicts
    assert conflict.resolution is None
    assert conflict.winner is None
    assert str(conflict) == "x: a wrote 1, b wrote 2; unresolved"
    assert a.get("x") == 2


def test_a_strategy_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConvergenceUsageError, match="did you mean 'last-write'"):
        Replica("a", resolve="last-writer")
    with pytest.raises(ConvergenceUsageError, match="neither the name of a strategy nor a function"):
        Replica("a", resolve=3)  # type: ignore[arg-type]


def test_a_write_that_knows_one_side_of_a_conflict_is_not_lost_to_its_resolution() -> None:
    clock = Clock()
    a, b = (Replica(name, now_ns=clock, resolve=lambda conflict: conflict.values["a"]) for name in "ab")
    clock.now_ns = 1
    a.set("plan", {"n": 0})
    clock.now_ns = 2
    a.increment("plan.n")
    clock.now_ns = 9
    b.set("plan.title", "B")
    _meet(a, b)
    assert b.as_dict() == {"plan": {"n": 1}}
    assert b.conflicts[0].segments == ("plan",)


def test_every_named_strategy_is_available() -> None:
    assert set(available_strategies()) == set(KNOWN_STRATEGIES)
    for name in available_strategies():
        assert as_resolver(name).name == name
