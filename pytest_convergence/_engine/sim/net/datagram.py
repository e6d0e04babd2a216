"""Datagrams: UDP and Unix. Each is a message of the network by itself: it may be lost, come twice, or out of order."""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.packets import DATAGRAM, UNREACHABLE, Address, Packet
from pytest_convergence._engine.sim.net.descriptors import READ, WRITE
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["DatagramSocket"]

_LONGEST_V4: Final = 65_507
_UNIX: Final = getattr(socket, "AF_UNIX", -1)


@final
class DatagramSocket(KernelSocket):
    """A socket for datagrams; what finds its buffer full is dropped."""

    __slots__ = ("_queue", "_size")

    def __init__(self, stack: Stack, family: int, proto: int = 0) -> None:
        super().__init__(stack, family, socket.SOCK_DGRAM, proto)
        self._queue: deque[Packet] = deque()
        self._size = 0

    def readiness(self) -> int:
        """Ready to be read when something is there; always ready to be written."""
        return READ | WRITE if self._queue or self.error else WRITE

    def connect(self, remote: Address) -> bool:
        """Name the one address that is sent to and received from."""
        if self.family == _UNIX and remote[0] not in self.stack.unix:
            raise oserror(errno.ENOENT)
        if self.local is None and self.family != _UNIX:
            self.local = self.stack.source_for(self, remote)
        self.remote = remote
        return True

    def sendto(self, data: Any, remote: Address | None) -> int:
        """Send one datagram.

        Raises:
            OSError: nobody to send to, too long, or the last one was answered by "port unreachable".
        """
        self.take_error()
        target = remote or self.remote
        if target is None:
            raise oserror(errno.EDESTADDRREQ if self.family == _UNIX else errno.ENOTCONN)
        payload = bytes(data)
        if len(payload) > _LONGEST_V4 and self.family != _UNIX:
            raise oserror(errno.EMSGSIZE)
        if self.family == _UNIX:
            self._send_unix(payload, target)
            return len(payload)
        if target[0] == "255.255.255.255" and not self.reuses(socket.SO_BROADCAST):
            raise oserror(errno.EACCES)
        if self.local is None:
            self.bind(("0.0.0.0" if self.family == socket.AF_INET else "::", 0))
        source = self.stack.source_for(self, target)
        self.stack.transmit(Packet(DATAGRAM, source, target, 0, payload))
        return len(payload)

    def _send_unix(self, payload: bytes, target: Address) -> None:
        peer = self.stack.pairs.get(target) or self.stack.unix.get(target[0])
        if peer is None:
            raise oserror(errno.ENOENT)
        if not isinstance(peer, DatagramSocket):
            raise oserror(errno.EPROTOTYPE)
        source = self.local or self.stack.unnamed()
        self.stack.loop_back(Packet(DATAGRAM, source, target, 0, payload))

    def receive(self, packet: Packet) -> None:
        """Take a datagram, or the news that one has found nobody."""
        if packet.kind == UNREACHABLE:
            if self.remote is not None:  # Linux tells connected sockets only
                self.error = errno.ECONNREFUSED
                self.changed()
            return
        if self.remote is not None and self.family != _UNIX and packet.source != self.remote:
            return
        if self._size + len(packet.data) <= self.buffer(socket.SO_RCVBUF):
            self._queue.append(packet)
            self._size += len(packet.data)
            self.changed()

    def recvfrom(self, size: int, *, peek: bool = False) -> tuple[bytes, Any] | None:
        """Read one datagram and where it comes from; ``None`` if there is none yet."""
        self.take_error()
        if not self._queue:
            return None
        packet = self._queue[0]
        if not peek:
            self._queue.popleft()
            self._size -= len(packet.data)
            self.changed()
        return packet.data[:size], self.show(packet.source)

    def close(self) -> None:
        """The program has closed it."""
        if self.is_open:
            self.vanish()
            self.stack.release(self)
