"""Streams: TCP connections and Unix sockets, and the sockets that listen for them.

1. Bytes have places in their stream, so that packets may arrive in any order, twice, or again after they were lost; what
   a program reads is in order and complete (RFC 9293). What it gets in one read is up to the schedule: a packet may be
   cut in two anywhere.
2. A lost packet is sent again by the sender's kernel, after 200 ms, 400 ms, … up to two minutes; after 15 attempts (6 for
   the first packet of a connection) the connection has timed out. These are Linux' figures. The kernel learns of the loss
   by what the network knows, not by acknowledgements, which would double the messages and tell a reader nothing.
3. A sender may have as much under way and unread as the recipient's buffer holds. Room is granted by messages, so a
   blocked writer wakes when the news has reached it.
4. Errors are those of Linux, in the order in which it gives them: what has come before a reset can still be read, then the
   error is told once, by the first call that meets it.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.packets import ACCEPT, CONNECT, Address, Packet
from pytest_convergence._engine.sim.net.bytestream import (
    CONNECTED,
    CONNECTING,
    FAILED,
    FRESH,
    LISTENING,
    OVER,
    ByteStream,
)
from pytest_convergence._engine.sim.net.descriptors import READ, WRITE
from pytest_convergence._engine.sim.net.endpoint import oserror
from pytest_convergence._engine.sim.net.keepalive import KEEPALIVE_OPTIONS, KeepAlive

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["StreamSocket"]

_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_MOST_WAITING: Final = 4_096
"""More than so many connections never wait, whatever ``listen()`` was told (Linux: net.core.somaxconn)."""


@final
class StreamSocket(ByteStream):
    """One end of a connection, or a socket that waits for connections.

    Attributes:
        pending: connections that wait to be accepted, at a socket that listens.
        accepted: false for a connection that waits in a listener's queue.
        has_asked: whether it is this end that has asked for the connection.
    """

    __slots__ = ("_backlog", "_bound_by_hand", "_untold", "accepted", "has_asked", "pending")

    def __init__(self, stack: Stack, family: int, proto: int = 0) -> None:
        super().__init__(stack, family, proto)
        self.pending: deque[StreamSocket] = deque()
        self._backlog = 0
        self._bound_by_hand = False
        self._untold = False
        self.accepted = True
        self.has_asked = False

    def readiness(self) -> int:
        """Return what it is ready for."""
        state = self.state
        if state == CONNECTED:
            ready = READ if self.unread or self.ended or self.read_shut or self.error else 0
            return ready | WRITE if self.room > 0 or self.write_shut or self.error else ready
        if state == CONNECTING:
            return READ | WRITE if self.error else 0
        if state == LISTENING:
            return READ if self.pending else 0
        return READ | WRITE

    @property
    def is_connected(self) -> bool:
        """Whether it has another end."""
        return self.state == CONNECTED

    def getsockopt(self, level: int, name: int) -> int | bytes:
        """Answer ``getsockopt``."""
        if level == socket.SOL_SOCKET and name == getattr(socket, "SO_ACCEPTCONN", -1):
            return int(self.state == LISTENING)
        if level == socket.IPPROTO_TCP and name in KEEPALIVE_OPTIONS and self.family != _UNIX:
            return int(self.options.get((level, name), KEEPALIVE_OPTIONS[name][0]))
        return super().getsockopt(level, name)

    def setsockopt(self, level: int, name: int, value: Any) -> None:
        """Keep an option; those of keep-alive have their effect.

        Raises:
            OSError: the value is none that Linux takes.
        """
        if level == socket.IPPROTO_TCP and name in KEEPALIVE_OPTIONS:
            if not 1 <= int(value) <= KEEPALIVE_OPTIONS[name][1]:
                raise oserror(errno.EINVAL)
            super().setsockopt(level, name, value)
            self.watch_over()
        else:
            super().setsockopt(level, name, value)
            if level == socket.SOL_SOCKET and name == socket.SO_KEEPALIVE:
                self.watch_over()

    def watch_over(self) -> None:
        """It is connected, or an option was set: see whether its program wants to know that the other end is there."""
        if self.family == _UNIX or self.state != CONNECTED:
            return
        if not self.options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            if self.keep_alive is not None:
                self.keep_alive.end()
                self.keep_alive = None
            return
        if self.keep_alive is None:
            self.keep_alive = KeepAlive(self)
        self.keep_alive.begin()

    def bind(self, address: Address) -> None:
        """Take an address."""
        super().bind(address)
        self._bound_by_hand = True

    # -- connecting ----------------------------------------------------------------------------------------------------

    def listen(self, backlog: int) -> None:
        """Wait for connections, of which ``backlog`` may wait to be accepted."""
        if self.state not in {FRESH, FAILED, LISTENING}:
            raise oserror(errno.EINVAL)
        if self.local is None:
            if self.family == _UNIX:
                raise oserror(errno.EINVAL)
            self.bind(("0.0.0.0" if self.family == socket.AF_INET else "::", 0))
        self.stack.listen(self)
        self.state = LISTENING
        self._backlog = min(max(backlog, 0), _MOST_WAITING)
        self.changed()

    def accept(self) -> StreamSocket | None:
        """Return the next connection, ``None`` if there is none."""
        if self.state != LISTENING:
            raise oserror(errno.EINVAL)
        if not self.pending:
            return None
        connection = self.pending.popleft()
        connection.accepted = True
        self.changed()
        return connection

    def connect(self, remote: Address) -> bool:
        """Begin to connect; return whether that is done already.

        Raises:
            OSError: it is connected or connecting, has failed, or there is nobody there.
        """
        if self._untold and self.state == CONNECTED:
            self._untold = False  # Linux answers the second call, and complains at the third
            return True
        if self.state in {CONNECTED, LISTENING, OVER}:
            raise oserror(errno.EISCONN)
        if self.state == CONNECTING:
            raise oserror(errno.EALREADY)
        if self.state == FAILED:
            self._begin_again()
            self.take_error()
            raise oserror(errno.ECONNABORTED)
        if self.family == _UNIX:
            self._connect_unix(remote)
            return True
        self.local = self.stack.source_for(self, remote)
        self.remote = remote
        self.connection = self.stack.next_connection()
        if self.stack.flows.get((self.local, remote)) is not None:
            raise oserror(errno.EADDRNOTAVAIL)
        self.stack.flows[self.local, remote] = self
        self.state = CONNECTING
        self._untold = self.has_asked = True
        self.transmit(CONNECT, self.buffer(socket.SO_RCVBUF))
        return False

    def _begin_again(self) -> None:
        self.state = FRESH
        self.write_shut = False
        self.remote = None
        self._route = None
        if not self._bound_by_hand:
            self.stack.ports.release(self)
            self.local = None

    def _connect_unix(self, remote: Address) -> None:
        stack = self.stack
        listener = stack.unix.get(remote[0])
        if listener is None:
            raise oserror(errno.ECONNREFUSED if remote[0].startswith("\0") else errno.ENOENT)
        if not isinstance(listener, StreamSocket):
            raise oserror(errno.EPROTOTYPE)
        if listener.state != LISTENING:
            raise oserror(errno.ECONNREFUSED)
        if len(listener.pending) > listener._backlog:
            raise oserror(errno.EAGAIN)
        peer = StreamSocket(stack, self.family)
        peer.accepted = False
        self.join(peer, self.local or stack.unnamed(), remote)
        # The other end of what is accepted is this socket, however many have connected to the same path.
        listener.pending.append(peer)
        listener.changed()

    def join(self, peer: StreamSocket, local: Address, remote: Address) -> None:
        """Be connected with a socket of the same host at once."""
        flows = self.stack.flows
        for one, other, mine, theirs in ((self, peer, local, remote), (peer, self, remote, local)):
            one.local, one.remote = mine, theirs
            one.state = CONNECTED
            one.room = other.theirs = min(one.buffer(socket.SO_SNDBUF), other.buffer(socket.SO_RCVBUF))
            flows[mine, theirs] = one
            one.changed()

    def admit(self, packet: Packet) -> None:
        """Somebody asks a listening socket for a connection."""
        stack = self.stack
        if len(self.pending) > self._backlog:
            stack.unanswered(packet)  # Linux says nothing: the one who asks will ask again
            return
        stack.admitted(packet)
        connection = StreamSocket(stack, self.family, self.proto)
        connection.options = dict(self.options)
        connection.accepted = False
        connection.connection = packet.connection
        connection.local, connection.remote = packet.target, packet.source
        connection.state = CONNECTED
        connection.room = min(connection.buffer(socket.SO_SNDBUF), packet.seq)
        connection.theirs = packet.sends
        connection.watch_over()
        stack.flows[packet.target, packet.source] = connection
        connection.transmit(ACCEPT, connection.buffer(socket.SO_RCVBUF), answers=packet)
        self.pending.append(connection)
        self.changed()

    def gave_up(self, packet: Packet, number: int) -> None:
        """A packet will not get through: the connection has failed."""
        if packet.connection == self.connection and self.state in {CONNECTING, CONNECTED}:
            self.fail(number)

    # -- the end -------------------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        if how not in {socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR}:
            raise oserror(errno.EINVAL)
        if self.state == LISTENING and how != socket.SHUT_WR:
            self.close_listener()
            return
        if self.state != CONNECTED:
            if self.family == _UNIX:  # Linux says nothing
                return
            raise oserror(errno.ENOTCONN)
        if how in {socket.SHUT_RD, socket.SHUT_RDWR}:
            self.read_shut = True
        if how in {socket.SHUT_WR, socket.SHUT_RDWR}:
            self.finish()
        self.changed()

    def close(self) -> None:
        """The program has closed it. What was sent still arrives; what was not read makes it a reset, as on Linux."""
        if not self.is_open:
            return
        self.is_open = False
        self.key = self.reader = None
        self.stack.descriptors.close(self.number)
        self.stack.node.fabric.loop.forget_transport(self.number, is_over=False)
        if self.state == LISTENING:
            self.close_listener()
        elif self.state == CONNECTED:
            self._hang_up()
        else:
            self.leave()
        self.stack.release(self)

    def _hang_up(self) -> None:
        if self.family == _UNIX:
            assert self.local is not None
            assert self.remote is not None
            peer = self.stack.flows.get((self.remote, self.local))
            self.leave()
            if peer is not None:
                peer.hang_up(with_unread=bool(self.unread))
        elif self.unread or self.options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == _NO_LINGER:
            self.abort()
        else:
            self.finish()
            self.forget_if_done()

    def die(self) -> None:
        """Its process has died: the other end hears of it by a reset."""
        self.abort()
        self.vanish()

    def close_listener(self) -> None:
        """Nobody will accept what waits to be accepted."""
        self.stack.unlisten(self)
        self.state = OVER
        pending, self.pending = self.pending, deque()
        for connection in pending:
            connection.is_open = False
            if self.family == _UNIX:
                connection._hang_up()
            else:
                connection.abort()
