"""One replica on its own, and two that exchange what they have."""

from dataclasses import dataclass
from enum import Enum

import pytest

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.conflicts import Conflict, Resolution, distinct_conflicts
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.resolution import Resolver
from pytest_convergence._engine.state.updates import DELETED, Update
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


# ------------------------------------------------------------------------------------------------------------ documents


def test_a_path_that_was_never_written_gives_the_default() -> None:
    replica = Replica("a")
    assert replica.get("plan.title") is None
    assert replica.get("plan.title", "untitled") == "untitled"
    assert replica.as_dict() == {}


def test_dotted_paths_are_nested() -> None:
    replica = Replica("a")
    replica.set("plan.title", "T")
    replica.set("plan.owner.name", "N")
    replica.set("done", None)
    assert replica.as_dict() == {"done": None, "plan": {"title": "T", "owner": {"name": "N"}}}
    assert replica.get("plan") == {"title": "T", "owner": {"name": "N"}}
    assert replica.get("plan.owner.name") == "N"
    assert replica.get("done", "absent") is None


def test_a_dict_that_was_set_can_be_read_and_written_by_path() -> None:
    replica = Replica("a")
    replica.set("plan", {"title": "T", "steps": {"first": 1}})
    replica.set("plan.steps.second", 2)
    assert replica.get("plan.steps.first") == 1
    assert replica.get("plan") == {"title": "T", "steps": {"first": 1, "second": 2}}


def test_setting_a_path_replaces_everything_below_it() -> None:
    replica = Replica("a", {"plan": {"title": "T", "steps": [1]}})
    replica.set("plan", {"title": "new"})
    assert replica.as_dict() == {"plan": {"title": "new"}}
    assert len(replica.updates) == 1


def test_writing_below_a_leaf_turns_the_leaf_into_a_branch() -> None:
    replica = Replica("a", {"plan": "a text"})
    replica.set("plan.title", "T")
    assert replica.as_dict() == {"plan": {"title": "T"}}


def test_a_key_with_a_dot_is_reached_by_a_sequence() -> None:
    replica = Replica("a")
    replica.set("files", {"main.py": "print()"})
    replica.set(("files", "test.py"), "assert")
    assert replica.get(("files", "main.py")) == "print()"
    assert replica.get("files") == {"main.py": "print()", "test.py": "assert"}


def test_delete_removes_the_path_and_everything_below() -> None:
    replica = Replica("a", {"plan": {"title": "T", "owner": {"name": "N"}}})
    assert replica.delete("plan.owner")
    assert replica.as_dict() == {"plan": {"title": "T"}}
    version = replica.version
    assert not replica.delete("plan.owner")
    assert not replica.delete("nothing.there")
    assert replica.version == version


def test_increment_adds_to_a_number_or_to_nothing() -> None:
    replica = Replica("a", {"n": 5})
    assert replica.increment("n") == 6
    assert replica.increment("n", by=-2) == 4
    assert replica.increment("stats.seconds", by=0.5) == 0.5
    assert replica.as_dict() == {"n": 4, "stats": {"seconds": 0.5}}


def test_a_run_of_increments_costs_one_update() -> None:
    replica = Replica("a")
    for _ in range(50):
        replica.increment("n")
    assert replica.get("n") == 50
    assert len(replica.updates) == 1
    assert replica.version == 50


def test_append_adds_to_a_list_or_to_nothing() -> None:
    replica = Replica("a", {"log": ["x"]})
    replica.append("log", "y")
    replica.append("other", {"k": 1})
    assert replica.as_dict() == {"log": ["x", "y"], "other": [{"k": 1}]}


def test_merge_writes_the_leaves_and_leaves_the_rest() -> None:
    replica = Replica("a", {"plan": {"title": "T", "n": 1}, "done": False})
    replica.merge({"plan": {"n": 2, "new": {"deep": True}}})
    replica.merge("plan.new", {"deeper": 3})
    assert replica.as_dict() == {
        "plan": {"title": "T", "n": 2, "new": {"deep": True, "deeper": 3}},
        "done": False,
    }


def test_merging_an_empty_branch_makes_it_where_there_is_none() -> None:
    replica = Replica("a", {"plan": {"title": "T"}, "leaf": 1})
    version = replica.version
    replica.merge({"plan": {}})
    assert replica.version == version
    replica.merge({"leaf": {}, "new": {}})
    assert replica.as_dict() == {"plan": {"title": "T"}, "leaf": {}, "new": {}}


