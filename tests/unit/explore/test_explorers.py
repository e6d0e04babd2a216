"""Which approach a search takes next, and which states it takes for the same."""

from collections import Counter
from typing import Any

from pytest_convergence._engine.base.noise import ROTATION
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence.explore.explorers import Approach, RandomExplorer
from pytest_convergence.explore.novelty import StateWatch


def observe(agent: str, at_ns: int, fact: str, **data: Any) -> TraceEvent:
    return TraceEvent(-1, at_ns, "observe", agent, None, {"fact": fact, **data})


def watch(*events: TraceEvent) -> StateWatch:
    seen = StateWatch()
    for event in events:
        seen.see(event)
    return seen


def states(*events: TraceEvent) -> list[int]:
    return list(watch(*events).first_ns)


def test_agents_are_interchangeable_and_terms_count_by_rank() -> None:
    one = states(observe("a", 1, "leader", term=3), observe("b", 2, "follow", term=3))
    other = states(observe("c", 1, "leader", term=70), observe("a", 5, "follow", term=70))
    assert one == other
    behind = states(observe("a", 1, "leader", term=3), observe("b", 2, "follow", term=2))
    assert one[:1] == states(observe("a", 1, "leader", term=3))
    assert len(set(one + behind)) == 2 + (one[1] != behind[1])


def test_a_number_that_lies_behind_makes_another_state() -> None:
    newest = states(observe("a", 1, "vote", term=5), observe("b", 2, "vote", term=5))
    older = states(observe("a", 1, "vote", term=5), observe("b", 2, "vote", term=4))
    assert newest[0] == older[0]
    assert newest[1] != older[1]
    assert older == states(observe("x", 1, "vote", term=9), observe("y", 7, "vote", term=1))


def test_texts_count_by_their_type_and_truth_by_itself() -> None:
    assert states(observe("a", 1, "said", text="x")) == states(observe("a", 1, "said", text="y"))
    assert states(observe("a", 1, "said", ok=True)) != states(observe("a", 1, "said", ok=False))


def test_crashes_and_restarts_make_states_and_saying_the_same_again_does_not() -> None:
    crash = TraceEvent(-1, 2, "crash", "a", None, {"step": 1})
    restart = TraceEvent(-1, 3, "restart", "a", None, {"life": 2})
    said = observe("a", 1, "leader", term=1)
    assert len(set(states(said, crash, restart))) == 3
    assert len(states(said, said)) == 1
    assert watch(said, crash).first_ns[states(said, crash)[1]] == 2


def explorer(**options: Any) -> RandomExplorer:
    return RandomExplorer(lambda index: 1_000 + index, learns=True, name="test", **options)


def test_profiles_take_turns_until_there_is_something_to_branch_off_from() -> None:
    search = explorer()
    approaches = []
    for index in range(60):
        approach = search.approach(index)
        approaches.append(approach)
        search.ran(approach, ())
    assert approaches[0] == Approach(1_000, None)
    assert [approach.noise for approach in approaches[1:]] == [
        ROTATION[n % len(ROTATION)] for n in range(1, 60)
    ]
    assert not any(approach.branches for approach in approaches)


def learn(runs: int) -> list[Approach]:
    """A search in which every tenth seed meets a state that is rare, and all meet one that is not."""
    search = explorer()
    taken = []
    for index in range(runs):
        approach = search.approach(index)
        taken.append(approach)
        common = observe("a", 10, "common")
        rare = (
            (observe("b", 20, "rare", ok=True),)
            if approach.seed is not None and approach.seed % 10 == 0
            else ()
        )
        search.ran(approach, (watch(common, *rare),))
    return taken


def test_every_third_run_branches_off_where_an_earlier_one_met_something_new() -> None:
    branched = [approach for approach in learn(120) if approach.branches]
    assert 25 <= len(branched) <= 35
    instants = Counter(at_ns for approach in branched for at_ns, _ in approach.branches)
    assert set(instants) == {11, 21}  # right after both states
    assert instants[21] > instants[11]  # the rare one is worth more
    # Each by a seed of its own.
    assert len({approach.branches[-1][1] for approach in branched}) == len(branched)


def test_a_search_takes_the_same_ways_each_time() -> None:
    assert learn(100) == learn(100)


def test_a_run_without_a_seed_is_no_trunk() -> None:
    search = RandomExplorer(lambda index: None if index == 0 else index, learns=True, name="calm")
    first = search.approach(0)
    assert first == Approach(None, None)
    search.ran(first, (watch(observe("a", 1, "x")),))
    for index in range(1, 60):
        approach = search.approach(index)
        assert not approach.branches
        search.ran(approach, ())
