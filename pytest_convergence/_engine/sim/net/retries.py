"""How often a kernel sends again what the network has lost, and how long it waits before: Linux' figures for TCP.

After 200 ms, 400 ms, … up to two minutes, 15 times (``tcp_retries2``); the first packet of a connection after 1 s, 2 s, …,
six times (``tcp_syn_retries``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_convergence._engine.base.packets import CONNECT
from pytest_convergence._engine.base.time import NS_PER_SECOND

if TYPE_CHECKING:
    from pytest_convergence._engine.base.packets import Packet

__all__ = ["is_sent_again", "waits_ns"]

_RETRY_NS: Final = NS_PER_SECOND // 5
_CONNECT_RETRY_NS: Final = NS_PER_SECOND
_LONGEST_RETRY_NS: Final = 120 * NS_PER_SECOND
_RETRIES: Final = 15
_CONNECT_RETRIES: Final = 6


def waits_ns(packet: Packet) -> list[int]:
    """Return how long its sender waits for an answer to a packet: each time that it was sent before, and this time."""
    first_ns = _CONNECT_RETRY_NS if packet.kind == CONNECT else _RETRY_NS
    return [min(first_ns << attempt, _LONGEST_RETRY_NS) for attempt in range(packet.attempt + 1)]


def is_sent_again(packet: Packet) -> bool:
    """Whether it will be sent once more."""
    return packet.attempt < (_CONNECT_RETRIES if packet.kind == CONNECT else _RETRIES)
