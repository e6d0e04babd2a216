"""All ways to synchronise under loss, duplication, reordering and crashes: what was told is true, and all end up equal.

The tests play the network, the disks and the clock themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import CancelTimer, Effect, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.state.conflicts import distinct_conflicts
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.sync import SYNCS, EventLog, SyncStrategy

NAMES = ("a", "b", "c")
PATHS = ("x", "y.z", "y", "log", "count")

STRATEGIES = [*SYNCS.values(), EventLog(snapshot_every=3)]
each_strategy = pytest.mark.parametrize("sync", STRATEGIES, ids=repr)


class Packet(NamedTuple):
    sender: str
    to: str
    kind: str
    payload: Any


class Node:
    """A machine with a disk that loses, at a crash, all but a part of what was not synced."""

    def __init__(self, name: str, network: list[Packet], sync: SyncStrategy) -> None:
        self.name = name
        self.sync = sync
        self.network = network
        self.disk: dict[str, Any] = {}
        self.armed: str | None = None
        self.promised = VectorClock()
        self.version = 0
        self.live()

    def live(self) -> None:
        self.armed = None
        self.replica = Replica(self.name)
        self.machine = self.sync.machine(self.replica, NAMES)
        self.replica.on_update = lambda update: self.do(self.machine.on_command("update", update))
        self.do(self.machine.on_start(dict(self.disk)))
        assert self.promised <= self.replica.clock, "a promise did not survive the restart"
        assert self.version <= self.replica.version

    def do(self, effects: list[Effect], *, crash_after: int | None = None) -> None:
        unsynced: list[Persist] = []
        for effect in effects[:crash_after]:
            if isinstance(effect, Persist):
                unsynced.append(effect)
            elif isinstance(effect, Sync):
                self.disk.update((write.key, write.value) for write in unsynced)
                unsynced.clear()
            elif isinstance(effect, Send):
                assert not unsynced, "told before it was durable"
                self.promised |= self.replica.clock
                self.network.append(Packet(self.name, effect.to, effect.kind, effect.payload))
            elif isinstance(effect, SetTimer):
                self.armed = effect.name
            elif isinstance(effect, CancelTimer):
                self.armed = None
        self.version = max(self.version, self.disk.get("sync.version", 0))
        if crash_after is not None:
            # The disk keeps a prefix of what was not synced.
            self.disk.update(
                (write.key, write.value) for write in unsynced[: crash_after % (len(unsynced) + 1)]
            )
            self.live()

    def hear(self, packet: Packet) -> None:
        self.do(self.machine.on_message(packet.sender, packet.kind, packet.payload))

    def ring(self) -> None:
        if self.armed is not None:
            timer, self.armed = self.armed, None
            self.do(self.machine.on_timer(timer))


class Step(NamedTuple):
    """``number`` chooses the packet, the path, or the point of the crash."""

    kind: str
    agent: str
    number: int


_KINDS = ["write", "deliver", "deliver", "lose", "duplicate", "ring", "crash", "crash while writing"]
_STEPS = st.lists(
    st.builds(Step, st.sampled_from(_KINDS), st.sampled_from(NAMES), st.integers(0, 7)), max_size=40
)


def _perform(step: Step, nodes: dict[str, Node], network: list[Packet], written: int) -> None:
    node = nodes[step.agent]
    if step.kind == "write":
        path = PATHS[step.number % len(PATHS)]
        if path == "log":
            node.replica.append(path, written)
        elif path == "count":
            node.replica.increment(path, written)
        elif step.number == len(PATHS):
            node.replica.delete(path)
        else:
            node.replica.set(path, written)
    elif step.kind == "ring":
        node.ring()
    elif step.kind == "crash":
        node.live()
    elif step.kind == "crash while writing":
        node.replica.on_update = None
        node.replica.append("log", written)
        node.do(node.machine.on_command("update", None), crash_after=step.number)
    elif network:
        place = step.number % len(network)
        packet = network[place] if step.kind == "duplicate" else network.pop(place)
        if step.kind != "lose":
            nodes[packet.to].hear(packet)


def _run(sync: SyncStrategy, steps: list[Step]) -> tuple[dict[str, Node], list[Packet]]:
    network: list[Packet] = []
    nodes = {name: Node(name, network, sync) for name in NAMES}
    for written, step in enumerate(steps):
        _perform(step, nodes, network, written)
    return nodes, network


def _settle(nodes: dict[str, Node], network: list[Packet]) -> int:
    """Deliver everything and let timers ring until nothing happens any more; return the number of messages."""
    delivered = 0
    while network or any(node.armed for node in nodes.values()):
        while network:
            packet = network.pop(0)
            nodes[packet.to].hear(packet)
            delivered += 1
            assert delivered < 2_000, "they never stop talking"
        for node in nodes.values():
            node.ring()
    return delivered


@each_strategy
@given(steps=_STEPS)
def test_all_end_up_equal_once_messages_arrive(sync: SyncStrategy, steps: list[Step]) -> None:
    nodes, network = _run(sync, steps)
    _settle(nodes, network)
    assert len({node.replica.checksum for node in nodes.values()}) == 1
    assert len({node.replica.clock for node in nodes.values()}) == 1
    assert len({node.replica.updates for node in nodes.values()}) == 1
    for node in nodes.values():
        assert not node.machine.pending
        assert not node.armed


@each_strategy
@given(steps=_STEPS)
def test_what_was_told_to_anybody_is_never_lost(sync: SyncStrategy, steps: list[Step]) -> None:
    nodes, network = _run(sync, steps)
    promised = VectorClock()
    for node in nodes.values():
        promised |= node.promised
    _settle(nodes, network)
    assert promised <= nodes["a"].replica.clock


@each_strategy
@given(steps=_STEPS)
def test_nobody_is_taken_to_have_what_he_does_not_have(sync: SyncStrategy, steps: list[Step]) -> None:
    network: list[Packet] = []
    nodes = {name: Node(name, network, sync) for name in NAMES}
    for written, step in enumerate(steps):
        _perform(step, nodes, network, written)
        for node in nodes.values():
            for other in nodes.values():
                assert getattr(node.machine, "stable", VectorClock()) <= other.replica.clock
            for peer in set(NAMES) - set(node.machine.pending_peers()) - {node.name}:
                assert node.replica.clock <= nodes[peer].replica.clock


@each_strategy
@given(steps=_STEPS)
def test_without_faults_a_write_costs_a_few_messages(sync: SyncStrategy, steps: list[Step]) -> None:
    network: list[Packet] = []
    nodes = {name: Node(name, network, sync) for name in NAMES}
    writes = [step for step in steps if step.kind == "write"]
    delivered = 0
    for written, step in enumerate(writes):
        _perform(step, nodes, network, written)
        delivered += _settle(nodes, network)
    # Two peers are told, two acknowledge, two hear that everybody has it.
    assert delivered <= 6 * len(writes)


@each_strategy
@given(steps=_STEPS)
def test_a_fresh_replica_that_is_told_everything_equals_the_others(
    sync: SyncStrategy, steps: list[Step]
) -> None:
    nodes, network = _run(sync, steps)
    _settle(nodes, network)
    full = Replica("reader")
    assert full.join(nodes["a"].replica.delta_since(VectorClock()))
    assert full.as_dict() == nodes["a"].replica.as_dict()


# Each agent writes a place once before they meet. If it overwrites itself, the others may meet one stage of a passing
# conflict or another, or none, depending on what travels together; only what is left at the end is the same.
_EPOCHS = st.lists(
    st.lists(
        st.builds(Step, st.just("write"), st.sampled_from(NAMES), st.integers(0, 5)),
        max_size=8,
        unique_by=lambda step: (step.agent, PATHS[step.number % len(PATHS)].partition(".")[0]),
    ),
    max_size=4,
)


@given(epochs=_EPOCHS)
def test_every_way_ends_in_the_document_and_the_conflicts_of_full_sync(epochs: list[list[Step]]) -> None:
    """Agents write apart and then meet, some times over: the same writes are concurrent, whatever way they synchronise."""
    ends = []
    for sync in STRATEGIES:
        network: list[Packet] = []
        nodes = {name: Node(name, network, sync) for name in NAMES}
        for epoch, steps in enumerate(epochs):
            for written, step in enumerate(steps):
                _perform(step, nodes, [], 10 * epoch + written)
            _settle(nodes, network)
        found = distinct_conflicts(conflict for node in nodes.values() for conflict in node.replica.conflicts)
        listed = [(conflict.id, conflict.path, dict(conflict.values)) for conflict in found]
        ends.append((nodes["a"].replica.as_dict(), nodes["a"].replica.clock, listed))
    assert all(end == ends[0] for end in ends)