@pytest.mark.parametrize("path", ["", "a.", ".a", "a..b", 3, None, (), ("a", 1), {"a"}])
def test_what_is_not_a_path_is_refused(path) -> None:
    replica = Replica("a")
    with pytest.raises(ConvergenceUsageError, match="is not a path"):
        replica.set(path, 1)
    with pytest.raises(ConvergenceUsageError, match="is not a path"):
        replica.get(path)


def test_operations_on_the_wrong_kind_of_value_are_refused() -> None:
    replica = Replica("a", {"text": "x", "flag": True, "n": 1})
    with pytest.raises(ConvergenceUsageError, match=r"increment\('text'\) needs a number there, and there is 'x'"):
        replica.increment("text")
    with pytest.raises(ConvergenceUsageError, match="needs a number"):
        replica.increment("flag")
    with pytest.raises(ConvergenceUsageError, match=r"append\('n'\) needs a list there"):
        replica.append("n", 1)
    with pytest.raises(ConvergenceUsageError, match="by must be a number"):
        replica.increment("n", by="1")  # type: ignore[arg-type]
    with pytest.raises(ConvergenceUsageError, match="takes a mapping of values"):
        replica.merge("n", 3)  # type: ignore[arg-type]
    with pytest.raises(ConvergenceUsageError, match="keys are strings"):
        replica.merge({1: 2})  # type: ignore[dict-item]
    assert replica.as_dict() == {"text": "x", "flag": True, "n": 1}


def test_what_is_stored_cannot_be_changed_from_outside() -> None:
    seen: list[Update] = []
    replica = Replica("a", on_update=seen.append)
    given = {"steps": ["one"]}
    replica.set("plan", given)
    given["steps"].append("two")
    replica.get("plan")["steps"].append("three")
    replica.as_dict()["plan"]["steps"].append("four")
    seen[0].value["steps"].append("five")
    assert replica.as_dict() == {"plan": {"steps": ["one"]}}


class Colour(Enum):
    RED = 1


@dataclass
class Task:
    name: str
    parts: list


def test_plain_data_of_every_kind_can_be_stored() -> None:
    value = [None, True, 1, 1.5, 2j, "s", b"b", (1, 2), {3}, frozenset({4}), Colour.RED, Task("t", [1]), {5: "five"}]
    replica = Replica("a")
    replica.set("v", value)
    assert replica.get("v") == value
    assert [type(item) for item in replica.get("v")] == [type(item) for item in value]
    assert len(replica.checksum) == 64


def test_what_is_not_plain_data_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match=r"plan\.callback cannot be stored: function is not plain data"):
        Replica("a").set("plan", {"callback": lambda: None})
    endless: list = []
    endless.append(endless)
    with pytest.raises(ConvergenceUsageError, match="does it contain itself"):
        Replica("a").set("plan", endless)


# ------------------------------------------------------------------------------------------- version, history, checksum


def test_every_write_is_a_version_and_is_announced() -> None:
    seen: list[Update] = []
    clock = Clock(5)
    replica = Replica("a", {"x": 0}, now_ns=clock, on_update=seen.append)
    assert replica.version == 1
    assert not seen
    replica.set("x", 1)
    clock.now_ns = 7
    replica.increment("y")
    assert [(str(update), update.at_ns) for update in seen] == [("set x 1 by a #2", 5), ("increment y 1 by a #3", 7)]
    assert [(step.number, step.path, step.agent, step.at_ns) for step in replica.history] == [
        (1, "x", "a", 5),
        (2, "x", "a", 5),
        (3, "y", "a", 7),
    ]
    assert replica.clock == VectorClock({"a": 3})


def test_the_checksum_ignores_the_order_of_keys_and_nothing_else() -> None:
    one, other = Replica("a"), Replica("b")
    one.set("p", {"x": 1, "y": [1, 2]})
    one.set("q", 1)
    other.set("q", 1)
    other.set("p", {"y": [1, 2], "x": 1})
    assert one.checksum == other.checksum
    for different in (True, 1.0, "1"):
        other.set("q", different)
        assert one.checksum != other.checksum
    other.set("q", 1)
    assert one.checksum == other.checksum


def test_rollback_restores_a_version_by_going_forward() -> None:
    replica = Replica("a", {"plan": {"title": "T", "tags": ["x"]}, "n": 1})
    before, version = replica.as_dict(), replica.version
    replica.set("plan.title", "changed")
    replica.append("plan.tags", "y")
    replica.increment("n", 4)
    replica.delete("plan.tags")
    replica.set("new.thing", 1)
    latest = replica.version
    assert replica.as_dict(version) == before
    replica.rollback(version)
    assert replica.as_dict() == before
    assert replica.version > latest
    replica.rollback(0)
    assert replica.as_dict() == {}


