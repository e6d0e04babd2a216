"""Replicas in a session: what is observed of them, what is counted, and that causality is what the messages make it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import Effect
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.state.delta_sync import DeltaSync
from pytest_convergence._engine.state.event_sync import EventSync
from pytest_convergence._engine.state.full_sync import FullSync
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.spreading import Peer, Spreading
from pytest_convergence._engine.state.sync import SYNCS
from pytest_convergence._engine.state.updates import Delta
from pytest_convergence.errors import PropertyViolation
from tests.unit.sim.harness import run_session


async def _writes(session: Session) -> None:
    a, b, c = session.agents.values()
    for number in range(3):
        a.state.set("x", number)
        b.state.increment("n")
        await session.sleep(0.02)
        c.state.append("log", number)
        await session.sleep(0.7)


@pytest.mark.parametrize("sync", SYNCS)
def test_a_write_has_seen_another_only_if_messages_brought_word_of_it(sync: str) -> None:
    trace = run_session(_writes, agents=["a", "b", "c"], sync=sync, network="wan", seed=3).trace
    causality = trace.causality()
    writes = [event for event in trace if event.kind == "state"]
    assert len(writes) == 9
    seen = 0
    for earlier, later in permutations(writes, 2):
        if later.detail["write"].has_seen(earlier.detail["write"]):
            assert causality.happens_before(earlier, later)
            seen += 1
    assert seen > 9, "some have seen those of others"


@pytest.mark.parametrize("sync", SYNCS)
def test_replicas_say_what_they_hold_when_they_learn_that_another_holds_the_same(sync: str) -> None:
    outcome = run_session(_writes, agents=["a", "b", "c"], sync=sync, network="wan", seed=3)
    facts = [
        event for event in outcome.trace if event.kind == "observe" and event.detail["fact"] == "replica"
    ]
    assert {event.agent for event in facts} == {"a", "b", "c"}
    ends: dict[str, Any] = {event.agent: event.detail for event in facts}
    assert ends["a"]["seen"] == ends["b"]["seen"] == ends["c"]["seen"] == {"a": 3, "b": 3, "c": 3}
    assert len({detail["state"] for detail in ends.values()}) == 1
    said: dict[Any, list[Any]] = {}
    for event in facts:
        said.setdefault((event.agent, tuple(event.detail["seen"].items())), []).append(event.detail)
    assert all(each == same[0] for same in said.values() for each in same), (
        "who is sent what it has stays as it is"
    )
    if sync == "full":
        assert any(len(same) > 1 for same in said.values()), "and says so"


def test_how_long_replicas_differ_is_counted() -> None:
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        with session.network.partition([a], [b]):
            a.state.set("x", 1)
            await session.sleep(10)
        await session.sleep(10)
        b.state.set("y", 1)
        await session.sleep(10)

    metrics = run_session(scenario, agents=["a", "b"], network="perfect").metrics
    assert 10 < metrics.divergence_seconds < 19
    assert metrics.sync_operations == metrics.protocol_messages
    assert metrics.sync_seconds < 1


def test_replicas_that_nobody_writes_to_leave_no_trace() -> None:
    async def scenario(session: Session) -> None:
        await session.sleep(1)
        assert session.agents["a"].state.get("x") is None

    outcome = run_session(scenario, agents=["a", "b"], sync="event")
    assert outcome.metrics.sync_operations == 0
    assert not [event for event in outcome.trace if event.kind == "observe"]


# -- ways to synchronise of a user's own, with a bug each -------------------------------------------------------------


class JoinsWhateverComes(DeltaSync):
    """Does not look where a delta begins."""

    __slots__ = ()

    def _take(self, packed: Delta) -> bool:
        return self.replica.join(Delta(VectorClock(), packed.end, packed.updates))


class TakesHalf(FullSync):
    """Takes in the first half of a document, and leaves the rest for the next time."""

    __slots__ = ()

    def _take(self, packed: Delta) -> bool:
        half = packed.updates[: len(packed.updates) // 2]
        end = VectorClock({update.dot.agent: update.dot.counter for update in half})
        return self.replica.join(Delta(packed.start, end, half))


class SentIsAcknowledged(DeltaSync):
    """Takes what it has sent for acknowledged."""

    __slots__ = ()

    def _tell(self, peer: Peer, kind: str, since: VectorClock) -> Effect:
        peer.acked |= self.replica.clock
        return super()._tell(peer, kind, since)


class SnapshotsTooLittle(EventSync):
    """Leaves the newest event out of a snapshot that claims to contain it."""

    __slots__ = ()

    def __init__(self, replica: Replica, peers: Any) -> None:
        super().__init__(replica, peers, snapshot_every=3)

    def _compact(self) -> None:
        super()._compact()
        snapshot = self.log.snapshot
        self.log.snapshot = type(snapshot)(snapshot.clock, snapshot.updates[:-1])


class Own:
    """What ``sync=`` takes: a way to synchronise of a user's own."""

    def __init__(self, name: str, machine: type[Spreading]) -> None:
        self.name = name
        self._machine = machine

    def machine(self, replica: Replica, peers: Any) -> Any:
        return self._machine(replica, peers)


async def _many_writes(session: Session) -> None:
    for number in range(6):
        for agent in session.agents.values():
            agent.state.set(f"{agent.name}.{number}", number)
        await session.sleep(0.05)


@pytest.mark.parametrize(
    ("way", "machine", "name"),
    [
        ("delta", JoinsWhateverComes, "interval_covered"),
        ("full", TakesHalf, "atomic_apply"),
        ("delta", SentIsAcknowledged, "resent_until_acked"),
        ("event", SnapshotsTooLittle, "fold_is_state"),
    ],
)
def test_a_bug_in_a_way_to_synchronise_of_a_users_own_is_caught(
    way: str, machine: type[Spreading], name: str
) -> None:
    found = []
    for seed in range(10):
        try:
            run_session(
                _many_writes, agents=["a", "b", "c"], sync=Own(way, machine), network="lossy", seed=seed
            )
        except PropertyViolation as violation:
            found += [each.property for each in violation.violations]
    assert name in found
