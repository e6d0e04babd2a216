"""The delta synchronisation machine, driven by hand: every message, timer and crash is the test's own doing."""

from typing import Any

import pytest

from pytest_convergence._engine.base.effects import CancelTimer, Effect, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.state.delta_sync import RESEND_TIMER, DeltaSync, SyncMessage, SyncTiming
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence.errors import ConvergenceUsageError


class Node:
    """A machine, its durable storage, and what it has sent."""

    def __init__(self, name: str, peers: str, initial: dict | None = None) -> None:
        self.name = name
        self.peers = peers
        self.durable: dict[str, Any] = {}
        self.outbox: list[Send] = []
        self.timer: SetTimer | None = None
        self.history: list[Effect] = []
        self.live(initial)

    def live(self, initial: dict | None = None) -> None:
        self.timer = None
        self.replica = Replica(self.name, initial)
        self.machine = DeltaSync(self.replica, self.peers)
        self.replica.on_update = lambda update: self.do(self.machine.on_command("update", update))
        self.do(self.machine.on_start(dict(self.durable)))

    def do(self, effects: list[Effect]) -> None:
        unsynced: dict[str, Any] = {}
        for effect in effects:
            self.history.append(effect)
            if isinstance(effect, Persist):
                unsynced[effect.key] = effect.value
            elif isinstance(effect, Sync):
                self.durable.update(unsynced)
                unsynced.clear()
            elif isinstance(effect, Send):
                assert not unsynced, "a promise before it is durable"
                self.outbox.append(effect)
            elif isinstance(effect, SetTimer):
                self.timer = effect
            elif isinstance(effect, CancelTimer):
                self.timer = None
        assert not unsynced

    def ring(self) -> None:
        assert self.timer is not None
        self.timer = None
        self.do(self.machine.on_timer(RESEND_TIMER))

    def take(self) -> list[Send]:
        sent, self.outbox = self.outbox, []
        return sent


def _deliver(nodes: dict[str, Node], sender: Node, messages: list[Send]) -> None:
    for message in messages:
        if message.to in nodes:
            nodes[message.to].do(
                nodes[message.to].machine.on_message(sender.name, message.kind, message.payload)
            )


def _settle(*nodes: Node) -> int:
    """Deliver until nobody says anything; return how many messages it took."""
    by_name = {node.name: node for node in nodes}
    count = 0
    while any(node.outbox for node in nodes):
        for node in nodes:
            sent = node.take()
            count += len(sent)
            _deliver(by_name, node, sent)
    return count


def _kinds(sent: list[Send]) -> list[tuple[str, str]]:
    return [(message.kind, message.to) for message in sent]


def test_a_local_update_is_made_durable_and_told_to_everybody_at_once() -> None:
    a = Node("a", "abc")
    assert not a.history
    a.replica.set("x", 1)
    assert [type(effect).__name__ for effect in a.history] == [
        "Persist", "Persist", "Persist", "Sync", "Send", "Send", "SetTimer",
    ]  # fmt: skip
    assert _kinds(a.take()) == [("state_update", "b"), ("state_update", "c")]
    assert a.machine.pending_peers() == ("b", "c")
    assert a.timer == SetTimer(RESEND_TIMER, NS_PER_SECOND)


def test_when_all_have_acknowledged_nobody_waits_for_anybody() -> None:
    nodes = [Node(name, "abc") for name in "abc"]
    nodes[0].replica.set("x", 1)
    count = _settle(*nodes)
    assert count == 2 + 2 + 2, "told, acknowledged, and told that everybody has it"
    for node in nodes:
        assert node.replica.as_dict() == {"x": 1}
        assert not node.machine.pending
        assert node.timer is None
        assert node.machine.stable == node.replica.clock
    assert len({node.machine.view() for node in nodes}) == 1


def test_each_update_is_told_once_while_nothing_is_lost() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    for number in range(5):
        a.replica.set(f"x{number}", number)
    sent = a.take()
    assert [len(message.payload.delta) for message in sent] == [1] * 5
    _deliver({"b": b}, a, sent)
    assert b.replica.as_dict() == a.replica.as_dict()


def test_an_update_is_told_again_until_it_is_acknowledged() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    a.replica.set("x", 1)
    a.take()
    for _ in range(3):
        a.ring()
        assert _kinds(a.take()) == [("state_update", "b")]
    a.ring()
    _settle(a, b)
    assert b.replica.get("x") == 1
    assert a.timer is None