def test_history_is_bounded_and_a_version_outside_it_is_refused() -> None:
    replica = Replica("a", history=3)
    for number in range(6):
        replica.set("n", number)
    assert [step.number for step in replica.history] == [4, 5, 6]
    replica.rollback(3)
    assert replica.get("n") == 2
    for version in (2, 99, "1", True):
        with pytest.raises(ConvergenceUsageError, match="versions 4 to 7 are kept"):
            replica.rollback(version)  # type: ignore[arg-type]


def test_a_replica_shows_what_it_holds() -> None:
    assert repr(Replica("a", {"n": 1})) == "<Replica of a, version 1: {'n': 1}>"


# ------------------------------------------------------------------------------------------------------------ conflicts


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
    assert [conflict.values for conflict in told] == [{"a": 1, "b": 2}, {"a": 3, "b": 2}, {"a": 3, "b": 2, "c": 4}]
    assert [conflict.values for conflict in b.conflicts] == [{"a": 3, "b": 2, "c": 4}]
    _meet(a, b, c)
    everywhere = [*told, *a.conflicts, *b.conflicts, *c.conflicts]
    assert distinct_conflicts(everywhere) == b.conflicts


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


# ----------------------------------------------------------------------------------------------------------- resolution


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
    a, b = _pair(resolve=lambda conflict: DELETED if conflict.path == "gone" else sorted(conflict.values.values()))
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
    with pytest.raises(ConvergenceUsageError, match="'voting' is not available yet"):
        Replica("a", resolve="voting")
    with pytest.raises(ConvergenceUsageError, match="neither the name of a strategy nor a function"):
        Replica("a", resolve=3)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ deltas, restore


def test_a_delta_holds_what_was_not_replaced_since() -> None:
    a, b = _pair()
    a.set("x", 1)
    a.set("x", 2)
    delta = a.delta_since(VectorClock())
    assert [str(update) for update in delta.updates] == ["set x 2 by a #2"]
    assert len(delta) == 1
    assert b.join(delta)
    assert b.clock == VectorClock({"a": 2})
    assert not a.delta_since(b.clock)


def test_a_delta_is_joined_only_onto_a_state_that_covers_its_start() -> None:
    a, b = _pair()
    a.set("x", 1)
    start = a.clock
    a.set("y", 2)
    late = a.delta_since(start)
    assert not b.join(late)
    assert b.as_dict() == {}
    assert b.join(a.delta_since(VectorClock()))
    assert b.join(late)
    assert b.version == 2


def test_updates_wait_for_what_their_author_had_seen() -> None:
    seen: list[Update] = []
    a, b = Replica("a", on_update=seen.append), Replica("b")
    a.set("x", 1)
    a.set("y", 2)
    a.set("x", 3)
    b.apply(seen[2], seen[1])
    assert b.waiting == 2
    assert b.as_dict() == {}
    b.apply(seen[1], seen[0], seen[0])
    assert b.waiting == 0
    assert b.as_dict() == {"x": 3, "y": 2}
    b.apply(*seen)
    assert b.version == 3


def test_a_delta_overtakes_waiting_updates() -> None:
    seen: list[Update] = []
    a, b = Replica("a", on_update=seen.append), Replica("b")
    a.set("x", 1)
    a.set("x", 2)
    b.apply(seen[1])
    b.join(a.delta_since(VectorClock()))
    assert b.waiting == 0
    assert b.version == 1


def test_a_restored_replica_goes_on_where_it_was() -> None:
    a, b = _pair()
    a.set("x", 1)
    b.set("x", 2)
    a.increment("n")
    _meet(a, b)
    again = Replica("a", {"initial": "is not written again"})
    again.restore(a.updates, a.clock, a.version)
    assert again.as_dict() == a.as_dict()
    assert again.conflicts == a.conflicts
    assert again.version == a.version
    again.increment("n")
    _meet(again, b)
    assert b.get("n") == 2


def test_restore_drops_what_was_kept_without_its_promise_or_was_replaced() -> None:
    seen: list[Update] = []
    a = Replica("a", on_update=seen.append)
    a.set("x", 1)
    a.set("x", 2)
    clock = a.clock
    a.set("y", 3)
    again = Replica("a")
    again.restore(seen, clock)
    assert again.as_dict() == {"x": 2}
    assert len(again.updates) == 1
