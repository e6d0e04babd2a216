"""One replica on its own, and two that exchange what they have."""

from dataclasses import dataclass
from enum import Enum

import pytest

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Update
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
    with pytest.raises(
        ConvergenceUsageError, match=r"increment\('text'\) needs a number there, and there is 'x'"
    ):
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
    value = [
        None,
        True,
        1,
        1.5,
        2j,
        "s",
        b"b",
        (1, 2),
        {3},
        frozenset({4}),
        Colour.RED,
        Task("t", [1]),
        {5: "five"},
    ]
    replica = Replica("a")
    replica.set("v", value)
    assert replica.get("v") == value
    assert [type(item) for item in replica.get("v")] == [type(item) for item in value]
    assert len(replica.checksum) == 64


def test_what_is_not_plain_data_is_refused() -> None:
    with pytest.raises(
        ConvergenceUsageError, match=r"plan\.callback cannot be stored: function is not plain data"
    ):
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
    assert [(str(update), update.at_ns) for update in seen] == [
        ("set x 1 by a #2", 5),
        ("increment y 1 by a #3", 7),
    ]
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
