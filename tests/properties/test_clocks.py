"""Clocks against the causal history that they are to describe."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence import strategies as cst
from pytest_convergence._engine.base.clocks import HybridClock, LamportClock, VectorClock

NAMES = ("a", "b", "c")
_CLOCKS = cst.vector_clocks(NAMES)
_SKEWS = st.tuples(*[st.integers(0, 20)] * len(NAMES))


@given(cst.histories(NAMES))
def test_a_vector_clock_is_smaller_exactly_if_its_event_happened_before(history: cst.History) -> None:
    for one in history:
        for other in history:
            before = history.happened_before(one, other)
            assert (one.clock < other.clock) is before
            apart = one is not other and not before and not history.happened_before(other, one)
            assert one.clock.concurrent_with(other.clock) is apart


@given(cst.histories(NAMES))
def test_the_clocks_of_a_history_count_the_events_that_happened_before(history: cst.History) -> None:
    for event in history:
        known = [
            earlier for earlier in history if earlier is event or history.happened_before(earlier, event)
        ]
        counts = {name: sum(earlier.agent == name for earlier in known) for name in NAMES}
        assert event.clock == VectorClock(counts)


@given(cst.histories(NAMES))
def test_lamport_clocks_grow_along_every_cause(history: cst.History) -> None:
    now = {name: LamportClock(agent=name) for name in NAMES}
    stamps: list[LamportClock] = []
    for event in history:
        own = now[event.agent]
        now[event.agent] = own.tick() if event.source is None else own.receive(stamps[event.source])
        stamps.append(now[event.agent])
    assert len(set(stamps)) == len(stamps)
    for one in history:
        for other in history:
            if history.happened_before(one, other):
                assert stamps[one.number] < stamps[other.number]


@given(cst.histories(NAMES), _SKEWS, st.lists(st.integers(0, 3), min_size=20, max_size=20))
def test_hybrid_clocks_grow_along_every_cause_and_stay_close_to_physical_time(
    history: cst.History, skews: tuple[int, ...], pauses: list[int]
) -> None:
    true_ns, now, stamps = 0, dict.fromkeys(NAMES, HybridClock()), list[HybridClock]()
    for event, pause in zip(history, pauses, strict=False):
        true_ns += pause
        physical_ns = true_ns + skews[NAMES.index(event.agent)]
        own = now[event.agent]
        if event.source is None:
            stamp = own.tick(physical_ns)
        else:
            stamp = own.receive(stamps[event.source], physical_ns, max_drift_ns=max(skews) - min(skews))
        assert physical_ns <= stamp.l_ns <= true_ns + max(skews)
        now[event.agent] = stamp
        stamps.append(stamp)
    for one in history:
        for other in history:
            if history.happened_before(one, other):
                assert stamps[one.number] < stamps[other.number]


@given(_CLOCKS, _CLOCKS, _CLOCKS)
def test_merging_clocks_is_a_join(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    cst.assert_merge_laws(VectorClock.__or__, [a, b, c])
    cst.assert_merge_laws(VectorClock.__and__, [a, b, c])
    assert a <= a | b >= b
    assert (a | b == b) is (a <= b)
    assert a & (a | b) == a


@given(_CLOCKS, _CLOCKS)
def test_two_clocks_stand_in_exactly_one_relation(a: VectorClock, b: VectorClock) -> None:
    assert [a < b, a == b, a > b, a.concurrent_with(b)].count(True) == 1
    assert (a <= b) is (a < b or a == b)
    assert (a >= b) is (b <= a)
    assert (hash(a) == hash(b)) or a != b


@given(_CLOCKS, st.sampled_from(NAMES))
def test_a_tick_is_later_and_counts_one(clock: VectorClock, agent: str) -> None:
    ticked = clock.tick(agent)
    assert clock < ticked
    assert ticked[agent] == clock[agent] + 1
    assert ticked.total() == clock.total() + 1
