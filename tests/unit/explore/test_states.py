"""A state space is searched to its end: sizes that others have published, shortest paths to what is wrong."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import date
from enum import Enum
from random import Random
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError, explore_states
from pytest_convergence._engine.base.effects import Call, Decide, Observe, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.patterns.paxos import Paxos, PaxosRules
from pytest_convergence._engine.patterns.raft import RaftElection, RaftTiming, Role
from pytest_convergence._engine.patterns.two_phase_commit import CommitRules, TwoPhaseCommit
from pytest_convergence.explore.freezing import freeze
from tests.unit.explore.protocols import RingNode, consistent, ring, rings, two_phase_commit


@pytest.mark.parametrize(("count", "states"), [(3, 288), (5, 8_832)])
def test_two_phase_commit_has_as_many_states_as_published(count, states):
    """TLA+ examples, TwoPhase.tla, and stateright's 2pc.rs: messages that were sent are never taken away."""
    found = explore_states(
        two_phase_commit(count),
        network="duplicating",
        always={"consistent": consistent},
        reachable={
            "all commit": lambda state: all(
                machine.state == "committed" for name, machine in state.machines.items() if name != "tm"
            )
        },
    )
    assert found.states == states
    assert found.is_exhausted
    assert found.check() is found


def test_a_ring_of_three_has_as_many_states_as_published():
    """TLA+ examples, MCChangRoberts.cfg: 137 distinct states, 227 with the repeated ones, in 10 levels."""
    found = explore_states(
        rings(3),
        staggered=True,
        always={
            "one leader": lambda state: [node.state for node in state.machines.values()].count("won") <= 1
        },
    )
    assert found.check().states == 137
    assert found.transitions + 8 == 227
    assert found.depth + 1 == 10
    assert str(found) == "exhausted: 137 states, 219 transitions, depth 9"


def test_the_plain_parts_of_a_send_are_a_send_in_a_state_space_too():
    class PlainRing(RingNode):
        def on_start(self, durable: Any) -> Any:
            return [tuple(effect) for effect in super().on_start(durable)]

    plain = {name: lambda make=make: _as(PlainRing, make()) for name, make in ring(3, [True] * 3).items()}
    found, named = explore_states(plain), explore_states(ring(3, [True] * 3))
    assert (found.states, found.transitions) == (named.states, named.transitions)
    assert found.states > 1


def _as(kind: type, machine: Any) -> Any:
    machine.__class__ = kind
    return machine


def test_order_on_the_links_leaves_fewer_states():
    unordered, in_order = (
        explore_states(rings(3), staggered=True, network=network).states for network in ("unordered", "fifo")
    )
    assert (unordered, in_order) == (137, 120)


def test_a_ring_with_an_initiator_always_has_a_way_to_a_leader():
    def somebody_won(state: Any) -> bool:
        return any(node.state == "won" for node in state.machines.values())

    assert (
        explore_states(ring(3, [True, False, True]), eventually={"a leader": somebody_won}).violation is None
    )
    lost = explore_states(ring(3, [True, False, True]), losses=1, eventually={"a leader": somebody_won})
    assert lost.violation is not None
    assert str(lost.violation) == (
        "'a leader' cannot be reached any more after 1 step:\n  1. node1→node2 identity 1 is lost"
    )


def test_the_path_to_a_violation_is_a_shortest_one():
    found = explore_states(
        two_phase_commit(2),
        network="duplicating",
        always={
            "nobody commits": lambda state: "committed" not in [m.state for m in state.machines.values()]
        },
    )
    assert not found.is_exhausted
    assert found.violation is not None
    assert found.violation.kind == "always"
    assert found.violation.state.machines["tm"].state == "done"
    assert len(found.violation.path) == 6
    assert found.violation.path[-2:] == ("timer 'committed' of tm fires", "tm→rm1 committed arrives")
    with pytest.raises(AssertionError, match="'nobody commits' does not hold after 6 steps"):
        found.check()
    assert str(found).startswith("violated after ")


