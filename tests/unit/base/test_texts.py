"""Values as text for people."""

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.texts import text_of


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_repr_that_raises_is_told() -> None:
    assert text_of(Broken()) == "<Broken: its __repr__ raised RuntimeError>"


def test_addresses_are_left_out() -> None:
    assert text_of(object()) == "<object object>"


def test_long_values_are_cut() -> None:
    assert text_of("x" * 100, 10) == "'xxxxxxxxx… (102 characters)"


def test_a_message_is_named() -> None:
    assert text_of(Message("a", "b", {"x": 1}, "read", 3)) == "a→b #3 read {'x': 1}"
