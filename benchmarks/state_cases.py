"""What is measured of states: vector clocks, merges of replicas, gossip, bytes by way of synchronising; spaces of states."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measuring import Row, costs_at_most, faster_than
from pytest_convergence import CancelTimer, ConvergenceEngine, Send, SetTimer, VectorClock, explore_states
from pytest_convergence._engine.state.replica import Replica

__all__ = ["state_rows"]

REPEATS = 20_000


def _counts(entries: int, shift: int = 0) -> dict[str, int]:
    return {f"agent-{number}": number % 7 + 1 + shift for number in range(entries)}


# -- vector clocks -------------------------------------------------------------------------------------------------------


def _compare(entries: int) -> int:
    one, other = VectorClock(_counts(entries)), VectorClock(_counts(entries, 1))
    for _ in range(REPEATS):
        one < other  # noqa: B015
    return REPEATS


def _merge(entries: int) -> int:
    one, other = VectorClock(_counts(entries)), VectorClock(_counts(entries, 1))
    for _ in range(REPEATS):
        one | other
    return REPEATS


def _compare_dicts(entries: int) -> int:
    """The least that a comparison does: go through the smaller clock and look everything up in the other."""
    one, other = _counts(entries), _counts(entries, 1)
    for _ in range(REPEATS):
        known = other.get
        before = True
        for name, count in one.items():
            if count > known(name, 0):
                before = False
                break
        before and one != other  # noqa: B018
    return REPEATS


def _merge_dicts(entries: int) -> int:
    one, other = _counts(entries), _counts(entries, 1)
    for _ in range(REPEATS):
        merged = one.copy()
        for name, count in other.items():
            if count > merged.get(name, 0):
                merged[name] = count
    return REPEATS


def _compare_package(entries: int) -> int:
    """The pure-Python package ``vectorclock`` (it has no merge)."""
    clock: Any = importlib.import_module("vectorclock.vectorclock").VectorClock
    one, other = clock(_counts(entries)), clock(_counts(entries, 1))
    for _ in range(REPEATS):
        one < other  # noqa: B015
    return REPEATS


def _clock_rows(rounds: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    for entries in (10, 100):
        yield (
            f"clock-compare-{entries}",
            lambda entries=entries: costs_at_most(  # type: ignore[misc]
                f"comparing vector clocks of {entries}, to a bare dict loop",
                lambda: _compare(entries),
                lambda: _compare_dicts(entries),
                2,
                rounds,
            ),
        )
        yield (
            f"clock-package-{entries}",
            lambda entries=entries: faster_than(  # type: ignore[misc]
                f"comparing vector clocks of {entries}, x the package vectorclock",
                lambda: _compare(entries),
                lambda: _compare_package(entries),
                1,
                rounds,
            ),
        )
        yield (
            f"clock-merge-{entries}",
            lambda entries=entries: costs_at_most(  # type: ignore[misc]
                f"merging vector clocks of {entries}, to a bare dict loop",
                lambda: _merge(entries),
                lambda: _merge_dicts(entries),
                2,
                rounds,
            ),
        )


# -- merges of replicas --------------------------------------------------------------------------------------------------


def merge_us(fields: int, differing: int, rounds: int) -> list[float]:
    """Microseconds for each path by which two replicas differ, to make them equal; of documents with so many fields."""
    a, b = Replica("a"), Replica("b")
    for number in range(fields):
        a.set(("document", f"part {number % 100}", f"field {number}"), number)
    b.join(a.delta_since(b.clock))
    costs = []
    for turn in range(rounds):
        for number in range(differing):
            replica = a if number % 2 else b
            place = number * (fields // differing)
            replica.set(("document", f"part {place % 100}", f"field {place}"), (turn, number))
        before = time.process_time()
        assert a.join(b.delta_since(a.clock))
        assert b.join(a.delta_since(b.clock))
        costs.append((time.process_time() - before) / differing * 1e6)
        assert a.clock == b.clock
    return costs


def _merge_row(fields: int, rounds: int) -> Row:
    """The cost for each differing path, to that in the smallest document."""
    least = merge_us(1_000, 1_000, rounds + 1)[1:]
    mine = merge_us(fields, 1_000, rounds + 1)[1:]
    ratios = tuple(one / other for one, other in zip(mine, least, strict=True))
    name = f"merge of 1,000 differing paths, {fields:,} fields to 1,000"
    middle = len(mine) // 2
    return Row(name, ratios, 1.5, sorted(mine)[middle], sorted(least)[middle], at_most=True)


def _difference_row(rounds: int) -> Row:
    few = merge_us(10_000, 100, rounds + 1)[1:]
    many = merge_us(10_000, 10_000, rounds + 1)[1:]
    ratios = tuple(one / other for one, other in zip(many, few, strict=True))
    name = "merge, per path: 10,000 differing paths to 100"
    return Row(name, ratios, 2, sorted(many)[len(many) // 2], sorted(few)[len(few) // 2], at_most=True)


# -- gossip --------------------------------------------------------------------------------------------------------------


def gossip(replicas: int, writers: int = 10, times: int = 1) -> int:
    """Let a few replicas write, and all of them gossip until they are equal; return the number of messages."""
    messages = 0
    for _ in range(times):

        async def scenario(session: Any) -> None:
            for number, agent in enumerate(list(session.agents.values())[:writers]):
                agent.state.set(f"written.{number}", number)

        session = ConvergenceEngine().create_session(
            "gossip", agents=replicas, sync="crdt", trace=False, max_events=10**9, real_timeout=None
        )
        outcome = session.run(scenario)
        assert outcome.converged
        messages += outcome.metrics.sync_operations
    return messages


def _messages_row() -> Row:
    """Messages for n log2 n, with 1,000 replicas to with 10."""
    few, many = (gossip(n) / (n * math.log2(n)) for n in (10, 1_000))
    return Row("messages by n log n, 1,000 replicas to 10", (many / few,), 2, many, few, at_most=True)


# -- state spaces --------------------------------------------------------------------------------------------------------


class _Manager:
    """A resource manager of two-phase commit, or (with ``managers``) the transaction manager."""

    def __init__(self, managers: tuple[str, ...] = ()) -> None:
        self.state = "working"
        self.managers = managers
        self.prepared: set[str] = set()

    def on_start(self, durable: Any) -> list[Any]:
        return [SetTimer("aborted", 1)] if self.managers else [SetTimer("prepare", 1), SetTimer("aborted", 1)]

    def on_timer(self, name: str) -> list[Any]:
        self.state = name
        told = [Send(manager, name, None) for manager in self.managers]
        if name == "prepare":
            told = [Send("tm", "prepared", None)]
        return [*(CancelTimer(other) for other in ("prepare", "aborted", "committed")), *told]

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Any]:
        if not self.managers:
            self.state = kind
            return [CancelTimer("prepare"), CancelTimer("aborted")]
        if self.state == "working":
            self.prepared.add(sender)
            return [SetTimer("committed", 1)] if len(self.prepared) == len(self.managers) else []
        return []

    def on_command(self, name: str, argument: Any) -> list[Any]:
        return []

    def view(self) -> Any:
        return self.state


def commits(count: int, times: int = 1) -> int:
    """Search the states of two-phase commit with so many participants; return how many there are in all."""
    names = tuple(f"rm{number}" for number in range(count))
    machines: dict[str, Any] = {"tm": lambda: _Manager(names), **dict.fromkeys(names, _Manager)}
    return sum(explore_states(machines, network="duplicating").states for _ in range(times))


def state_rows(rounds: int) -> dict[str, Callable[[], Row]]:
    """The lines of the table by short name."""
    few = max(2, rounds // 2)
    return {
        **dict(_clock_rows(rounds)),
        "merge-10000": lambda: _merge_row(10_000, rounds),
        "merge-100000": lambda: _merge_row(100_000, rounds),
        "merge-difference": lambda: _difference_row(few),
        "gossip-messages": _messages_row,
        "states": lambda: costs_at_most(
            "cost per state of two-phase commit, 5 participants to 3",
            lambda: commits(5),
            lambda: commits(3, times=20),
            2,
            few,
        ),
        "gossip-time": lambda: costs_at_most(
            "cost per message of gossip, 1,000 replicas to 10",
            lambda: gossip(1_000),
            lambda: gossip(10, times=50),
            2,
            few,
        ),
    }
