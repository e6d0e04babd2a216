"""The strategies that replicas settle conflicts by themselves, and plans that put strategies together."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import (
    DELETED,
    UNKNOWN,
    ByArbitration,
    ByMerge,
    ByPriority,
    ByVote,
    Conflict,
    ConflictType,
    Resolution,
    Resolve,
    Resolver,
)
from pytest_convergence._engine.state.merging import merge_rivals
from pytest_convergence._engine.state.plan import as_plan
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence.errors import ConvergenceUsageError


class World:
    """Replicas that hear from each other when told to, with one clock."""

    def __init__(self, resolve: Any, names: str = "ab") -> None:
        self.now_ns = 0
        self.replicas = [Replica(name, now_ns=lambda: self.now_ns, resolve=resolve) for name in names]

    def write(
        self, number: int, path: str, value: Any, *, at: int = 0, priority: float | None = None
    ) -> None:
        self.now_ns = at
        self.replicas[number].set(path, value, priority=priority)

    def meet(self) -> None:
        for _ in self.replicas:
            for one in self.replicas:
                for other in self.replicas:
                    assert one.join(other.delta_since(one.clock))
        assert len({replica.checksum for replica in self.replicas}) == 1

    def get(self, path: str) -> Any:
        return self.replicas[0].get(path)

    @property
    def conflict(self) -> Conflict:
        return self.replicas[0].conflicts[-1]


def settled(resolve: Any, before: Any, *values: Any, at: tuple[int, ...] = ()) -> Any:
    """Return what replicas read who wrote ``values`` at one path in ignorance of each other."""
    world = World(resolve, "abcd"[: len(values)])
    if before is not DELETED:
        world.write(0, "x", before)
        world.meet()
    for number, value in enumerate(values):
        if value is DELETED:
            world.replicas[number].delete("x")
        else:
            world.write(number, "x", value, at=at[number] if at else 10 + number)
    world.meet()
    return world.get("x")


# -- priority ------------------------------------------------------------------------------------------------------------


def test_by_priority_the_most_important_author_prevails_whatever_the_time() -> None:
    world = World(ByPriority({"a": 5}))
    world.write(0, "x", "from a", at=1)
    world.write(1, "x", "from b", at=2)
    world.meet()
    assert world.get("x") == "from a"
    assert world.conflict.resolution == Resolution("priority", "from a", "a")
    assert world.conflict.values == {"a": "from a", "b": "from b"}


def test_a_write_may_have_a_priority_of_its_own() -> None:
    world = World(ByPriority({"a": 5}))
    world.write(0, "x", "from a")
    world.write(1, "x", "urgent", priority=9)
    world.meet()
    assert world.get("x") == "urgent"


@pytest.mark.parametrize(
    ("tie", "winner"),
    [("last-write", "c"), ("first-come", "a"), (lambda conflict, names: names[1], "b")],
)
def test_a_tie_of_priorities_is_broken_by_a_rule(tie: Any, winner: str) -> None:
    world = World(ByPriority(tie=tie), "abc")
    for number in range(3):
        world.write(number, "x", f"from {'abc'[number]}", at=number)
    world.meet()
    assert world.conflict.winner == winner


def test_a_tie_without_a_rule_stays_unresolved() -> None:
    world = World(ByPriority(tie=None))
    world.write(0, "x", 1)
    world.write(1, "x", 2)
    world.meet()
    assert world.conflict.resolution is None
    assert world.conflict.status == "unresolved"


def test_a_tie_rule_must_choose_one_of_the_tied() -> None:
    world = World(ByPriority(tie=lambda conflict, names: "z"))
    world.write(0, "x", 1)
    world.write(1, "x", 2)
    with pytest.raises(ConvergenceUsageError, match="'z'"):
        world.meet()


def _wins_of_the_weak(aging: float, rounds: int = 12) -> int:
    world = World(ByPriority({"b": 3}, aging=aging))
    wins = 0
    for number in range(rounds):
        world.write(0, "x", f"a{number}")
        world.write(1, "x", f"b{number}")
        world.meet()
        wins += world.conflict.winner == "a"
    return wins


def test_who_has_lost_comes_forward_so_that_nobody_starves() -> None:
    assert _wins_of_the_weak(aging=1) >= 2
    assert _wins_of_the_weak(aging=0) == 0


# -- first come, last write ----------------------------------------------------------------------------------------------


def test_first_come_and_last_write_go_by_time_then_name() -> None:
    assert settled("first-come", DELETED, "a", "b", at=(2, 1)) == "b"
    assert settled("first-come", DELETED, "a", "b", at=(1, 1)) == "a"
    assert settled("last-write", DELETED, "a", "b", at=(2, 1)) == "a"
    assert settled("last-write", DELETED, "a", "b", at=(1, 1)) == "b"


@pytest.mark.parametrize("resolve", ["last-write", "first-come", "priority", "merge", "rollback"])
def test_a_causal_successor_wins_by_every_strategy_whatever_the_clocks_say(resolve: str) -> None:
    fast = Replica("fast", now_ns=lambda: 10**12, resolve=resolve)
    slow = Replica("slow", now_ns=lambda: 1, resolve=resolve)
    fast.set("x", "first")
    slow.join(fast.delta_since(slow.clock))
    slow.set("x", "second")
    fast.join(slow.delta_since(fast.clock))
    assert fast.get("x") == slow.get("x") == "second"
    assert not fast.conflicts
    assert not slow.conflicts


# -- merge ---------------------------------------------------------------------------------------------------------------


def test_a_merge_takes_over_what_only_one_has_changed() -> None:
    before = {"title": "T", "size": 1, "tags": {"x"}}
    merged = settled(
        "merge", before, {**before, "title": "A"}, {**before, "size": 2}, {**before, "tags": {"x", "y"}}
    )
    assert merged == {"title": "A", "size": 2, "tags": {"x", "y"}}


def test_a_merge_knows_the_ancestor_although_an_author_wrote_twice() -> None:
    world = World("merge")
    world.write(0, "x", {"p": 0, "q": 0})
    world.meet()
    world.write(0, "x", {"p": 1, "q": 0}, at=1)
    world.write(0, "x", {"p": 2, "q": 0}, at=2)
    world.write(1, "x", {"p": 0, "q": 9}, at=3)
    world.meet()
    assert world.get("x") == {"p": 2, "q": 9}
    assert world.conflict.ancestor == {"p": 0, "q": 0}


def test_a_merge_adds_and_removes_members_and_keeps_what_was_appended() -> None:
    assert settled("merge", {1, 2}, {1, 2, 3}, {2}) == {2, 3}
    assert settled("merge", ["old"], ["old", "a"], ["old", "b", "c"]) == ["old", "a", "b", "c"]
    assert settled("merge", ["old"], ["new"], ["old", "b"]) == ["old", "b"], "not appended to: the last write"


def test_numbers_are_merged_as_they_are_said_to_be_meant() -> None:
    assert settled("merge", 10, 13, 12) == 12
    assert settled(ByMerge(numbers="add"), 10, 13, 12) == 15
    assert settled(ByMerge(numbers="add"), DELETED, 3, 2) == 5
    assert settled(ByMerge(numbers="max"), 10, 13, 12) == 13
    assert settled(ByMerge(numbers="min"), 10, 13, 12) == 12
    assert settled(ByMerge(numbers="add"), "text", 13, 12) == 12, "what was no number cannot be added to"


def test_what_cannot_be_merged_is_decided_by_itself_alone() -> None:
    before = {"title": "T", "n": 0}
    assert settled("merge", before, {"title": "A", "n": 1}, {"title": "B", "n": 0}) == {"title": "B", "n": 1}
    first = ByMerge(otherwise="first-come")
    assert settled(first, before, {"title": "A", "n": 0}, {"title": "B", "n": 2}) == {"title": "A", "n": 2}
    assert settled("merge", {"k": 1}, {"k": 2}, DELETED) is None, "the last write was to delete it"
    assert settled("merge", {"p": {"k": 1}}, {"p": {"k": 2}}, {"p": {}}) == {"p": {}}


def test_a_merge_without_a_rule_for_the_rest_leaves_the_conflict_to_the_next_strategy() -> None:
    world = World(Resolve(ByMerge(otherwise=None), escalate_to="first-come"))
    world.write(0, "x", "A", at=1)
    world.write(1, "x", "B", at=2)
    world.meet()
    assert world.get("x") == "A"
    assert world.conflict.resolution == Resolution("first-come", "A", "a", ("merge",))


def test_a_merge_does_not_depend_on_the_order_in_which_the_sides_are_given() -> None:
    one = merge_rivals({"n": 1}, {"a": {"n": 2}, "b": {"n": 3, "m": 1}}, "add", None)
    other = merge_rivals({"n": 1}, {"b": {"n": 3, "m": 1}, "a": {"n": 2}}, "add", None)
    assert one == other == ({"n": 4, "m": 1},)


# -- rollback ------------------------------------------------------------------------------------------------------------


def test_a_rollback_goes_back_to_what_all_had_seen() -> None:
    assert settled("rollback", "before", "from a", "from b") == "before"
    assert settled("rollback", DELETED, "from a", "from b") is None
    world = World("rollback")
    world.write(0, "x", "before")
    world.meet()
    world.write(0, "x", "a1")
    world.write(0, "x", "a2")
    world.write(1, "x", "b1")
    world.meet()
    assert world.get("x") == "before"
    assert world.conflict.resolution == Resolution("rollback", "before", None)
    assert world.conflict.values == {"a": "a2", "b": "b1"}, "the losing values are in the report"


def test_a_rollback_takes_back_what_rests_on_some_of_the_rivals_and_nothing_else() -> None:
    world = World("rollback", "abc")
    world.write(0, "plan", {"title": "before", "size": 1})
    world.write(0, "budget", 7)
    world.meet()
    a, _, c = world.replicas
    world.write(0, "plan", {"title": "A", "size": 2}, at=1)
    c.join(a.delta_since(c.clock))
    world.write(2, "plan.owner", "c", at=2)  # rests on a's plan, and knows nothing of b's
    world.write(1, "plan.title", "B", at=3)
    world.write(1, "budget", 8, at=3)
    world.meet()
    assert a.as_dict() == {"plan": {"title": "before", "size": 1}, "budget": 8}
    for replica in world.replicas:
        (conflict,) = replica.conflicts
        assert [update.path for update in conflict.undone] == ["plan.owner"]
        assert conflict.undone[0].value == "c"


def test_what_is_written_in_knowledge_of_a_rollback_stands() -> None:
    world = World("rollback")
    world.write(0, "x", {"n": 0})
    world.meet()
    world.write(0, "x", {"n": 1})
    world.write(1, "x", {"n": 2})
    world.meet()
    world.write(1, "x.n", 3)
    world.meet()
    assert world.get("x") == {"n": 3}


def test_a_rollback_that_does_not_reach_back_far_enough_stays_unresolved() -> None:
    world = World("rollback")
    world.write(0, "x", 0)
    world.meet()
    world.write(1, "x", "other")
    for number in range(150):
        world.write(0, "x", number)
        world.write(1, "x", -number)
    world.meet()
    assert world.conflict.ancestor is UNKNOWN
    assert world.conflict.resolution is None


def test_a_conflict_of_a_counter_and_a_list_goes_back_to_what_was_there() -> None:
    world = World("rollback")
    world.replicas[0].increment("x", 2)
    world.replicas[1].append("x", "item")
    world.meet()
    assert world.get("x") is None


# -- plans ---------------------------------------------------------------------------------------------------------------


def test_a_strategy_may_be_given_for_each_type() -> None:
    world = World(
        {"task overlap": "first-come", ConflictType.OUTPUT_CONFLICT: "rollback", "default": lambda c: "both"}
    )
    for path in ("task.1", "output", "title"):
        world.write(0, path, "A", at=1)
        world.write(1, path, "B", at=2)
    world.meet()
    assert world.replicas[0].as_dict() == {"task": {"1": "A"}, "title": "both"}


def test_types_may_be_spelled_with_hyphens_and_what_is_not_named_goes_to_the_last_write() -> None:
    plan = as_plan({"state-mismatch": "merge", "task_overlap": "rollback"})
    assert [step.name for step in plan.steps_for("state mismatch")] == ["merge"]
    assert [step.name for step in plan.steps_for("task overlap")] == ["rollback"]
    assert [step.name for step in plan.steps_for("timing conflict")] == ["last-write"]
    assert plan.name == "last-write"
    assert as_plan(plan) is plan


def test_strategies_may_be_escalated_one_after_another() -> None:
    plan = as_plan(
        Resolve(
            Resolve("voting", escalate_to="arbitration"), escalate_to=Resolve("merge", escalate_to="rollback")
        )
    )
    assert [step.name for step in plan.steps] == ["voting", "arbitration", "merge", "rollback"]
    mapped = as_plan(
        Resolve({"task overlap": Resolve("priority", escalate_to="voting")}, escalate_to="first-come")
    )
    assert [step.name for step in mapped.steps_for("task overlap")] == ["priority", "voting", "first-come"]
    assert [step.name for step in mapped.default] == ["last-write"]
    assert mapped.asks
    assert not as_plan("merge").asks


def test_a_plan_is_bound_to_the_agents_of_a_session() -> None:
    plan = as_plan({"task overlap": ByVote(weights={"b": 2}), "default": "arbitration"})
    arbitration, vote = plan.bound(["a", "b"]).steps
    assert isinstance(arbitration, ByArbitration)
    assert isinstance(vote, ByVote)
    assert arbitration.judge == "a"
    assert (vote.judge, vote.voters, vote.weight("b"), vote.weight("a")) == ("a", ("a", "b"), 2, 1)
    assert plan.bound([]) is plan


@pytest.mark.parametrize(
    ("resolve", "message"),
    [
        ("vote", "did you mean 'voting'"),
        (3, "neither the name of a strategy nor a function"),
        ({}, "name at least one type"),
        ({"task overlaps": "merge"}, "did you mean 'task overlap'"),
        ({3: "merge"}, "type of conflict"),
        ({"task overlap": {"default": "merge"}}, "stands outermost"),
        ({"task overlap": Resolve("merge", rules=[lambda conflict: None])}, "outermost"),
        (ByVote, "call it, resolve=ByVote"),
        (Resolve("merge", escalate_to="votin"), "did you mean 'voting'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(resolve: Any, message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        as_plan(resolve)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ByPriority({"a": "high"}),  # type: ignore[dict-item]
            "the priority of 'a' must be a number",
        ),
        (
            lambda: ByPriority([("a", 1)]),  # type: ignore[arg-type]
            "is a mapping",
        ),
        (lambda: ByPriority(aging=-1), "aging must be at least 0"),
        (lambda: ByPriority(tie="newest"), "tie rule"),
        (lambda: ByMerge(numbers="sum"), "way to merge numbers"),
        (lambda: ByMerge(otherwise="vote"), "what cannot be merged"),
        (lambda: ByArbitration(retry=0), "retry must be greater"),
        (lambda: ByArbitration(attempts=0), "attempts must be a whole number"),
        (
            lambda: ByArbitration(decide="judge"),  # type: ignore[arg-type]
            "must be a function",
        ),
        (lambda: ByVote(deadline=0), "deadline must be greater"),
        (lambda: ByVote(rounds=True), "rounds must be a whole number"),
        (lambda: ByVote(quorum=2), "0 to 1"),
        (lambda: ByVote(quorum=float("nan")), "quorum must be a number"),
        (lambda: ByVote(voters="ab"), "a list of at least one agent"),
        (lambda: ByVote(voters=[]), "a list of at least one agent"),
        (lambda: ByVote(weights={"a": -1}), "at least 0"),
        (lambda: as_plan(ByArbitration(arbiter="z")).bound(["a"]), "'z'"),
        (lambda: as_plan(ByVote(voters=["a", "z"])).bound(["a"]), "'z'"),
        (lambda: as_plan(ByVote(teller="z")).bound(["a"]), "'z'"),
        (lambda: as_plan(ByPriority({"z": 1})).bound(["a"]), "'z'"),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        make()


def test_a_resolver_that_stores_no_plain_data_is_refused() -> None:
    world = World(Resolver("strange", lambda conflict: Resolution("strange", object())))
    world.write(0, "x", 1)
    world.write(1, "x", 2)
    with pytest.raises(ConvergenceUsageError, match="the value that 'strange' gave for x"):
        world.meet()
