"""Planted bugs in how conflicts are found and settled are caught; what is correct raises no alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, Network, PropertyViolation
from pytest_convergence._engine.check.of_conflicts import EVERY_CONFLICT, OF_STRATEGY, properties_of_conflicts
from pytest_convergence._engine.check.registry import find_property
from tests.unit.check import priorities, registers

NETWORK = Network(latency=(0.001, 1.5))
PROPERTIES = [*EVERY_CONFLICT, "last_write_rule", "first_come_order"]


def broken_by(behaviour: Any, seeds: int, properties: list[str] = PROPERTIES) -> dict[str, int]:
    """Return how many of ``seeds`` runs of three such agents broke which property."""
    broken: dict[str, int] = {}
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}",
            agents=dict.fromkeys("abc", behaviour),
            network=NETWORK,
            faults=["skew"],
            properties=properties,
            seed=seed,
        )
        try:
            session.run()
        except PropertyViolation as violation:
            for found in violation.violations:
                broken[found.property] = broken.get(found.property, 0) + 1
    return broken


@pytest.mark.parametrize(
    ("bug", "name", "at_least"),
    [
        pytest.param(registers.TieKeepsLocal, "last_write_rule", 3, id="25 tie keeps local"),
        pytest.param(registers.SkewedClockWins, "last_write_rule", 3, id="25 skewed clock wins"),
        pytest.param(registers.ArrivalWins, "last_write_rule", 6, id="25 arrival wins"),
        pytest.param(registers.FirstArrivalWins, "first_come_order", 6, id="first arrival wins"),
        pytest.param(registers.LosesInSilence, "no_silent_loss", 4, id="loses in silence"),
        pytest.param(registers.CriesWolf, "detect_exact", 10, id="cries wolf"),
        pytest.param(registers.EachItsOwn, "deterministic_resolution", 3, id="each its own"),
        pytest.param(priorities.LatestInsteadOfHighest, "priority_rule", 5, id="latest instead of highest"),
        pytest.param(priorities.LowestIsFirst, "priority_rule", 5, id="lowest is first"),
        pytest.param(priorities.NeverComesForward, "no_starvation", 3, id="never comes forward"),
        pytest.param(priorities.KeepsOneOfThem, "rollback_exact", 5, id="keeps one of them"),
        pytest.param(priorities.BackToWhatItHeld, "rollback_exact", 5, id="back to what it held"),
    ],
)
def test_a_bug_is_caught(bug: Any, name: str, at_least: int) -> None:
    assert broken_by(bug(), 15, [name]).get(name, 0) >= at_least


@pytest.mark.parametrize("register", [registers.Register, registers.FirstCome])
def test_a_correct_register_is_silent(register: Any) -> None:
    assert broken_by(register(), 40) == {}


@pytest.mark.parametrize("register", [priorities.ByPriority, priorities.ByRollback])
def test_correct_registers_by_priority_and_by_rollback_are_silent(register: Any) -> None:
    properties = [*EVERY_CONFLICT, "priority_rule", "no_starvation", "rollback_exact"]
    assert broken_by(register(), 40, properties) == {}


# -- facts, one after another --------------------------------------------------------------------------------------------


def observed(
    *facts: tuple[str, dict[str, Any]], of: str, then: Callable[[Any], None] | None = None
) -> list[str]:
    """Return what the property ``of`` says about an agent ``a`` that observes these facts."""

    async def behave(agent: Any) -> None:
        for fact, data in facts:
            agent.observe(fact, **data)

    async def rest(agent: Any) -> None:
        return

    agents = {"a": behave, "b": rest}
    session = ConvergenceEngine().create_session("facts", agents=agents, properties=[of])
    try:
        session.run()
    except PropertyViolation as violation:
        return [found.message for found in violation.violations]
    return []


def write(id: str, value: Any, seen: tuple[str, ...] = (), **more: Any) -> tuple[str, dict[str, Any]]:
    return "write", {"id": id, "path": "x", "value": value, "at": 0, "seen": list(seen), **more}


def conflict(writes: list[str], **more: Any) -> tuple[str, dict[str, Any]]:
    return "conflict", {"path": "x", "writes": writes, **more}


RIVALS = (write("w0", "before"), write("w1", 1, ("w0",), by="a"), write("w2", 2, ("w0",), by="b"))
STRANGERS = (write("w1", 1, by="a"), write("w2", 2, by="b"))
UNTOLD = (write("w1", 1, by="a"), write("w2", 2, ("kept, and not told of before a crash",), by="b"))


TOTAL = write("w3", 10, ("w1",), path="y", derived_from=["w1"])
KEPT = ("keep", {"path": "y", "write": "w3", "strategy": "rollback"})


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("priority_rule", [write("w1", 1, priority=2), write("w2", 2, by="b", priority=1),
                           conflict(["w1", "w2"], winner="w2", strategy="priority")], "stand over"),
        ("rollback_exact", [*RIVALS, conflict(["w1", "w2"], value="other", strategy="rollback")],
         "all had seen 'before'"),
        ("rollback_exact", [*RIVALS, conflict(["w1", "w2"], winner="w1", strategy="rollback")], "lets"),
        ("rollback_exact", [*STRANGERS, conflict(["w1", "w2"], value="other", strategy="rollback")],
         "all had seen None"),
        ("no_silent_loss", STRANGERS, "in ignorance of each other"),
        ("first_come_order", [*STRANGERS, conflict(["w1", "w2"], winner="w2", strategy="first-come")],
         "a's 1 at x comes first"),
        ("dependants_undone", [*RIVALS, conflict(["w1", "w2"], value="before", strategy="rollback"), TOTAL, KEPT],
         "rolls x back and not a's 10 at y"),
        ("dependants_undone", [*RIVALS, TOTAL, write("w4", 11, ("w3",), path="y", derived_from=["w3"]),
                               ("keep", {"path": "y", "write": "w4", "strategy": "rollback"}),
                               conflict(["w1", "w2"], value="before", strategy="rollback")], "not a's 11 at y"),
        ("one_verdict", [*RIVALS, conflict(["w1", "w2"], winner="w1", value=1, strategy="arbitration", id="c")],
         "nobody has decided it"),
        ("one_verdict", [("verdict", {"conflict": "c", "value": 2, "strategy": "arbitration"}),
                         conflict(["w1", "w2"], value=1, strategy="arbitration", id="c")], "the verdict of a was 2"),
        ("one_verdict", [("verdict", {"conflict": "c", "value": 2}), ("verdict", {"conflict": "c", "value": 1})],
         "decided a conflict by 2, and a decided it by 1"),
        ("fair_vote", [("ballot", {"question": "q", "vote": "a"}), ("ballot", {"question": "q", "vote": "b"})],
         "a voted for 'a', and then for 'b'"),
        ("fair_vote", [("verdict", {"conflict": "c", "winner": "a", "votes": {"a": None, "b": None}})],
         "a won without a vote"),
        ("fair_vote", [("verdict", {"conflict": "c", "winner": "a", "votes": {}})], "without a vote"),
        ("fair_vote", [("verdict", {"conflict": "c", "winner": "a", "votes": {"z": "a"}})], "not eligible"),
        ("fair_vote", [("verdict", {"conflict": "c", "winner": "a", "votes": {"a": "a", "b": "b"},
                                    "weights": {"a": 1, "b": 2}})], "another had 2"),
        ("fair_vote", [("verdict", {"conflict": "c", "winner": "a", "votes": {"a": "a"}, "quorum": False})],
         "without a quorum"),
        ("fair_vote", [("ballot", {"question": "q", "vote": "b"}),
                       ("verdict", {"question": "q", "winner": "a", "votes": {"a": "a"}})], "was counted for 'a'"),
        ("detect_exact", [RIVALS[0], RIVALS[1], conflict(["w0", "w1"])], "it is none"),
        ("detect_exact", [RIVALS[0], conflict(["w0"])], "a conflict of a's 'before' at x with nothing"),
        ("last_write_rule", [*RIVALS, ("keep", {"path": "x", "write": "w1", "strategy": "last-write"}),
                             ("keep", {"path": "x", "write": "w0", "strategy": "last-write"})], "goes back"),
    ],
)  # fmt: skip
def test_a_wrong_fact_is_caught(name: str, facts: list[tuple[str, dict[str, Any]]], message: str) -> None:
    (found,) = observed(*facts, of=name)
    assert message in found


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("priority_rule", [*RIVALS, conflict(["w1", "w2"], winner="w1", strategy="priority")]),
        ("rollback_exact", [*RIVALS, conflict(["w1", "w2"], value="before", strategy="rollback")]),
        ("rollback_exact", [*RIVALS, conflict(["w1", "w9"], value="other", strategy="rollback")]),
        ("dependants_undone", [*RIVALS, TOTAL, KEPT, ("keep", {"path": "y", "write": "w0", "strategy": "rollback"}),
                               conflict(["w1", "w2"], value="before", strategy="rollback")]),
        ("dependants_undone", [*RIVALS, write("w3", 10, ("w1", "w2"), path="y", derived_from=["w1", "w9"]), KEPT,
                               conflict(["w1", "w2"], value="before", strategy="rollback")]),
        ("dependants_undone", [*RIVALS, TOTAL, KEPT, conflict(["w1", "w2"], value="before", strategy="rollback"),
                               conflict(["w1", "w2"], value=2, winner="w2", strategy="last-write")]),
        ("dependants_undone", [*RIVALS, write("w3", 10, ("w0",), path="y", derived_from=["w0"]), KEPT,
                               conflict(["w1", "w2"], value="before", strategy="rollback")]),
        ("one_verdict", [("verdict", {"conflict": "c", "value": 2}), ("verdict", {"conflict": "c", "value": 2}),
                         conflict(["w1", "w2"], value=2, strategy="arbitration", id="c")]),
        ("fair_vote", [("verdict", {"conflict": "c", "votes": {"a": None, "b": None}})]),
        ("fair_vote", [("verdict", {"conflict": "c", "winner": "a", "votes": {"a": "a", "b": None}})]),
        ("detect_exact", [*RIVALS, conflict(["w1", "w2"])]),
        ("no_silent_loss", [*RIVALS, conflict(["w1", "w2"])]),
        ("no_silent_loss", [*RIVALS[:2], write("w2", 1, ("w0",), by="b")]),
        ("no_silent_loss", UNTOLD),
        ("first_come_order", [*UNTOLD, conflict(["w1", "w2"], winner="w2", strategy="first-come")]),
        ("last_write_rule", [*UNTOLD, ("keep", {"path": "x", "write": "w1", "strategy": "last-write"})]),
        ("rollback_exact", [*UNTOLD, conflict(["w1", "w2"], value="other", strategy="rollback")]),
        ("dependants_undone", [*UNTOLD, TOTAL, KEPT, conflict(["w1", "w2"], value="other", strategy="rollback")]),
        ("deterministic_resolution", [*RIVALS, conflict(["w1", "w2"]), conflict(["w2", "w1"], winner="w1")]),
        ("last_write_rule", [("write", {}), ("keep", {}), ("conflict", {})]),
    ],
)  # fmt: skip
def test_right_facts_raise_no_alarm(name: str, facts: list[tuple[str, dict[str, Any]]]) -> None:
    assert observed(*facts, of=name) == []


def _series(priorities: list[int], *, winner: str) -> list[tuple[str, dict[str, Any]]]:
    """Conflicts one after another, each in knowledge of the last, which ``winner`` wins over the priority 5 of b."""
    facts: list[tuple[str, dict[str, Any]]] = []
    known: tuple[str, ...] = ()
    for turn, priority in enumerate(priorities):
        mine, theirs = f"a{turn}", f"b{turn}"
        facts.append(write(mine, mine, known, by="a", priority=priority))
        facts.append(write(theirs, theirs, known, by="b", priority=5))
        won = theirs if winner == "b" or priority < 5 else mine
        facts.append(conflict([mine, theirs], winner=won, strategy="priority"))
        known = (*known, mine, theirs)
    return facts


def test_who_loses_and_does_not_come_forward_starves() -> None:
    (found,) = observed(*_series([0] * 10, winner="b"), of="no_starvation")
    assert "a loses one conflict after another at x, by priorities from 0 to 5" in found
    assert (
        observed(*_series([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], winner="highest"), of="no_starvation") == []
    )


def test_the_properties_of_conflicts_are_those_of_the_strategies_in_use() -> None:
    assert properties_of_conflicts([]) == EVERY_CONFLICT
    assert properties_of_conflicts(["voting", "arbitration"]) == (*EVERY_CONFLICT, "one_verdict", "fair_vote")
    for names in (EVERY_CONFLICT, *OF_STRATEGY.values()):
        for name in names:
            assert find_property(name).name == name
