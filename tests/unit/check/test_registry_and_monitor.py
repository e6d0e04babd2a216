"""Properties by name, predicates of the user's, and all checkers of a run together."""

import re
from importlib import import_module

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.predicates import predicate
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope
from pytest_convergence._engine.check.registry import BUILT_IN, PropertyRegistry, find_property
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from tests.unit.check.events import THREE, event, fact

END = FinalState(5, THREE)
SOURCE = re.compile(r"\b(?:19|20)\d\d\b|\bRFC \d+|\bSource: ")
"""A year of publication, a standard, or a work that is named as the source."""


@pytest.mark.parametrize(
    "pattern", [LeaderFollower(), LeaderFollower("bully"), Consensus(), Consensus(algorithm="paxos")]
)
def test_every_property_that_a_pattern_names_exists(pattern):
    assert [each.name for each in PropertyRegistry().find_all(pattern.properties)] == list(pattern.properties)


def test_every_property_says_what_must_hold():
    for name, each in BUILT_IN.items():
        assert find_property(name) is each
        assert each.name == name
        assert each.summary.endswith(".")


def test_every_property_names_its_source():
    nameless = [
        name
        for name in BUILT_IN
        if not SOURCE.search(import_module(f"pytest_convergence._engine.check.{name}").__doc__ or "")
    ]
    assert nameless == []


def test_a_misspelt_property_names_the_nearest():
    with pytest.raises(ConvergenceUsageError, match="unknown property 'agreemnt': did you mean 'agreement'"):
        find_property("agreemnt")
    with pytest.raises(ConvergenceUsageError, match="unknown property 7"):
        find_property(7)


def test_properties_are_found_once_each_in_the_order_of_their_first_mention():
    registry = PropertyRegistry()
    found = registry.find_all(["validity", "agreement", "validity", find_property("agreement")])
    assert [each.name for each in found] == ["validity", "agreement"]
    other = predicate("agreement", "always", lambda session: True)
    with pytest.raises(ConvergenceUsageError, match="two different properties are named 'agreement'"):
        registry.find_all(["agreement", other])


def test_a_property_can_be_added_to_a_registry_once():
    registry = PropertyRegistry()
    mine = predicate("balance kept", "always", lambda session: True)
    registry.add(mine)
    assert registry.find("balance kept") is mine
    assert "balance kept" in registry.names
    with pytest.raises(ConvergenceUsageError, match="exists already"):
        registry.add(mine)


def monitor(kind, test, subject=None) -> Monitor:
    return Monitor([predicate("it", kind, test)], Scope(THREE, subject=subject))


def test_always_is_judged_after_every_event_and_at_the_end():
    state = {"balance": 1}
    watch = monitor("always", lambda subject: subject["balance"] == 1, state)
    assert watch.feed(event("receive", "a")) == ()
    state["balance"] = 2
    (violation,) = watch.feed(event("timer", "b", at=7))
    assert violation.message == "this must always hold, but after an event of b it did not"
    assert (violation.at_ns, violation.agents) == (7, ("b",))
    (violation,) = monitor("always", lambda subject: False).finish(END)
    assert violation.message == "this must always hold, but when the world had settled it did not"


def test_never_is_the_opposite_of_always():
    assert monitor("never", lambda subject: 0).feed(event("receive", "a")) == ()
    assert len(monitor("never", lambda subject: "yes").feed(event("receive", "a"))) == 1


def test_eventually_is_judged_at_the_end_alone():
    state = {"done": False}
    watch = monitor("eventually", lambda subject: subject["done"], state)
    assert watch.kinds == frozenset()
    assert watch.feed(event("receive", "a")) == ()
    assert len(watch.finish(END)) == 1
    state["done"] = True
    assert monitor("eventually", lambda subject: subject["done"], state).finish(END) == ()


def test_sometimes_is_reached_or_not_and_never_violated():
    state = {"met": False}
    watch = monitor(Kind.SOMETIMES, lambda subject: subject["met"], state)
    watch.feed(event("receive", "a"))
    assert list(watch.unreached) == ["it"]
    state["met"] = True
    watch.feed(event("receive", "a"))
    assert not watch.unreached
    assert not watch.kinds
    state["met"] = False
    assert watch.feed(event("receive", "a")) == watch.finish(END) == ()
    assert not watch.unreached


def test_sometimes_may_be_reached_at_the_very_end():
    watch = monitor(Kind.SOMETIMES, lambda subject: True)
    watch.finish(END)
    assert watch.unreached == ()


def test_a_predicate_must_be_a_function_of_a_known_kind():
    with pytest.raises(ConvergenceUsageError, match="needs a function of the session, not 3"):
        predicate("it", "always", 3)  # type: ignore[arg-type]
    with pytest.raises(ConvergenceUsageError, match="cannot be of the kind 'history'; kinds: always, never"):
        predicate("it", "history", bool)


def test_each_property_is_reported_once_by_its_first_violation():
    properties = [find_property("election_safety"), find_property("term_monotonic")]
    watch = Monitor(properties, Scope(THREE))
    watch.feed(fact("a", "leader", term=1))
    assert len(watch.feed(fact("b", "leader", term=1))) == 1
    assert watch.feed(fact("c", "leader", term=1)) == ()
    watch.feed(fact("a", "term", term=2))
    assert [each.property for each in watch.feed(fact("a", "term", term=1))] == ["term_monotonic"]
    assert [each.property for each in watch.violations] == ["election_safety", "term_monotonic"]
    assert watch.finish(END) == ()


def test_a_monitor_asks_only_for_the_events_that_its_checkers_need():
    assert Monitor([], Scope(THREE)).kinds == frozenset()
    assert Monitor([find_property("agreement")], Scope(THREE)).kinds == {"observe", "decide"}


def test_a_scope_knows_how_many_agents_a_live_quorum_has():
    assert Scope(THREE).needed == 2
    assert Scope(THREE, quorum=3).needed == 3


def test_a_property_of_a_users_own_making_is_judged_like_any_other():
    class Silence:
        kinds = frozenset({"send"})

        def feed(self, event):
            return None

        def finish(self, final):
            return None

    mine = Property("silence", Kind.ALWAYS, "Nothing is sent.", lambda scope: Silence())
    assert Monitor([find_property(mine)], Scope(THREE)).finish(END) == ()
