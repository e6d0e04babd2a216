"""What the schedule does to the bytes of a connection that it could not do to a message.

They are cut, and the connection is reset. Where that is asked for, an answer comes late, and what has come is read bit by
bit. Both hold up what follows on the connection, and nothing on another one; until bytes are read their sender has no room
for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.base.choices import Domain, smaller
from pytest_convergence._engine.base.packets import RESET, Packet
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import READ_SLOWLY, Aside
from pytest_convergence._engine.sim.links import answers
from pytest_convergence._engine.sim.node import NEVER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.net.stack import Stack
    from pytest_convergence._engine.sim.node import Life

__all__ = ["SILENCE", "Disturbance", "place_in"]

_WHOLE: Final = 0.9
_PARTS: Final = 1_000
_FINE: Final = 100
"""So finely a thousandth is divided where it is more than a byte; no packet is longer than 65,536 bytes."""

_PAUSE_NS: Final = 1_000
_NS_PER_MS: Final = 1_000_000
_MAGNITUDES: Final = 1_000.0
_MOST_READS: Final = 15


def _shared(thousandths: float) -> int:
    """Encode a place in a packet: whole thousandths, and a thousand for each hundredth of one more.

    So the places in a small packet, where a thousandth is less than a byte, are small numbers.
    """
    whole = int(thousandths)
    return whole + int((thousandths - whole) * _FINE) * _PARTS


def _share(encoded: int) -> str:
    """Say in words how much of a packet lies before a place."""
    return f"{(encoded % _PARTS * _FINE + encoded // _PARTS) / (_PARTS * _FINE // 100):g} % of its bytes"


def place_in(size: int, encoded: int) -> int:
    """Return how many of ``size`` bytes lie before a place: at least one, and not all."""
    thousandths, hundredths = encoded % _PARTS, encoded // _PARTS
    if size <= _PARTS:
        return min(max(1, size * thousandths // _PARTS), size - 1)
    # The first place lies one thousandth after the beginning: it stands for the first byte.
    return 1 + (size - 1) * ((thousandths - 1) * _FINE + hundredths) // ((_PARTS - 1) * _FINE)


@final
class CutDomain:
    """Where a packet's bytes are cut in two: 0 is nowhere; any byte can be the first of the second part."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Nine of ten are left whole."""
        return 0 if u < _WHOLE else _shared(1 + (u - _WHOLE) / (1 - _WHOLE) * (_PARTS - 1))

    def describe(self, option: int) -> str:
        """Say it in words."""
        return f"read in two parts, cut after {_share(option)}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Cuts in round places."""
        thousandths = option % _PARTS
        rounded = (thousandths,) if option > thousandths else ()
        return (*(each for each in (1, 500) if each < thousandths), *rounded)


@final
class ResetDomain:
    """A connection is reset at a packet: before any of its bytes (1), or after those before a place (its code, plus 1)."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Half of the resets come before the bytes, the others somewhere among them."""
        if u < 0.5:
            return 1
        thousandths = 1 + (u - 0.5) * 2 * (_PARTS - 2)
        last = _PARTS - 2
        # The last of so many steps takes two thousandths, up to the last byte.
        return 1 + _shared(thousandths if thousandths < last else last + (thousandths - last) * 2)

    def describe(self, option: int) -> str:
        """Say it in words."""
        return "connection reset instead" if option == 1 else f"connection reset after {_share(option - 1)}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Before any byte, or in a rounder place."""
        rounded = (option - 1) % _PARTS + 1
        return tuple(sorted({each for each in (1, rounded) if each < option}))


@final
class LateDomain:
    """By how many milliseconds an answer comes late: from a tenth of a second to a hundred, each magnitude as likely."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Map ``u`` to a time that is spread over three magnitudes."""
        return int(100 * _MAGNITUDES**u)

    def describe(self, option: int) -> str:
        """Say it in words."""
        return f"came {format_ns(option * _NS_PER_MS)} late"

    def weaker(self, option: int) -> tuple[int, ...]:
        """Shorter times."""
        return smaller(option)


