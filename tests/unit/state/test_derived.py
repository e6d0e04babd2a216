"""A rollback takes back what was derived from what it takes back, at whatever path, and nothing else."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError, Resolve
from pytest_convergence._engine.state.replica import Replica


class World:
    """Replicas a, b and c, with a clock that counts writes."""

    def __init__(self, resolve: Any = "rollback") -> None:
        self.time = 0
        self.a, self.b, self.c = (self.replica(name, resolve) for name in "abc")

    def replica(self, name: str, resolve: Any = "rollback") -> Replica:
        return Replica(name, now_ns=self.tick, resolve=resolve)

    def tick(self) -> int:
        self.time += 1
        return self.time

    def level(self) -> None:
        for _ in range(2):
            for one in (self.a, self.b, self.c):
                for other in (self.a, self.b, self.c):
                    tell(one, other)

    def read(self, path: str) -> Any:
        values = [replica.get(path) for replica in (self.a, self.b, self.c)]
        assert values[0] == values[1] == values[2], values
        assert len({replica.checksum for replica in (self.a, self.b, self.c)}) == 1
        return values[0]


def tell(one: Replica, other: Replica) -> None:
    if one is not other:
        assert other.join(one.delta_since(other.clock))


def disputed(resolve: Any = "rollback") -> World:
    """a and c write a price in ignorance of each other; b has seen that of a alone."""
    world = World(resolve)
    world.a.set("price", 1)
    world.a.set("total", 10)
    world.a.set("note", "before")
    world.level()
    world.a.set("price", 2)
    tell(world.a, world.b)
    world.c.set("price", 3)
    return world


def test_what_was_derived_from_a_value_that_is_rolled_back_goes_back_too() -> None:
    world = disputed()
    world.b.set("total", world.b.get("price") * 10, depends_on=["price"])
    world.b.set("note", "nothing to do with it")
    world.level()
    assert world.read("price") == 1
    assert world.read("total") == 10
    assert world.read("note") == "nothing to do with it"
    (conflict,) = world.a.conflicts
    assert [update.path for update in conflict.undone] == ["total"]


def test_it_stays_undone_when_the_dispute_is_over_and_its_rivals_are_gone() -> None:
    world = disputed()
    world.b.set("total", 20, depends_on=["price"])
    tell(world.b, world.c)
    tell(world.c, world.a)
    world.a.set("price", 4)
    world.level()
    assert world.read("price") == 4
    assert world.read("total") == 10
    world.c.set("price", 5)
    world.c.set("total", 50, depends_on=["price"])
    world.level()
    assert world.read("total") == 50, "derived in knowledge of all"


def test_it_is_undone_where_it_arrives_after_the_dispute_is_over() -> None:
    world = disputed()
    world.b.set("total", 20, depends_on=["price"])
    tell(world.c, world.a)
    world.a.set("price", 4)  # settles it, and does not know of b's total
    late = world.replica("d")
    for _ in range(2):
        tell(world.a, late)  # it never meets the rivals
        tell(world.b, late)
    world.level()
    assert late.conflicts == ()
    assert (world.read("total"), late.get("total")) == (10, 10)
    assert [each.path for each in world.a.conflicts[0].undone] == ["total"]


def test_what_was_derived_from_that_goes_back_as_well_and_so_on() -> None:
    world = disputed()
    with world.b.derived_from("price"):
        world.b.increment("total", 10)
    world.b.set("invoice.sum", world.b.get("total"), depends_on=["total"])
    world.b.append("log", "invoiced")
    with world.b.derived_from("invoice"):
        world.b.append("log", f"sent {world.b.get('invoice.sum')}")
        world.b.add("sent", 1)
        world.b.delete("note")
    world.level()
    assert world.read("total") == 10
    assert world.read("invoice") is None
    assert world.read("log") == ["invoiced"]
    assert world.read("sent") is None
    assert world.read("note") == "before"


def test_increments_of_which_one_is_derived_are_told_apart() -> None:
    world = disputed()
    world.b.increment("total", 1)
    with world.b.derived_from("price"):
        world.b.increment("total", 2)
        world.b.increment("total", 2)
    world.b.increment("total", 4)
    assert world.b.get("total") == 19
    world.level()
    assert world.read("total") == 15


def test_an_earlier_value_of_the_losing_branch_counts_too() -> None:
    world = disputed()
    world.b.set("total", 20, depends_on=["price"])
    world.a.set("price", 7)  # of which b has not heard
    world.level()
    assert (world.read("price"), world.read("total")) == (1, 10)


def test_what_was_derived_before_the_branches_parted_stays() -> None:
    world = World()
    world.a.set("price", 1)
    world.level()
    world.b.set("total", 10, depends_on=["price"])
    world.a.set("price", 2)
    world.c.set("price", 3)
    world.level()
    assert (world.read("price"), world.read("total")) == (1, 10)


def test_who_writes_over_what_is_derived_without_looking_stays() -> None:
    world = disputed()
    world.b.set("total", 20, depends_on=["price"])
    world.b.set("total", 30)
    world.level()
    assert world.read("total") == 30


def test_of_two_derived_values_at_one_path_neither_comes_back() -> None:
    world = disputed()
    world.b.set("total", 20, depends_on=["price"])
    world.b.set("total", 21, depends_on=["price"])
    world.level()
    assert world.read("total") == 10
    assert world.a.as_dict() == world.b.as_dict(world.b.version)


def test_a_derived_value_does_not_win_a_dispute_of_its_own() -> None:
    def by_path(conflict: Any) -> str | None:
        return "price" if conflict.path == "price" else "owner"

    world = disputed(Resolve({"price": "rollback", "owner": "last-write"}, rules=[by_path]))
    world.c.set("owner", "c")
    world.b.set("owner", "b", depends_on=["price"])
    world.level()
    assert world.read("price") == 1
    assert world.read("owner") == "c", "b's is later, and derived from what is gone"


def test_other_strategies_take_nothing_back_and_note_nothing() -> None:
    world = disputed("last-write")
    world.b.set("total", 20, depends_on=["price"])
    world.level()
    assert world.read("total") == 20
    assert all(update.sources == () for update in world.b.updates)


def test_the_order_of_arrival_makes_no_difference() -> None:
    world = disputed()
    with world.b.derived_from("price"):
        world.b.increment("total", 5)
        world.b.set("plan.total", 20)
    world.b.set("plan.size", 1)
    world.a.set("price", 5)
    tell(world.c, world.a)
    world.a.set("price", 6)
    world.c.set("price", 9)
    updates = {each.dot: each for replica in (world.a, world.b, world.c) for each in replica.updates}
    world.level()
    seen = set()
    for number, order in enumerate(permutations(updates.values())):
        if number % 97 == 0:
            reader = world.replica("reader")
            for replica in (world.a, world.b, world.c):  # what is replaced is not told any more
                reader.join(replica.delta_since(reader.clock))
            other = world.replica("other")
            other.restore(order, world.a.clock)
            seen |= {reader.checksum, other.checksum}
    assert seen == {world.a.checksum}


def test_a_restart_forgets_nothing() -> None:
    world = disputed()
    world.b.set("total", 20, depends_on=["price"])
    world.level()
    world.b.restore(world.b.updates, world.b.clock, world.b.version)
    assert world.read("total") == 10
    world.a.set("price", 4)
    world.level()
    world.c.restore(world.c.updates, world.c.clock, world.c.version)
    assert world.read("total") == 10


def test_bad_input_is_named() -> None:
    replica = Replica("a", resolve="rollback")
    with pytest.raises(ConvergenceUsageError, match=r"depends_on is a list of paths, \['price'\]"):
        replica.set("total", 1, depends_on="price")
    with pytest.raises(ConvergenceUsageError, match="at least one path"), replica.derived_from():
        pass