def test_what_no_state_reaches_is_named():
    found = explore_states(two_phase_commit(2), reachable={"magic": lambda state: False})
    assert found.is_exhausted
    assert str(found.violation) == "'magic' is reached in no state"


def test_a_search_that_is_cut_short_says_so():
    found = explore_states(two_phase_commit(3), max_states=50, reachable={"magic": lambda state: False})
    assert not found.is_exhausted
    assert found.violation is None
    assert str(found).startswith("explored 5")
    assert str(found).endswith(", not exhausted")


AGENTS = ("a", "b", "c")


def committing(vote: dict[str, bool], **options: Any) -> Any:
    """The package's own reference protocol: the machines that also run in the simulator."""
    rules = CommitRules(coordinator="a", patience_ns=10, resend_ns=1)
    return explore_states(
        {name: lambda name=name: TwoPhaseCommit(name, AGENTS, vote[name], rules) for name in AGENTS},
        always={"agreement": lambda state: len(set(state.decisions.values())) <= 1},
        **options,
    )


@pytest.mark.parametrize("network", ["unordered", "fifo"])
@pytest.mark.parametrize("votes", list(itertools.product([True, False], repeat=3)), ids=str)
def test_the_reference_two_phase_commit_agrees_in_every_state(votes, network):
    wanted = "commit" if all(votes) else "abort"
    found = committing(
        dict(zip(AGENTS, votes, strict=True)),
        network=network,
        timers=1,
        eventually={"all decide": lambda state: len(state.decisions) == 3},
        reachable={wanted: lambda state: set(state.decisions.values()) == {wanted}},
    )
    assert found.check().is_exhausted


def test_the_reference_two_phase_commit_agrees_in_every_state_with_a_crash():
    found = committing(dict.fromkeys(AGENTS, True), timers=0, crashes=1, losses=1)
    assert found.check().is_exhausted
    assert found.states > 500


def test_elections_have_one_leader_a_term_in_every_state_with_a_crash():
    timing = RaftTiming(*[10] * len(RaftTiming._fields))

    def leaders(state: Any) -> list[int]:
        return [machine.term for machine in state.machines.values() if machine.role is Role.LEADER]

    found = explore_states(
        {name: lambda name=name: RaftElection(name, AGENTS, timing, pre_vote=False) for name in AGENTS},
        timers=1,
        crashes=1,
        always={"one leader a term": lambda state: len(leaders(state)) == len(set(leaders(state)))},
        reachable={"a leader": leaders},
    )
    assert found.check().is_exhausted


def test_paxos_of_two_agrees_in_every_state_with_a_crash():
    pair, rules = ("a", "b"), PaxosRules(quorum=2, max_rounds=None, resend_ns=1)
    found = explore_states(
        {name: lambda name=name: Paxos(name, pair, name, rules) for name in pair},
        timers=1,
        crashes=1,
        always={"agreement": lambda state: len(set(state.decisions.values())) <= 1},
        reachable={"decided": lambda state: len(state.decisions) == 2},
    )
    assert found.check().is_exhausted


