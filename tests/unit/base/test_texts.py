"""Values as text for people."""

from types import SimpleNamespace

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.state.spreading import SyncMessage


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_repr_that_raises_is_told() -> None:
    assert text_of(Broken()) == "<Broken: its __repr__ raised RuntimeError>"


def test_addresses_are_left_out() -> None:
    assert text_of(object()) == "<object object>"


def test_values_of_this_package_say_themselves_in_words() -> None:
    seen = VectorClock({"a": 1})
    assert text_of(SyncMessage(seen, seen)) == "has seen a 1"
    assert text_of(SyncMessage(VectorClock(), seen)) == "has seen nothing"
    delta = SimpleNamespace(updates=("one", "two", "three", "four"))
    assert text_of(SyncMessage(seen, seen, delta)) == "one; two; three and 1 more"


def test_long_values_are_cut() -> None:
    assert text_of("x" * 100, 10) == "'xxxxxxxxx… (102 characters)"


def test_a_message_is_named() -> None:
    assert text_of(Message("a", "b", {"x": 1}, "read", 3)) == "a→b #3 read {'x': 1}"