def test_the_interval_doubles_up_to_a_bound_and_ends_up_in_the_background() -> None:
    a = Node("a", "ab")
    a.replica.set("x", 1)
    delays = []
    for _ in range(7):
        assert a.timer is not None
        delays.append((a.timer.delay_ns // NS_PER_SECOND, a.timer.background))
        a.ring()
    assert delays == [(1, False), (2, False), (4, False), (8, False), (8, False), (8, True), (8, True)]


def test_a_lost_acknowledgement_costs_a_message_and_changes_nothing() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    a.replica.set("x", 1)
    _deliver({"b": b}, a, a.take())
    assert _kinds(b.take()) == [("state_ack", "a")]
    version = b.replica.version
    a.ring()
    _settle(a, b)
    assert b.replica.version == version
    assert not a.machine.pending


def test_a_delta_whose_start_is_missing_is_asked_for() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    a.replica.set("x", 1)
    a.take()
    a.replica.set("y", 2)
    _deliver({"b": b}, a, a.take())
    assert b.replica.as_dict() == {}
    asked = b.take()
    assert _kinds(asked) == [("sync_request", "a")]
    _deliver({"a": a}, b, asked)
    answer = a.take()
    assert _kinds(answer) == [("sync_response", "b")]
    _deliver({"b": b}, a, answer)
    assert b.replica.as_dict() == {"x": 1, "y": 2}
    _settle(a, b)
    assert not a.machine.pending


def test_duplicated_and_reordered_messages_change_nothing() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    for number in range(4):
        a.replica.append("log", number)
    sent = a.take()
    _deliver({"b": b}, a, [*reversed(sent), *sent, *reversed(sent)])
    _settle(a, b)
    assert b.replica.get("log") == [0, 1, 2, 3]
    assert b.replica.version == 4


def test_who_received_an_update_tells_it_on_when_its_author_cannot() -> None:
    a, b, c = (Node(name, "abc") for name in "abc")
    a.replica.set("x", 1)
    _deliver({"b": b}, a, a.take())  # c misses it, and a is never heard of again
    b.take()
    assert b.machine.pending_peers() == ("c",)
    assert b.timer == SetTimer(RESEND_TIMER, 2 * NS_PER_SECOND), "a relay gives the author time"
    b.ring()
    _settle(b, c)
    assert c.replica.get("x") == 1
    assert not b.machine.pending


def test_a_restarted_machine_remembers_what_it_promised() -> None:
    a, b = Node("a", "ab", {"start": True}), Node("b", "ab")
    a.replica.set("x", 1)
    a.replica.set("x", 2)
    a.replica.increment("n", 5)
    _settle(a, b)
    b.replica.set("from", "b")
    _settle(a, b)
    clock, document, version = a.replica.clock, a.replica.as_dict(), a.replica.version
    a.live({"start": "is not written again"})
    assert a.replica.clock == clock
    assert a.replica.as_dict() == document
    assert a.replica.version == version
    assert _kinds(a.outbox) == [("sync_request", "b")]
    a.replica.set("x", 3)
    assert a.replica.clock["a"] == clock["a"] + 1, "a number that was used is not used again"
    _settle(a, b)
    assert b.replica.as_dict() == a.replica.as_dict()
    assert not a.machine.pending


def test_a_restarted_machine_catches_up_and_tells_what_others_miss() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    a.replica.set("x", 1)
    _settle(a, b)
    a.replica.set("mine", 1)
    b.replica.set("yours", 2)
    a.take()  # lost with the crash
    b.take()
    a.live()
    _settle(a, b)
    assert a.replica.as_dict() == b.replica.as_dict() == {"x": 1, "mine": 1, "yours": 2}
    assert not a.machine.pending
    assert not b.machine.pending


def test_what_was_replaced_is_removed_from_storage() -> None:
    a = Node("a", "ab")
    for number in range(10):
        a.replica.set("x", number)
        a.replica.increment("n")
    kept = [key for key, value in a.durable.items() if key.startswith("sync.update.") and value is not None]
    assert len(kept) == 2


def test_a_crash_between_writing_and_promising_leaves_the_old_promise() -> None:
    a = Node("a", "ab")
    a.replica.set("x", 1)
    before = dict(a.durable)
    a.replica.set("x", 2)
    for written in ("update only", "update and removal"):
        durable = {**a.durable, "sync.clock": before["sync.clock"]}
        if written == "update only":
            durable |= before
        machine = DeltaSync(Replica("a"), "b")
        machine.on_start(durable)
        assert machine.replica.clock["a"] == 1


def test_a_peer_that_answers_is_told_again_soon() -> None:
    a, b = Node("a", "ab"), Node("b", "ab")
    a.replica.set("x", 1)
    for _ in range(4):
        a.ring()
    a.take()
    assert a.timer == SetTimer(RESEND_TIMER, 8 * NS_PER_SECOND)
    b.replica.set("y", 1)
    _deliver({"a": a}, b, b.take())
    assert a.timer == SetTimer(RESEND_TIMER, 2 * NS_PER_SECOND)


def test_an_agent_alone_waits_for_nobody() -> None:
    a = Node("a", "a")
    a.replica.set("x", 1)
    assert not a.outbox
    assert not a.machine.pending
    assert a.machine.on_timer(RESEND_TIMER) == []
    assert a.machine.on_timer("another") == []


def test_what_is_no_message_of_a_peer_is_refused() -> None:
    a = Node("a", "ab")
    message = SyncMessage(a.replica.clock, a.replica.clock)
    with pytest.raises(ConvergenceUsageError, match="unknown peer 'stranger'"):
        a.machine.on_message("stranger", "state_ack", message)
    with pytest.raises(ConvergenceUsageError, match="did you mean 'state_ack'"):
        a.machine.on_message("b", "state_ark", message)
    with pytest.raises(ConvergenceUsageError, match="unknown command"):
        a.machine.on_command("updates", None)


def test_a_timing_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ConvergenceUsageError, match="resend_ns must be positive"):
        SyncTiming(resend_ns=0)
    with pytest.raises(ConvergenceUsageError, match="counts from 1 up"):
        SyncTiming(patience=0)
