"""What replicas must keep whatever they write and in whatever order they hear of each other.

The oracle is the causal history itself: every update with the set of updates that its author had received.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any, NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_convergence._engine.state.conflicts import Conflict, distinct_conflicts
from pytest_convergence._engine.state.paths import overlap
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Update, commute
from pytest_convergence._engine.state.view import fold

NAMES = ("a", "b", "c")
PATHS = ("x", "plan", "plan.title", "plan.owner", "plan.owner.name", "n", "log", "stats.n")


class Step(NamedTuple):
    """One thing that happens: a write of ``agent``, or ``agent`` hearing everything from ``other``."""

    agent: str
    kind: str
    path: str
    value: Any
    at_ns: int


_VALUES = st.one_of(
    st.integers(0, 3),
    st.sampled_from(["", "text", True]),
    st.fixed_dictionaries({}, optional={"title": st.integers(0, 2), "owner": st.just({"name": "N"})}),
)
_STEPS = st.builds(
    Step,
    st.sampled_from(NAMES),
    st.sampled_from(["set", "hear", "increment", "append", "delete", "merge"]),
    st.sampled_from(PATHS),
    _VALUES,
    st.integers(0, 5),
)
_HISTORIES = st.lists(_STEPS, max_size=25)


class World:
    """Replicas that write and hear from each other, with every update recorded."""

    def __init__(self, resolve: Any = "last-write") -> None:
        self.at_ns = 0
        self.updates: list[Update] = []
        self.replicas = {
            name: Replica(
                name, now_ns=lambda: self.at_ns, resolve=resolve, on_update=self.updates.append, history=1000
            )
            for name in NAMES
        }

    def run(self, steps: list[Step]) -> World:
        for step in steps:
            self.at_ns = step.at_ns
            replica = self.replicas[step.agent]
            if step.kind == "hear":
                other = self.replicas[NAMES[step.at_ns % len(NAMES)]]
                assert replica.join(other.delta_since(replica.clock))
            else:
                write(replica, step)
        return self

    def meet(self) -> None:
        for _ in range(2):
            for one in self.replicas.values():
                for other in self.replicas.values():
                    assert one.join(other.delta_since(one.clock))


def write(replica: Replica, step: Step) -> None:
    current = replica.get(step.path)
    if step.kind == "set":
        replica.set(step.path, step.value)
    elif step.kind == "delete":
        replica.delete(step.path)
    elif step.kind == "merge":
        replica.merge({"plan": step.value} if isinstance(step.value, dict) else {"x": step.value})
    elif step.kind == "increment":
        if current is None or (isinstance(current, int) and not isinstance(current, bool)):
            replica.increment(step.path, step.at_ns or 1)
    elif current is None or isinstance(current, list):
        replica.append(step.path, step.value)


def _first_by_name(conflict: Any) -> Any:
    return conflict.values[min(conflict.values)]


_RESOLVERS = st.sampled_from(["last-write", "first-come", "priority", "merge", "rollback", _first_by_name])


@given(_HISTORIES, _RESOLVERS)
def test_replicas_that_have_heard_everything_are_equal(steps: list[Step], resolve: Any) -> None:
    world = World(resolve).run(steps)
    world.meet()
    replicas = list(world.replicas.values())
    assert len({replica.checksum for replica in replicas}) == 1
    assert all(replica.as_dict() == replicas[0].as_dict() for replica in replicas)
    assert len({replica.clock for replica in replicas}) == 1
    assert len({replica.updates for replica in replicas}) == 1


@given(_HISTORIES, _RESOLVERS, st.data())
def test_the_order_and_number_of_arrivals_does_not_matter(steps: list[Step], resolve: Any, data: Any) -> None:
    world = World(resolve).run(steps)
    world.meet()
    again = data.draw(st.lists(st.sampled_from(world.updates), max_size=10)) if world.updates else []
    arrivals = data.draw(st.permutations([*world.updates, *again]))
    reader = Replica("reader", resolve=resolve)
    for update in arrivals:
        reader.apply(update)
    assert reader.waiting == 0
    assert reader.as_dict() == world.replicas["a"].as_dict()
    assert reader.clock == world.replicas["a"].clock
    assert reader.updates == world.replicas["a"].updates


@given(_HISTORIES, st.data())
def test_updates_that_have_not_all_arrived_are_equal_too_once_they_are_the_same(
    steps: list[Step], data: Any
) -> None:
    world = World().run(steps)
    assume(world.updates)
    part = data.draw(st.lists(st.sampled_from(world.updates), unique=True))
    one, other = Replica("one"), Replica("other")
    one.apply(*part)
    for update in data.draw(st.permutations(part)):
        other.apply(update)
    assert one.as_dict() == other.as_dict()
    assert one.clock == other.clock


@given(_HISTORIES, _RESOLVERS)
def test_a_view_that_was_kept_up_to_date_equals_one_that_is_built_anew(
    steps: list[Step], resolve: Any
) -> None:
    world = World(resolve)
    for step in steps:
        world.run([step])
        replica = world.replicas[step.agent]
        replica.checksum  # noqa: B018 - reads, so that the view is built and then kept up to date
        assert fold(replica.updates, replica.court, {}).root == replica.as_dict()


def _rivals(updates: list[Update]) -> list[tuple[Update, Update]]:
    """All pairs that are concurrent, overlap and do not commute, found from the causal history alone."""
    return [
        (one, other)
        for one, other in combinations(updates, 2)
        if overlap(one.segments, other.segments)
        and not other.context.covers(*one.dot)
        and not one.context.covers(*other.dot)
        and not commute(one, other)
    ]


def _line_of(one: Update, history: list[Update]) -> set[Update]:
    """An update and those that were written over it in knowledge of it."""
    return {
        later
        for later in history
        if later == one or (later.context.covers(*one.dot) and overlap(later.segments, one.segments))
    }


def _is_told(pair: tuple[Update, Update], reports: list[Conflict], history: list[Update]) -> bool:
    """Whether a report names both sides, or what their authors had made of them by then.

    A side may also have been overwritten, before anybody heard of it, by what agrees with the other side.
    """
    mine, theirs = (_line_of(side, history) for side in pair)
    return any(mine & set(report.writes) and theirs & set(report.writes) for report in reports) or any(
        overlap(one.segments, other.segments) and one.concurrent_with(other) and commute(one, other)
        for one in mine
        for other in theirs
    )


@given(_HISTORIES)
def test_conflicts_are_reported_if_and_only_if_writes_are_concurrent_and_overlap(steps: list[Step]) -> None:
    world = World()
    stages: list[Conflict] = []
    for replica in world.replicas.values():
        replica.on_conflict = stages.append
    world.run(steps)
    world.meet()
    rivals = _rivals(world.updates)
    reported = distinct_conflicts(stages)
    names = {frozenset((one.dot, other.dot)) for one, other in rivals}
    for conflict in reported:
        assert all(any(frozenset((one, other)) in names for other in conflict.dots) for one in conflict.dots)
    for pair in rivals:
        assert _is_told(pair, stages, world.updates)
    if not rivals:
        assert not stages


@given(_HISTORIES, st.data())
def test_a_replica_that_hears_single_updates_reports_every_rivalry_itself(
    steps: list[Step], data: Any
) -> None:
    world = World().run(steps)
    stages: list[Conflict] = []
    reader = Replica("reader", on_conflict=stages.append)
    for update in data.draw(st.permutations(world.updates)):
        reader.apply(update)
    for pair in _rivals(world.updates):
        assert _is_told(pair, stages, world.updates)


@given(_HISTORIES)
def test_no_write_is_lost_in_silence(steps: list[Step]) -> None:
    """Each live set is read, or was overwritten by someone who had seen it, or is a side of a reported conflict."""
    world = World().run(steps)
    world.meet()
    replica = world.replicas["a"]
    reported = {
        dot for other in world.replicas.values() for conflict in other.conflicts for dot in conflict.dots
    }
    for update in replica.updates:
        if update.operation != "set" or isinstance(update.stored, dict):
            continue
        overlaid = any(
            later.has_seen(update) and overlap(later.segments, update.segments) for later in replica.updates
        )
        beside = any(
            commute(update, other)
            and update.concurrent_with(other)
            and overlap(update.segments, other.segments)
            for other in replica.updates
        )
        if not overlaid and not beside and update.dot not in reported:
            assert replica.get(update.path) == update.value


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(-3, 9), st.booleans(), st.integers(0, 5)), max_size=30
    )
)
def test_increments_are_conserved(steps: list[tuple[str, int, bool, int]]) -> None:
    world = World()
    for agent, amount, hears, at_ns in steps:
        world.run([Step(agent, "hear", "n", None, at_ns)] if hears else [])
        world.at_ns = at_ns
        world.replicas[agent].increment("stats.n", amount)
    world.meet()
    for replica in world.replicas.values():
        assert replica.get("stats.n", 0) == sum(amount for _, amount, _, _ in steps)
        assert not replica.conflicts
        assert len(replica.updates) <= len(NAMES)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.integers(0, 5)), max_size=30))
def test_appends_are_all_kept_in_an_order_that_extends_causality(steps: list[tuple[str, bool, int]]) -> None:
    world = World()
    before: dict[int, set[int]] = {}
    known: dict[str, set[int]] = defaultdict(set)
    for number, (agent, hears, at_ns) in enumerate(steps):
        if hears:
            other = NAMES[at_ns % len(NAMES)]
            world.run([Step(agent, "hear", "log", None, at_ns)])
            known[agent] |= known[other]
        before[number] = set(known[agent])
        world.at_ns = at_ns
        world.replicas[agent].append("log", number)
        known[agent].add(number)
    world.meet()
    log = world.replicas["a"].get("log", [])
    assert sorted(log) == list(range(len(steps)))
    for place, number in enumerate(log):
        assert before[number] <= set(log[:place])
    assert all(replica.get("log", []) == log for replica in world.replicas.values())


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=10)
)
def test_last_write_is_the_latest_by_time_then_name(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    last: dict[str, tuple[int, str, int]] = {}
    for agent, value, at_ns in steps:
        world.at_ns = at_ns
        world.replicas[agent].set("x", value)
        last[agent] = (at_ns, agent, value)  # an author's own later write counts, whatever its clock says
    world.meet()
    assert world.replicas["a"].get("x") == max(last.values())[2]


@given(_HISTORIES, st.data())
def test_versions_only_grow_and_a_rollback_is_exact(steps: list[Step], data: Any) -> None:
    world = World()
    replica = world.replicas["a"]
    seen: dict[int, dict[str, Any]] = {0: {}}
    for step in steps:
        before = replica.version
        world.run([step])
        assert replica.version >= before
        seen[replica.version] = replica.as_dict()
    assert [step.number for step in replica.history] == list(range(1, replica.version + 1))
    target = data.draw(st.sampled_from(sorted(seen)))
    assert replica.as_dict(target) == seen[target]
    version = replica.version
    replica.rollback(target)
    assert replica.as_dict() == seen[target]
    assert replica.version >= version
    world.meet()
    assert len({other.checksum for other in world.replicas.values()}) == 1


@given(_HISTORIES)
def test_a_delta_is_idempotent_and_a_restored_replica_is_the_same(steps: list[Step]) -> None:
    world = World().run(steps)
    source, target = world.replicas["a"], world.replicas["b"]
    delta = source.delta_since(target.clock)
    assert target.join(delta)
    document, version = target.as_dict(), target.version
    assert target.join(delta)
    assert (target.as_dict(), target.version) == (document, version)
    again = Replica("b")
    again.restore(target.updates, target.clock, target.version)
    assert again.as_dict() == document
    assert again.checksum == target.checksum


@settings(max_examples=50)
@given(_HISTORIES, st.permutations(NAMES))
def test_resolution_does_not_depend_on_who_meets_first(steps: list[Step], order: list[str]) -> None:
    world, other = World(_first_by_name).run(steps), World(_first_by_name).run(steps)
    world.meet()
    for one, two in [*combinations(order, 2), *combinations(order[::-1], 2), *combinations(order, 2)]:
        target, source = other.replicas[one], other.replicas[two]
        assert target.join(source.delta_since(target.clock))
        assert source.join(target.delta_since(source.clock))
    assert {replica.checksum for replica in other.replicas.values()} == {world.replicas["a"].checksum}
