"""Ways to synchronise: their names and options, and what each of them sends, driven by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import CancelTimer, Effect, Persist, Send, SetTimer
from pytest_convergence._engine.state.event_log import EventLog, Snapshot, fold_events
from pytest_convergence._engine.state.event_sync import EventSync
from pytest_convergence._engine.state.gossip_sync import GOSSIP_TIMER, GossipSync
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.sizes import Sizes
from pytest_convergence._engine.state.sync import SYNCS, Crdt, Delta, Full, Siblings, as_sync
from pytest_convergence._engine.state.sync import EventLog as EventStrategy
from pytest_convergence._engine.state.updates import DELETED, Update
from pytest_convergence.errors import ConvergenceUsageError

# -- names and options -------------------------------------------------------------------------------------------------


def test_a_name_means_a_strategy_with_its_usual_options() -> None:
    assert [as_sync(name).name for name in SYNCS] == ["full", "delta", "event", "crdt", "vector-clock"]
    mine = Delta(interval=0.5)
    assert as_sync(mine) is mine


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("delt", r"did you mean 'delta'\?"),
        (None, "neither the name of a strategy"),
        (Delta, "neither the name of a strategy"),
    ],
)
def test_what_is_no_strategy_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        as_sync(given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Full(interval=0), "resend_ns must be positive"),
        (lambda: Siblings(interval=-1), "interval"),
        (lambda: Crdt(period=0), "period must be greater than 0"),
        (lambda: EventStrategy(snapshot_every=0), "snapshot_every must be a whole number >= 1"),
        (lambda: EventStrategy(interval=0), "resend_ns"),
        (lambda: GossipSync(Replica("a"), "b", 0), "period of gossip must be positive"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        make()


@pytest.mark.parametrize("sync", SYNCS.values(), ids=repr)
def test_a_machine_refuses_what_it_does_not_know(sync: Any) -> None:
    machine = sync.machine(Replica("a"), "abc")
    with pytest.raises(ConvergenceUsageError, match="unknown command"):
        machine.on_command("updat", None)
    with pytest.raises(ConvergenceUsageError, match="unknown peer"):
        machine.on_message("d", "state_ack", None)
    with pytest.raises(ConvergenceUsageError, match="unknown kind"):
        machine.on_message("b", "state", None)
    assert not machine.on_timer("another")
    assert machine.view() == Replica("x").checksum


# -- driven by hand ----------------------------------------------------------------------------------------------------


class Node:
    """A machine, and what it has asked for."""

    def __init__(self, name: str, peers: str, sync: Any) -> None:
        self.name = name
        self.effects: list[Effect] = []
        self.durable: dict[str, Any] = {}
        self.replica = Replica(name)
        self.machine = sync.machine(self.replica, peers)
        self.replica.on_update = lambda update: self.do(self.machine.on_command("update", update))
        self.do(self.machine.on_start({}))

    def do(self, effects: list[Effect]) -> None:
        self.durable.update((effect.key, effect.value) for effect in effects if isinstance(effect, Persist))
        self.effects += effects

    def sent(self) -> list[Send]:
        found = [effect for effect in self.effects if isinstance(effect, Send)]
        self.effects.clear()
        return found

    def hear(self, sender: str, message: Send) -> None:
        self.do(self.machine.on_message(sender, message.kind, message.payload))


def _exchange(*nodes: Node) -> int:
    by_name = {node.name: node for node in nodes}
    count = 0
    while pending := [(node, message) for node in nodes for message in node.sent()]:
        for node, message in pending:
            count += 1
            if message.to in by_name:
                by_name[message.to].hear(node.name, message)
    return count


def test_full_sends_one_document_at_a_time() -> None:
    a, b = Node("a", "ab", Full()), Node("b", "ab", Full())
    for number in range(5):
        a.replica.set(f"x{number}", number)
    (first,) = a.sent()
    assert len(first.payload.delta) == 1, "what was there when it was sent"
    b.hear("a", first)
    (ack,) = b.sent()
    a.hear("b", ack)
    (second,) = a.sent()
    assert len(second.payload.delta) == 5, "the whole document, what the other has included"
    b.hear("a", second)
    assert b.replica.as_dict() == a.replica.as_dict()
    b.hear("a", first)
    assert b.replica.as_dict() == a.replica.as_dict(), "an old document takes nothing back"


def test_events_that_later_writes_replaced_are_sent_all_the_same() -> None:
    a, b = Node("a", "ab", EventStrategy()), Node("b", "ab", EventStrategy())
    for number in range(3):
        a.replica.set("x", number)
    messages = a.sent()
    for message in reversed(messages):  # the last first: what comes after a gap is not taken, but asked for
        b.hear("a", message)
    assert b.replica.get("x") == 0
    assert [message.kind for message in b.sent()] == ["sync_request", "sync_request", "state_ack"]
    for message in messages + messages:
        b.hear("a", message)
    assert b.replica.get("x") == 2
    log: EventLog = b.machine.log
    assert [event.stored for event in log.events()] == [0, 1, 2]


def test_a_log_is_compacted_and_who_lacks_what_is_gone_gets_the_snapshot() -> None:
    sync = EventStrategy(snapshot_every=3)
    a, b = Node("a", "ab", sync), Node("b", "ab", sync)
    for number in range(4):
        a.replica.set("x", number)
    a.sent()
    log: EventLog = a.machine.log
    assert (len(log), len(log.snapshot.updates)) == (1, 1)
    packed = log.since(VectorClock())
    assert packed.snapshot is log.snapshot
    assert len(packed) == 1
    assert log.since(VectorClock({"a": 3})).snapshot is None
    b.replica.set("y", 1)
    b.sent()
    for node in (a, b):
        node.do(node.machine.on_timer("sync.resend"))
        assert _exchange(a, b)
    assert a.replica.as_dict() == b.replica.as_dict() == {"x": 3, "y": 1}
    again = Node("b", "ab", sync)
    again.do(again.machine.on_start(b.durable))
    assert again.replica.as_dict() == b.replica.as_dict()
    assert again.replica.version >= b.replica.version


def test_what_was_written_before_there_was_a_log_is_its_snapshot() -> None:
    replica = Replica("a", {"x": 1})
    machine = EventSync(replica, "ab")
    effects = machine.on_start({})
    assert [effect.key for effect in effects if isinstance(effect, Persist)] == [
        "sync.snapshot",
        "sync.version",
    ]
    (told,) = (effect for effect in effects if isinstance(effect, Send))
    assert told.payload.delta.snapshot == Snapshot(replica.clock, replica.updates)


def test_a_log_takes_the_next_event_and_no_other() -> None:
    made: list[Update] = []
    replica = Replica("a", on_update=made.append)
    for number in range(3):
        replica.increment("n", number)
    log = EventLog()
    assert [log.append(made[place]) for place in (1, 0, 0, 1, 2)] == [False, True, False, True, True]
    assert [update.stored for update in log.fold()] == [3]
    log.compact()
    assert not log.append(made[1])
    assert log.fold() == fold_events(made)
    assert log.clock == replica.clock


# -- gossip ------------------------------------------------------------------------------------------------------------


def _ring(number: int) -> list[Node]:
    names = [f"n{place:03}" for place in range(number)]
    nodes = []
    for name in names:
        node = Node.__new__(Node)
        node.name, node.effects, node.durable = name, [], {}
        node.replica = Replica(name)
        node.machine = GossipSync(node.replica, names)
        node.replica.on_update = lambda update, node=node: node.do(node.machine.on_command("update", update))  # type: ignore[misc]
        nodes.append(node)
    return nodes


@pytest.mark.parametrize("number", [2, 3, 7, 16, 33, 100])
def test_a_rumour_reaches_everybody_with_about_n_log_n_messages(number: int) -> None:
    nodes = _ring(number)
    nodes[number // 2].replica.set("news", 1)
    messages = periods = 0
    while any(node.machine.pending for node in nodes):
        messages += _exchange(*nodes)
        for node in nodes:
            node.do(node.machine.on_timer(GOSSIP_TIMER))
        periods += 1
        assert periods <= 3 * math.ceil(math.log2(number)) + 4
    assert {node.replica.get("news") for node in nodes} == {1}
    partners = number - 1 if number <= 9 else math.ceil(math.log2(number))
    assert messages <= 3 * number * partners


def test_gossip_ends_when_there_is_nothing_new() -> None:
    a, b = _ring(2)
    a.replica.set("x", 1)
    assert a.effects[-1] == SetTimer(GOSSIP_TIMER, 250_000_000)
    (told,) = a.sent()
    b.hear(a.name, told)
    (ack,) = b.sent()
    assert ack.kind == "state_ack"
    a.do(a.machine.on_message(b.name, ack.kind, ack.payload))
    assert a.effects == [CancelTimer(GOSSIP_TIMER)]
    assert not a.machine.on_timer(GOSSIP_TIMER)


def test_a_partner_that_is_gone_makes_all_others_partners() -> None:
    nodes = _ring(12)
    first = nodes[0]
    first.replica.set("x", 1)
    reached = {message.to for message in first.sent()}
    timers = []
    for _ in range(100):
        first.do(first.machine.on_timer(GOSSIP_TIMER))
        timers += [effect for effect in first.effects if isinstance(effect, SetTimer)]
        reached |= {message.to for message in first.sent()}
    assert reached == {node.name for node in nodes[1:]}
    assert timers[-1] == SetTimer(GOSSIP_TIMER, 2_000_000_000, background=True)


def test_who_knows_less_asks_and_who_knows_more_tells() -> None:
    a, b = _ring(2)
    b.replica.set("x", 1)
    b.sent()
    message = Send(b.name, "sync_request", a.machine._message())
    b.hear(a.name, message)
    (answer,) = b.sent()
    assert answer.kind == "sync_response"
    a.do(a.machine.on_message(b.name, "state_ack", b.machine._message()))
    (ask,) = a.sent()
    assert ask.kind == "sync_request"
    a.hear(b.name, answer)
    assert a.replica.get("x") == 1


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_sizes_grow_with_what_is_sent() -> None:
    made: list[Update] = []
    replica = Replica("a", on_update=made.append)
    replica.set("x", "y")
    replica.set("x", "y" * 1000)
    sizes = Sizes()
    small, large = map(sizes.of, made)
    assert large - small == 999 + 16, "and the second write has seen one author"
    assert sizes.of(made[1]) == large, "remembered by name"
    assert sizes.of([*made]) > large + small
    assert sizes.of({"x": DELETED}) < sizes.of({"x": 10**9}) < sizes.of({"x": VectorClock({"a": 1, "b": 1})})
    assert sizes.of(None) == 1
    assert sizes.of(object()) > 10
    assert sizes.of(0.5) > 1
