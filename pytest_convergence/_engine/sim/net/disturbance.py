"""What the schedule does to the bytes of a connection that it could not do to a message: cut them, or reset it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.base.choices import Next
from pytest_convergence._engine.base.packets import RESET, Packet

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["SILENCE", "Disturbance"]

_WHOLE: Final = 0.9
_PARTS: Final = 1_000
_PAUSE_NS: Final = 1_000


@final
class CutDomain:
    """Where a packet's bytes are cut in two, in thousandths of their length; 0 is whole."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Nine of ten are left whole."""
        return 0 if u < _WHOLE else 1 + int((u - _WHOLE) / (1 - _WHOLE) * (_PARTS - 1))

    def describe(self, option: int) -> str:
        """Say it in words."""
        return f"read in two parts, cut after {option / 10:g} % of its bytes"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Cuts in round places."""
        return tuple(each for each in (1, 500) if each < option)


@final
class ResetDomain:
    """A connection is reset at a packet: before any of its bytes (1), or after ``option - 1`` thousandths of them."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Half of the resets come before the bytes, the others somewhere among them."""
        return 1 if u < 0.5 else 2 + int((u - 0.5) * 2 * (_PARTS - 2))

    def describe(self, option: int) -> str:
        """Say it in words."""
        if option == 1:
            return "connection reset instead"
        return f"connection reset after {(option - 1) / 10:g} % of its bytes"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Before any byte."""
        return (1,) if option > 1 else ()


@final
class SilenceDomain:
    """How a crash looks from outside: 0, connections are reset and refused; 1, nothing is heard of the machine."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """A third of the crashes are silent."""
        return int(u >= 2 / 3)

    def describe(self, option: int) -> str:
        """Say it in words."""
        return "the machine went silent: no connection was reset"

    def weaker(self, option: int) -> tuple[int, ...]:
        """There is nothing between."""
        return ()


SILENCE: Final = SilenceDomain()
_CUT: Final = CutDomain()
_RESET: Final = ResetDomain()


@final
class _Direction:
    """What is in store for the bytes from one host to another."""

    __slots__ = ("count", "cut", "following", "strikes")

    def __init__(self, fabric: Fabric, sender: str, name: str) -> None:
        self.count = 0
        self.cut: Callable[[], int] = fabric.choices.every(f"cut {sender}→{name}", _CUT)
        self.following: Next = fabric.choices.rare(f"reset {sender}→{name}", fabric.conditions.reset, _RESET)
        self.strikes = self.following(0)


@final
class Disturbance:
    """The choices about the bytes that arrive at one host."""

    __slots__ = ("_directions", "_fabric", "_name")

    def __init__(self, fabric: Fabric, name: str) -> None:
        self._fabric = fabric
        self._name = name
        self._directions: dict[str, _Direction] = {}

    def disturb(self, stack: Stack, sender: str, packet: Packet) -> Packet | None:
        """Decide about a packet with bytes; return what of it arrives now, ``None`` for nothing."""
        fabric = self._fabric
        if fabric.is_calm:
            return packet
        direction = self._directions.get(sender)
        if direction is None:
            direction = self._directions[sender] = _Direction(fabric, sender, self._name)
        direction.count += 1
        if direction.strikes is not None and direction.strikes[0] <= direction.count:
            self._reset(stack, sender, direction, packet)
            return None
        option = direction.cut()
        if not option or len(packet.data) < 2:
            return packet
        first, rest = _divide(packet, option)
        fabric.world.at(fabric.world.now_ns + _PAUSE_NS, stack.arrive_here, (stack.node.life, rest))
        return first

    def _reset(self, stack: Stack, sender: str, direction: _Direction, packet: Packet) -> None:
        assert direction.strikes is not None
        number, option = direction.strikes
        direction.strikes = direction.following(direction.count)
        self._fabric.choices.struck(f"reset {sender}→{self._name}", number, option, _RESET)
        if option > 1 and len(packet.data) > 1:
            stack.receive(_divide(packet, option - 1)[0])
        stack.receive(Packet(RESET, packet.source, packet.target, connection=packet.connection))
        stack.transmit(packet.refusal())


def _divide(packet: Packet, thousandths: int) -> tuple[Packet, Packet]:
    """Cut a packet in two, each with at least one byte."""
    data, size = packet.data, len(packet.data)
    place = min(max(1, size * thousandths // _PARTS), size - 1)
    kind, source, target, secret, number = (
        packet.kind,
        packet.source,
        packet.target,
        packet.secret,
        packet.connection,
    )
    return (
        Packet(kind, source, target, packet.seq, data[:place], 0, secret, number),
        Packet(kind, source, target, packet.seq + place, data[place:], 0, secret, number),
    )
