"""Sets and sequences that several agents write at once: laws, whatever was written and heard in whatever order."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Update
from pytest_convergence._engine.state.values import checksum_of

NAMES = ("a", "b", "c")


class Step(NamedTuple):
    """``agent`` does something, or hears of ``other``; numbers choose places and items."""

    kind: str
    agent: str
    other: str
    place: int
    size: int


def _steps(*kinds: str) -> st.SearchStrategy[list[Step]]:
    agent = st.sampled_from(NAMES)
    step = st.builds(
        Step, st.sampled_from([*kinds, "hear"]), agent, agent, st.integers(0, 9), st.integers(1, 3)
    )
    return st.lists(step, max_size=30)


class Group:
    """Three replicas, and every update that was ever made."""

    def __init__(self, now: bool = True) -> None:
        self.time = 0
        self.made: dict[str, list[Update]] = {name: [] for name in NAMES}
        self.replicas = {
            name: Replica(name, now_ns=self.now if now else None, on_update=self.made[name].append)
            for name in NAMES
        }

    def now(self) -> int:
        self.time += 1
        return self.time * 7 % 5  # clocks that agree about little

    def hear(self, agent: str, other: str) -> None:
        mine, theirs = self.replicas[agent], self.replicas[other]
        assert mine.join(theirs.delta_since(mine.clock))

    def level(self) -> None:
        for agent in (*NAMES, *NAMES):
            for other in NAMES:
                if other != agent:
                    self.hear(agent, other)


def _perform(group: Group, step: Step, number: int) -> None:
    replica = group.replicas[step.agent]
    if step.kind == "hear":
        if step.other != step.agent:
            group.hear(step.agent, step.other)
    elif step.kind == "insert":
        place = step.place % (len(replica.get("list", [])) + 1)
        replica.insert("list", place, *((number, each) for each in range(step.size)))
    elif step.kind == "erase":
        items = len(replica.get("list", []))
        if items:
            place = step.place % items
            replica.erase("list", place, min(step.size, items - place))
    elif step.kind == "append":
        replica.append("list", (number, 0))
    elif step.kind == "set list":
        replica.set("list", [(number, each) for each in range(step.size)])
    elif step.kind == "set set":
        replica.set("set", {step.place % 3})
    elif step.kind == "add":
        replica.add("set", step.place % 4)
    elif step.kind == "discard":
        replica.discard("set", step.place % 4)


def _fresh(replica: Replica) -> Replica:
    """Read the same updates anew."""
    other = Replica(replica.agent)
    other.restore(replica.updates, replica.clock)
    return other


ALL = _steps("insert", "insert", "erase", "append", "add", "discard", "set list", "set set")


@given(ALL)
def test_replicas_with_the_same_updates_are_equal_whatever_way_they_came(steps: list[Step]) -> None:
    group = Group()
    for number, step in enumerate(steps):
        _perform(group, step, number)
        replica = group.replicas[step.agent]
        assert replica.as_dict() == _fresh(replica).as_dict(), "what is read does not depend on the way there"
        assert replica.checksum == checksum_of(replica.as_dict()), "only what changed is encoded anew"
    group.level()
    updates = [update for made in group.made.values() for update in made]
    late = Replica("late")
    late.apply(*reversed(updates))
    late.apply(*updates)
    assert not late.waiting
    for replica in group.replicas.values():
        assert replica.as_dict() == late.as_dict()
        assert replica.checksum == late.checksum
        assert replica.clock == late.clock


@given(_steps("insert", "insert", "erase"))
def test_items_of_a_sequence_never_change_their_order(steps: list[Step]) -> None:
    """The strong list specification (H. Attiya et al., Specification and Complexity of Collaborative Text Editing, 2016)."""
    group = Group()
    before: set[tuple[Any, Any]] = set()
    for number, step in enumerate(steps):
        replica = group.replicas[step.agent]
        seen = replica.get("list", [])
        _perform(group, step, number)
        items = replica.get("list", [])
        if step.kind == "insert":
            place = step.place % (len(seen) + 1)
            assert items == [*seen[:place], *((number, each) for each in range(step.size)), *seen[place:]]
        before.update(combinations(items, 2))
    group.level()
    before.update(combinations(group.replicas["a"].get("list", []), 2))
    assert not any((later, earlier) in before for earlier, later in before)


@given(_steps("insert", "insert", "erase", "add", "discard"))
def test_sets_and_sequences_have_no_conflicts(steps: list[Step]) -> None:
    group = Group()
    for number, step in enumerate(steps):
        _perform(group, step, number)
    group.level()
    assert not any(replica.conflicts for replica in group.replicas.values())


@given(_steps("add", "add", "discard"))
def test_an_item_is_in_if_somebody_added_it_whom_no_discard_had_seen(steps: list[Step]) -> None:
    group = Group()
    for number, step in enumerate(steps):
        _perform(group, step, number)
    group.level()
    updates = [update for made in group.made.values() for update in made]
    added = {
        update.value
        for update in updates
        if update.operation == "add"
        and not any(
            other.operation == "discard" and other.value == update.value and other.has_seen(update)
            for other in updates
        )
    }
    for replica in group.replicas.values():
        assert replica.get("set", set()) == added


@given(st.integers(0, 5), st.integers(1, 8), st.integers(1, 8), st.booleans(), st.booleans())
def test_what_two_type_at_one_place_does_not_mix(
    place: int, mine: int, yours: int, backwards: bool, also_backwards: bool
) -> None:
    a, b = Replica("a"), Replica("b")
    a.insert("text", 0, *"-----")
    b.join(a.delta_since(b.clock))
    for replica, letter, count, back in ((a, "x", mine, backwards), (b, "y", yours, also_backwards)):
        for number in range(count):
            replica.insert("text", place if back else place + number, letter)
    a.join(b.delta_since(a.clock))
    b.join(a.delta_since(b.clock))
    text = "".join(a.get("text"))
    assert text == "".join(b.get("text"))
    assert "x" * mine in text
    assert "y" * yours in text


def test_a_delta_may_be_joined_twice_and_an_old_one_changes_nothing() -> None:
    a, b = Replica("a"), Replica("b")
    a.add("tags", "new")
    old = a.delta_since(VectorClock())
    b.join(old)
    b.discard("tags", "new")
    b.join(old)
    assert b.get("tags") == set()
    a.join(b.delta_since(a.clock))
    assert a.get("tags") == set()
