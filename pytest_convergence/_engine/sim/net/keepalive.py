"""Keep-alive of TCP (RFC 1122, 4.2.3.6; tcp(7)): a connection on which nothing comes asks whether the other end is there.

1. A connection whose program has set ``SO_KEEPALIVE`` asks when nothing was heard for ``TCP_KEEPIDLE`` seconds, and again
   each ``TCP_KEEPINTVL`` seconds. After ``TCP_KEEPCNT`` questions without an answer it has timed out; with
   ``TCP_USER_TIMEOUT``, as soon as nothing was heard for that long and it has asked once.
2. Question and answer are packets of the network, with a place in the trace, and may be lost. A kernel that knows nothing
   of the connection answers by a reset.
3. The questions do not keep the world awake: while the other end is there and can be reached, they change nothing. While
   it is not, nothing else is needed for the connection to end, so the world goes on until it has.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.base.packets import PROBE, RESET
from pytest_convergence._engine.base.time import NS_PER_SECOND

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.stack import Stack
    from pytest_convergence._engine.sim.net.stream import StreamSocket
    from pytest_convergence._engine.sim.node import Node

__all__ = ["KEEPALIVE_OPTIONS", "KeepAlive"]

_IDLE: Final = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", -1))
_INTERVAL: Final = getattr(socket, "TCP_KEEPINTVL", -2)
_COUNT: Final = getattr(socket, "TCP_KEEPCNT", -3)
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", -4)

KEEPALIVE_OPTIONS: Final = {_IDLE: (7_200, 32_767), _INTERVAL: (75, 32_767), _COUNT: (9, 127)}
"""What Linux begins with, and the most that it takes; the least is 1."""


@final
class KeepAlive:
    """The questions of one end of a connection."""

    __slots__ = ("_flow", "_heard_ns", "_number", "_probes")

    def __init__(self, flow: StreamSocket) -> None:
        self._flow = flow
        self._number = self._probes = 0
        self._heard_ns = flow.stack.node.fabric.world.now_ns

    def _option(self, name: int) -> int:
        return int(self._flow.options.get((socket.IPPROTO_TCP, name), KEEPALIVE_OPTIONS[name][0]))

    def begin(self) -> None:
        """Ask when it is time: the option was set, or another one."""
        world = self._flow.stack.node.fabric.world
        world.vigils[self] = None
        self._arm(max(0, self._heard_ns + self._option(_IDLE) * NS_PER_SECOND - world.now_ns))

    def end(self) -> None:
        """Ask no more."""
        self._number += 1
        self._flow.stack.node.fabric.world.vigils.pop(self, None)

    def heard(self, wait_ns: int = 0) -> None:
        """Something has come, or has gone off; or will go off again in ``wait_ns``, and is not asked about before."""
        self._heard_ns = self._flow.stack.node.fabric.world.now_ns + wait_ns
        self._probes = 0

    def _arm(self, wait_ns: int) -> None:
        self._number += 1
        world = self._flow.stack.node.fabric.world
        world.at_background(world.now_ns + wait_ns, self._due, self._number)

    def _due(self, number: int) -> None:
        flow = self._flow
        if number != self._number:
            return  # it was set anew since
        if not flow.is_open or not flow.is_connected:
            self.end()
            return
        idle_ns = self._option(_IDLE) * NS_PER_SECOND
        silent_ns = flow.stack.node.fabric.world.now_ns - self._heard_ns
        if silent_ns < idle_ns:
            self._arm(idle_ns - silent_ns)
        elif self._is_enough(silent_ns):
            self.end()
            flow.transmit(RESET)
            flow.fail(errno.ETIMEDOUT)
        else:
            self._probes += 1
            flow.transmit(PROBE)
            self._arm(self._option(_INTERVAL) * NS_PER_SECOND)

    def _is_enough(self, silent_ns: int) -> bool:
        most_ms = int(self._flow.options.get((socket.IPPROTO_TCP, _USER_TIMEOUT), 0))
        if most_ms:
            return self._probes > 0 and silent_ns >= most_ms * 1_000_000
        return self._probes >= self._option(_COUNT)

    # -- whether anything will come of it ------------------------------------------------------------------------------

    def matters(self) -> bool:
        """Whether the connection will end by itself unless something happens: the other end is gone, or cut off."""
        flow = self._flow
        if not flow.is_open or not flow.is_connected:
            self.end()
            return False
        stack, remote = flow.stack, flow.remote
        assert remote is not None
        if stack.is_own(remote[0]):
            return not self._is_known_to(stack)
        peer = stack.directory.node_at(remote[0])
        if peer is None or peer.stack is None or not self._is_known_to(peer.stack):
            return True
        is_off = (not peer.life.alive and peer.powerless) or (peer.life.alive and peer.life.holds)
        return bool(is_off) or _is_severed(stack.node, peer) or _is_severed(peer, stack.node)

    def _is_known_to(self, stack: Stack) -> bool:
        flow = self._flow
        assert flow.local is not None
        assert flow.remote is not None
        other = stack.flows.get((flow.remote, flow.local))
        return other is not None and other.connection == flow.connection


def _is_severed(node: Node, other: Node) -> bool:
    link = node.fabric.link(node, other.name)
    return link.cut or any(rule.severs for rule in link.rules)
