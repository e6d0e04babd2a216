"""Whatever replicas forget of what everybody knows, and whenever they do: they read the same as before, and as others."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_convergence._engine.state.replica import Replica

NAMES = "abc"

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "discard", "append", "insert", "erase", "put", "delete", "tell", "level", "drop"]
        ),
        st.integers(0, 2),
        st.integers(0, 5),
    ),
    max_size=60,
)


class _World:
    """Three replicas that tell each other when they are told to; ``settled`` is what all had at the last levelling."""

    def __init__(self) -> None:
        self.time = 0
        self.replicas = [Replica(name, now_ns=lambda: self.time) for name in NAMES]
        self.settled = self.replicas[0].clock

    def tell(self, one: Replica, other: Replica) -> None:
        assert other.join(one.delta_since(other.clock))

    def level(self) -> None:
        for _ in range(2):
            for one in self.replicas:
                for other in self.replicas:
                    if one is not other:
                        self.tell(one, other)
        self.settled = self.replicas[0].clock

    def step(self, what: str, who: int, number: int) -> None:
        replica = self.replicas[who]
        self.time += number % 3
        if what == "tell":
            self.tell(replica, self.replicas[(who + 1 + number % 2) % 3])
        elif what == "level":
            self.level()
        elif what == "drop":
            before, versions = replica.as_dict(), replica.version
            past = replica.as_dict(max(0, versions - number))
            settled = self.settled
            replica.drop_tombstones(lambda dot: settled.covers(*dot))
            assert replica.as_dict() == before
            assert replica.version == versions
            assert replica.as_dict(max(0, versions - number)) == past
        else:
            self.write(replica, what, number)

    def write(self, replica: Replica, what: str, number: int) -> None:
        if what == "put":
            replica.set("tags" if number % 2 else "list", {number} if number % 2 else [number])
        elif what == "delete":
            replica.delete("tags" if number % 2 else "list")
        elif what in ("add", "discard"):
            getattr(replica, what)("tags", number)
        elif what == "append":
            replica.append("list", number)
        elif what == "insert":
            replica.insert("list", min(number, _size(replica)), number, number + 10)
        elif what == "erase" and number < _size(replica):
            replica.erase("list", number, min(2, _size(replica) - number))


def _size(replica: Replica) -> int:
    current: Any = replica.get("list", [])
    return len(current)


@settings(max_examples=300)
@given(STEPS)
def test_forgetting_changes_nothing_that_is_read(steps: list[tuple[str, int, int]]) -> None:
    world = _World()
    for what, who, number in steps:
        world.step(what, who, number)
    world.level()
    first = world.replicas[0].as_dict()
    assert all(replica.as_dict() == first for replica in world.replicas)
    for who in range(3):
        world.step("drop", who, 0)
    for replica in world.replicas:
        replica.restore(replica.updates, replica.clock)
        assert replica.as_dict() == first