@final
class SlowDomain:
    """In how many parts a packet is read, and over how long: ``milliseconds * 16 + parts - 2``."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """From two parts to sixteen, over a hundredth of a second to ten, each magnitude as likely."""
        scaled = u * _MOST_READS
        return int(10 * _MAGNITUDES ** (scaled % 1)) << 4 | int(scaled)

    def describe(self, option: int) -> str:
        """Say it in words."""
        return f"read in {(option & 15) + 2} parts over {format_ns((option >> 4) * _NS_PER_MS)}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """In a shorter time, or in two parts only."""
        parts, milliseconds = option & 15, option >> 4
        shorter = [each << 4 | parts for each in smaller(milliseconds)]
        return (*shorter, milliseconds << 4) if parts else tuple(shorter)


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
_LATE: Final = LateDomain()
_SLOW: Final = SlowDomain()


@final
class _Threat:
    """A kind of fault that strikes a packet now and then."""

    __slots__ = ("_domain", "_fabric", "_following", "_stem", "next")

    def __init__(self, fabric: Fabric, stem: str, odds: float, domain: Domain) -> None:
        self._fabric = fabric
        self._stem = stem
        self._domain = domain
        self._following = fabric.choices.rare(stem, odds, domain)
        self.next = self._following(0)

    def strikes(self, count: int) -> int:
        """Return how it strikes the packet with this number, 0 for not at all."""
        if self.next is None or self.next[0] > count:
            return 0
        number, option = self.next
        self.next = self._following(count)
        self._fabric.choices.struck(self._stem, number, option, self._domain)
        return option


@final
class _Direction:
    """What is in store for the bytes from one host to another."""

    __slots__ = ("answers", "count", "cuts", "due", "late", "reset", "slow")

    def __init__(self, fabric: Fabric, sender: str, name: str) -> None:
        conditions, link = fabric.conditions, f"{sender}→{name}"
        self.count = 0
        self.answers = 0
        self.cuts: Iterator[int] = answers(fabric.choices.every(f"cut {link}", _CUT))
        self.reset = _Threat(fabric, f"reset {link}", conditions.reset, _RESET)
        self.late = _Threat(fabric, f"late {link}", conditions.late_answer, _LATE)
        self.slow = _Threat(fabric, f"slow {link}", conditions.slow_read, _SLOW)
        self.look_ahead()

    def look_ahead(self) -> None:
        """Find the number of the next packet with bytes that is in for more than a cut."""
        self.due = min(NEVER if each.next is None else each.next[0] for each in (self.reset, self.slow))


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
        direction = self._directions.get(sender) or self._direction(sender)
        direction.count = count = direction.count + 1
        if count >= direction.due and self._is_struck(stack, sender, direction, packet):
            return None
        option = next(direction.cuts)
        if not option or len(packet.data) < 2:
            return packet
        first, rest = _divide(packet, place_in(len(packet.data), option))
        self._comes_after(_PAUSE_NS, stack, rest)
        return first

    def _is_struck(self, stack: Stack, sender: str, direction: _Direction, packet: Packet) -> bool:
        """Let the connection be reset, or the packet be read bit by bit, if that is to be."""
        option = direction.reset.strikes(direction.count)
        if option:
            self._reset(stack, option, packet)
        is_struck = bool(option) or self._is_read_slowly(stack, sender, direction, packet)
        direction.look_ahead()
        return is_struck

    def late_ns(self, stack: Stack, sender: str, packet: Packet) -> int:
        """Return by how much a packet with bytes comes late, in nanoseconds; only answers do."""
        fabric = self._fabric
        if not fabric.conditions.late_answer or fabric.is_calm:
            return 0
        flow = stack.flows.get((packet.target, packet.source))
        if flow is None or not flow.has_asked:
            return 0
        direction = self._direction(sender)
        direction.answers += 1
        return direction.late.strikes(direction.answers) * _NS_PER_MS

    def _direction(self, sender: str) -> _Direction:
        direction = self._directions.get(sender)
        if direction is None:
            direction = self._directions[sender] = _Direction(self._fabric, sender, self._name)
        return direction

    def _is_read_slowly(self, stack: Stack, sender: str, direction: _Direction, packet: Packet) -> bool:
        """Let a packet be read bit by bit, if it is to be."""
        option = direction.slow.strikes(direction.count)
        if not option:
            return False
        world, life = self._fabric.world, stack.node.life
        size, begun = len(packet.data), packet.seq
        what = f"{size} bytes of data packet {sender}→{self._name} #{direction.count}"
        parts = min((option & 15) + 2, size)
        for number in range(parts, 0, -1):
            first, rest = (packet, packet) if number == 1 else _divide(packet, len(packet.data) // number)
            at_ns = world.now_ns + (option >> 4) * _NS_PER_MS * (parts - number + 1) // parts
            words = f"has read {first.seq + len(first.data) - begun} of the {what}"
            world.at(at_ns, self._read_slowly, (stack, life, first, words))
            packet = rest
        return True

    def _read_slowly(self, event: tuple[Stack, Life, Packet, str]) -> None:
        """A part of a packet is read at last."""
        stack, life, packet, words = event
        fabric = self._fabric
        if fabric.asides is not None and life.alive:
            before = fabric.trace.dropped + len(fabric.trace)
            fabric.asides.append(Aside(before, fabric.world.now_ns, self._name, words, READ_SLOWLY))
        stack.arrive_here((life, packet))

    def _comes_after(self, pause_ns: int, stack: Stack, packet: Packet) -> None:
        world = self._fabric.world
        world.at(world.now_ns + pause_ns, stack.arrive_here, (stack.node.life, packet))

    def _reset(self, stack: Stack, option: int, packet: Packet) -> None:
        if option > 1 and len(packet.data) > 1:
            stack.receive(_divide(packet, place_in(len(packet.data), option - 1))[0])
        stack.receive(Packet(RESET, packet.source, packet.target, connection=packet.connection))
        stack.transmit(packet.refusal())


def _divide(packet: Packet, place: int) -> tuple[Packet, Packet]:
    """Cut a packet in two before a byte."""
    data = packet.data
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
