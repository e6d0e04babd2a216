"""Datagrams: UDP and Unix.

A datagram of UDP is a message of the network by itself: it may be lost, come twice, or out of order; what finds its
buffer full is dropped. One of a Unix socket is there at once and is never lost: its sender has to wait for room.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.packets import DATAGRAM, UNREACHABLE, Address, Packet
from pytest_convergence._engine.sim.net.descriptors import READ, WRITE
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror
from pytest_convergence._engine.sim.reading import reads_at_once

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["DatagramSocket"]

_LONGEST: Final[dict[int, int]] = {socket.AF_INET: 65_507, socket.AF_INET6: 65_527}
_MOST_QUEUED: Final = 10
"""More than so many datagrams never wait at a Unix socket with a path (Linux: net.unix.max_dgram_qlen)."""

_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_EVERYBODY: Final = "255.255.255.255"


@final
class DatagramSocket(KernelSocket):
    """A socket for datagrams.

    Attributes:
        unread: what has come and was not read, and which Unix socket has sent it.
    """

    __slots__ = ("_blocked", "_hot", "_size", "_unread_elsewhere", "_waiting", "unread")

    def __init__(self, stack: Stack, family: int, proto: int = 0) -> None:
        super().__init__(stack, family, socket.SOCK_DGRAM, proto)
        self._hot = stack.descriptors.hot
        self.unread: deque[tuple[Packet, DatagramSocket | None]] = deque()
        self._size = 0
        self._blocked = False
        self._unread_elsewhere = 0  # bytes that were sent, and lie unread in the queues of Unix sockets
        self._waiting: dict[DatagramSocket, None] = {}

    def readiness(self) -> int:
        """Ready to be read when something is there; to be written, unless a Unix socket has no room."""
        ready = READ if self.unread or self.error else 0
        return ready if self._blocked else ready | WRITE

    def connect(self, remote: Address) -> bool:
        """Name the one address that is sent to and received from."""
        if self.family == _UNIX:
            self._peer(remote)
        elif remote[0] == _EVERYBODY and not self.reuses(socket.SO_BROADCAST):
            raise oserror(errno.EACCES)
        else:
            self.local = self.stack.source_for(self, remote)
        self.remote = remote
        return True

    # -- sending -------------------------------------------------------------------------------------------------------

    def sendto(self, data: Any, remote: Address | None) -> int:
        """Send one datagram.

        Raises:
            OSError: nobody to send to, too long, no room, or the last one was answered by "port unreachable".
        """
        if self.error:
            self.take_error()
        target = remote or self.remote
        if target is None:
            raise oserror(errno.ENOTCONN if self.family == _UNIX else errno.EDESTADDRREQ)
        payload = bytes(data)
        if self.family == _UNIX:
            self._send_unix(payload, target)
            return len(payload)
        if len(payload) > _LONGEST[self.family]:
            raise oserror(errno.EMSGSIZE)
        if not target[1]:
            raise oserror(errno.EINVAL)
        if _is_multicast(target[0]):
            raise oserror(errno.ENETUNREACH)  # it is not simulated: there is no route to it
        if target[0] == _EVERYBODY and not self.reuses(socket.SO_BROADCAST):
            raise oserror(errno.EACCES)
        if self.local is None:
            self.bind(("0.0.0.0" if self.family == socket.AF_INET else "::", 0))
        source = self.stack.source_for(self, target)
        self.stack.transmit(Packet(DATAGRAM, source, target, 0, payload))
        return len(payload)

    def _peer(self, target: Address) -> DatagramSocket:
        peer = self.stack.pairs.get(target) or self.stack.unix.get(target[0])
        if peer is None:
            abstract = target[0].startswith("\0")
            raise oserror(errno.ECONNREFUSED if target == self.remote or abstract else errno.ENOENT)
        if not isinstance(peer, DatagramSocket):
            raise oserror(errno.EPROTOTYPE)
        return peer

    def _send_unix(self, payload: bytes, target: Address) -> None:
        peer = self._peer(target)
        most = self.buffer(socket.SO_SNDBUF)
        if len(payload) > most:
            raise oserror(errno.EMSGSIZE)
        is_pair = self.remote is not None and peer.remote == self.local
        if self._unread_elsewhere + len(payload) > most or (not is_pair and len(peer.unread) > _MOST_QUEUED):
            self._blocked = True
            peer._waiting[self] = None
            self.changed()
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        source = self.local or self.stack.unnamed()
        self._unread_elsewhere += len(payload)
        peer._keep(Packet(DATAGRAM, source, target, 0, payload), self)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """Take a datagram of UDP, or the news that one has found nobody."""
        if packet.kind == UNREACHABLE:
            if self.remote is not None:  # Linux tells connected sockets only
                self.error = errno.ECONNREFUSED
                self.changed()
            return
        size = self._size + len(packet.data)
        if size > self.buffer(socket.SO_RCVBUF):
            return
        self._size = size
        self.unread.append((packet, None))
        reader, loop = self.reader, self.stack.reading_loop
        if reader is None:
            self.changed()
        elif loop is None or not reads_at_once(loop, self, reader):
            self._hot[self.number] = self

    def _keep(self, packet: Packet, sender: DatagramSocket) -> None:
        self.unread.append((packet, sender))
        self._size += len(packet.data)
        self.changed()

    def recvfrom(self, size: int, *, peek: bool = False) -> tuple[bytes, Any] | None:
        """Read one datagram and where it comes from; ``None`` if there is none yet."""
        if self.error:
            self.take_error()
        if not self.unread:
            return None
        packet, sender = self.unread[0]
        if not peek:
            self.unread.popleft()
            self._size -= len(packet.data)
            if sender is not None or self._waiting:
                self._let_go_on(packet, sender)
            if self._hot:
                self.changed()
        return packet.data[:size], self.show(packet.source) or None

    def _let_go_on(self, packet: Packet, sender: DatagramSocket | None) -> None:
        """There is room again: wake those who wait for it."""
        if sender is not None:
            sender._unread_elsewhere -= len(packet.data)
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each._blocked = False
            each.changed()

    def close(self) -> None:
        """The program has closed it."""
        if self.is_open:
            while self.unread:
                self._let_go_on(*self.unread.popleft())
            self.vanish()
            self.stack.release(self)


@cache
def _is_multicast(ip: str) -> bool:
    if ":" in ip:
        return ip[:2].lower() == "ff"
    return 224 <= int(ip.partition(".")[0]) < 240