class Counter:
    """Does what the tests below ask of it."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)

    def on_start(self, durable: Any) -> Any:
        self.count = durable.get("count", 0)
        return []

    def on_message(self, sender: str, kind: str, payload: Any) -> Any:
        return [Send("stranger", "hello", None)]

    def on_timer(self, name: str) -> Any:
        raise RuntimeError("no timers here")

    def on_command(self, name: str, argument: Any) -> Any:
        self.count += argument or 1
        effects = [Persist("count", self.count), Observe("counted", {}), Decide(self.count)]
        return {
            "count": effects,
            "keep": [*effects, Sync()],
            "arm": [SetTimer("alarm", 1)],
            "greet": [Send("b", "hello", [1])],
            "call": [Call("id", "function")],
        }[name]


def test_a_crash_loses_what_was_not_synced_and_commands_are_not_given_again():
    found = explore_states(
        {"a": Counter},
        commands={"a": [("keep", None), ("count", 10)]},
        crashes=1,
        reachable={
            "kept": lambda state: state.durable["a"] == {"count": 1} and state.machines["a"].count == 1,
            "counted": lambda state: state.machines["a"].count == 11,
            "undecided after a crash": lambda state: state.durable["a"] and not state.decisions,
        },
    )
    assert found.check().is_exhausted
    assert found.ends == 2  # the crash came before the last command, or after it


def test_a_machine_that_raises_is_found_with_the_path():
    found = explore_states({"a": Counter}, commands={"a": [("arm", None)]})
    assert str(found.violation) == (
        "the machine of a raised RuntimeError: no timers here after 2 steps:\n"
        "  1. a is told to arm\n  2. timer 'alarm' of a fires"
    )


def test_a_machine_that_cannot_start_is_found():
    def broken() -> Any:
        raise RuntimeError("not today")

    assert str(explore_states({"a": broken}).violation) == (
        "the machine of a raised RuntimeError: not today at the start"
    )


def test_effects_that_need_the_world_are_refused_in_words():
    found = explore_states({"a": Counter}, commands={"a": [("call", None)]})
    assert "cannot be carried out in a state space" in str(found.violation)


def test_a_message_to_a_stranger_is_an_error_of_the_test():
    with pytest.raises(
        ConvergenceUsageError, match="b sends to 'stranger', which is none of the machines: a, b"
    ):
        explore_states({"a": Counter, "b": Counter}, commands={"a": [("greet", None)]})


def test_a_timer_bound_bounds_the_space():
    found = explore_states(two_phase_commit(1), timers=0)
    assert found.states == found.ends == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"machines": {}}, "was given no machine"),
        ({"machines": [{"a": Counter}, {"b": Counter}]}, "must have the same agents"),
        ({"machines": {"a": Counter()}}, "must be given as a function"),
        ({"network": "ordered"}, "unordered"),
        ({"commands": {"aa": []}}, "unknown agent 'aa'"),
        ({"crashes": -1}, "crashes must be a whole number from 0, not -1"),
        ({"timers": True}, "timers must be a whole number from 0, not True"),
        ({"losses": None}, "losses must be a whole number from 0, not None"),
        ({"max_states": 0}, "max_states must be a whole number from 1, not 0"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ConvergenceUsageError, match=words):
        explore_states(**{"machines": {"a": Counter}, **arguments})


class Colour(Enum):
    RED = 1


class Slotted:
    __slots__ = ("__hidden", "left", "unset")

    def __init__(self, value: Any) -> None:
        self.__hidden = value
        self.left = 1


class Single:
    __slots__ = "only"

    def __init__(self, only: Any) -> None:
        self.only = only


def looped(value: Any) -> Any:
    node = Counter(value=value)
    node.__dict__["me"] = node
    node.__dict__["act"] = node.on_start
    return node


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ({1, 2}, {2, 1}),
        (Slotted([1]), Slotted([1])),
        (Single("x"), Single("x")),
        (looped(1), looped(1)),
        (Random(1), Random(1)),
        (ValueError("x"), ValueError("x")),
        (date(2000, 1, 1), date(2000, 1, 1)),
        (Colour.RED, Colour.RED),
        (len, len),
        (deque([1]), deque([1])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equal_states_are_one_state(one, other):
    assert freeze(one) == freeze(other)
    assert hash(freeze(one)) == hash(freeze(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (1.0, 1),
        ([1], (1,)),
        (Slotted(1), Slotted(2)),
        (looped(1), looped(2)),
        (deque([1, 2]), deque([2, 1])),
        (Random(1), Random(2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_different_states_are_two(one, other):
    assert freeze(one) != freeze(other)


def test_what_has_no_state_to_see_is_refused_with_its_place():
    with pytest.raises(ConvergenceUsageError, match=r"the machine of a\.next holds <list_iterator"):
        explore_states({"a": lambda: Counter(next=iter([]))})
