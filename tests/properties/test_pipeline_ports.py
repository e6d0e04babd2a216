"""However acknowledgements, grants and repetitions come, a port keeps the order of a key and the room of a stage."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.effects import Effect, Send, SetTimer
from pytest_convergence._engine.patterns.pipeline_port import OK, Letter, Parcel, Port

LETTERS = st.lists(
    st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from([OK, OK, OK, "dead"])), max_size=12
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["ack", "grant", "resend", "add"]), st.integers(0, 11)), max_size=40
)


class Peer:
    """Drives a port as its agent does, and remembers what was sent."""

    def __init__(self, limit: int) -> None:
        self.port = Port(0, limit, 250, self.post)
        self.sent: list[Letter] = []
        self.timers: set[str] = set()
        self.granted = limit

    def post(self, letter: Letter) -> list[Effect]:
        self.sent.append(letter)
        return [Send("next", "item", letter.parcel.id)]

    def react(self, effects: list[Effect]) -> None:
        self.timers |= {effect.name for effect in effects if isinstance(effect, SetTimer)}

    def do(self, step: str, number: int, pool: list[Letter]) -> None:
        if step == "ack" and number in self.port.waiting and any(s.parcel.id == number for s in self.sent):
            self.react(self.port.settle(number) + self.port.pump())
        elif step == "grant":
            self.granted = max(self.granted, number)
            self.port.grant(number)
            self.react(self.port.pump())
        elif step == "resend" and any(letter.parcel.id == number for letter in self.sent):
            self.react(self.port.send(number))
        elif step == "add" and pool:
            self.port.add(pool.pop(0))
            self.react(self.port.pump())


def letters_of(kinds: list[tuple[Any, str]]) -> list[Letter]:
    return [Letter(Parcel(id, id, order, id), kind) for id, (order, kind) in enumerate(kinds)]


def in_flight(peer: Peer) -> list[Letter]:
    under_way = {letter.parcel.id: letter for letter in peer.sent if letter.parcel.id in peer.port.waiting}
    return [letter for letter in under_way.values() if letter.kind == OK]


@given(LETTERS, STEPS, st.integers(1, 4))
def test_a_port_never_sends_more_than_there_is_room_for_nor_two_of_a_key_at_a_time(kinds, steps, limit):
    peer, pool = Peer(limit), letters_of(kinds)
    for step, number in steps:
        peer.do(step, number, pool)
        flying = in_flight(peer)
        keys = [letter.parcel.order for letter in flying if letter.parcel.order is not None]
        assert len(keys) == len(set(keys))
        passed = sum(letter.kind == OK for letter in {s.parcel.id: s for s in peer.sent}.values())
        assert passed <= peer.granted


@given(LETTERS, STEPS)
def test_in_the_end_everything_is_sent_and_the_items_of_a_key_in_their_order(kinds, steps):
    peer, pool = Peer(1), letters_of(kinds)
    for step, number in steps:
        peer.do(step, number, pool)
    while pool:
        peer.do("add", 0, pool)
    peer.do("grant", len(kinds), pool)
    for _ in kinds:
        for id in list(peer.port.waiting):
            peer.do("ack", id, pool)
    assert not peer.port.waiting
    first = list(dict.fromkeys(letter.parcel.id for letter in peer.sent if letter.kind == OK))
    for key in ("x", "y"):
        mine = [id for id in first if kinds[id][0] == key]
        assert mine == sorted(mine)
    assert set(peer.port.settled) == set(range(len(kinds)))
