"""Streams: TCP connections and Unix sockets, and the sockets that listen for them.

1. Bytes have places in their stream, so that packets may arrive in any order, twice, or again after they were lost; what
   a program reads is in order and complete (RFC 9293). What it gets in one read is up to the schedule: a packet may be
   cut in two anywhere.
2. A lost packet is sent again by the sender's kernel, after 200 ms, 400 ms, … up to two minutes; after 15 attempts (6 for
   the first packet of a connection) the connection has timed out. These are Linux' figures. The kernel learns of the loss
   by what the network knows, not by acknowledgements, which would double the messages and tell a reader nothing.
3. A sender may have as much under way and unread as the recipient's buffer holds. Room is granted by messages, so a
   blocked writer wakes when the news has reached it.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.packets import (
    ACCEPT,
    CONNECT,
    DATA,
    END,
    RESET,
    WINDOW,
    WORDS,
    Address,
    Packet,
    is_handshake,
)
from pytest_convergence._engine.sim.net.descriptors import READ, WRITE
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.links import Link
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["StreamSocket"]

_FRESH: Final = "fresh"
_LISTENING: Final = "listening"
_CONNECTING: Final = "connecting"
_CONNECTED: Final = "connected"
_OVER: Final = "over"

_LONGEST_PACKET: Final = 65_536
_GRANTED_AT: Final = 65_536
"""So many bytes are read before the other end is told, or half of the buffer where that is less."""
_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_NO_LINGER: Final = struct.pack("ii", 1, 0)


@final
class StreamSocket(KernelSocket):
    """One end of a connection, or a socket that waits for connections.

    Attributes:
        state: fresh, listening, connecting, connected or over.
        pending: connections that wait to be accepted, at a socket that listens.
        room: how many bytes more the other end has room for.
        ended: whether the other end has said that nothing follows.
    """

    __slots__ = (
        "_backlog",
        "_chunks",
        "_early",
        "_enough",
        "_expected",
        "_read_shut",
        "_route",
        "_sent",
        "_size",
        "_unreported",
        "_write_shut",
        "accepted",
        "ended",
        "pending",
        "room",
        "secret",
        "state",
    )

    def __init__(self, stack: Stack, family: int, proto: int = 0) -> None:
        super().__init__(stack, family, socket.SOCK_STREAM, proto)
        self.state = _FRESH
        self.pending: deque[StreamSocket] = deque()
        self._backlog = 0
        self.accepted = True  # false for a connection that waits in a listener's queue
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._early: dict[int, Packet] = {}
        self._expected = 0
        self._sent = 0
        self._unreported = 0
        self.room = 0
        self.ended = False
        self.secret: bool | None = None
        self._read_shut = False
        self._enough = 0  # asked for at the first read: buffers may be set until then
        self._route: Link | None = None
        self._write_shut = False

    def readiness(self) -> int:
        """Return what it is ready for."""
        state = self.state
        if state == _CONNECTED:
            ready = READ if self._size or self.ended or self._read_shut or self.error else 0
            return ready | WRITE if self.room > 0 or self._write_shut or self.error else ready
        if state == _LISTENING:
            return READ if self.pending else 0
        if state == _CONNECTING:
            return READ | WRITE if self.error else 0
        return READ | WRITE

    @property
    def is_connected(self) -> bool:
        """Whether it has, or had, another end."""
        return self.state == _CONNECTED

    # -- connecting ----------------------------------------------------------------------------------------------------

    def listen(self, backlog: int) -> None:
        """Wait for connections, of which ``backlog`` may wait to be accepted."""
        if self.state not in {_FRESH, _LISTENING}:
            raise oserror(errno.EINVAL)
        if self.local is None:
            if self.family == _UNIX:
                raise oserror(errno.EINVAL)
            self.bind(("0.0.0.0" if self.family == socket.AF_INET else "::", 0))
        self.stack.listen(self)
        self.state = _LISTENING
        self._backlog = max(backlog, 1)
        self.changed()

    def accept(self) -> StreamSocket | None:
        """Return the next connection, ``None`` if there is none."""
        if self.state != _LISTENING:
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
            OSError: it is connected or connecting, or there is nobody there.
        """
        if self.state == _CONNECTED:
            raise oserror(errno.EISCONN)
        if self.state == _CONNECTING:
            if self.error:
                self._fail_connect()
            raise oserror(errno.EALREADY)
        if self.state != _FRESH:
            raise oserror(errno.EINVAL)
        self.take_error()
        if self.family == _UNIX:
            self._connect_unix(remote)
            return True
        self.remote = remote
        self.local = self.stack.source_for(self, remote)
        self.stack.flows[self.local, remote] = self
        self.state = _CONNECTING
        self._transmit(CONNECT, self.buffer(socket.SO_RCVBUF))
        return False

    def _fail_connect(self) -> None:
        self.state = _FRESH
        self.take_error()

    def _connect_unix(self, remote: Address) -> None:
        stack = self.stack
        listener = stack.unix.get(remote[0])
        if listener is None:
            raise oserror(errno.ENOENT)
        if not isinstance(listener, StreamSocket):
            raise oserror(errno.EPROTOTYPE)
        if listener.state != _LISTENING:
            raise oserror(errno.ECONNREFUSED)
        if len(listener.pending) > listener._backlog:
            raise oserror(errno.EAGAIN)
        local = self.local = self.local or (self.stack.unnamed())
        peer = StreamSocket(stack, self.family)
        peer.accepted = False
        self.join(peer, local, remote)
        listener.pending.append(peer)
        listener.changed()

    def join(self, peer: StreamSocket, local: Address, remote: Address) -> None:
        """Be connected with a socket of the same host at once."""
        flows = self.stack.flows
        for one, other, mine, theirs in ((self, peer, local, remote), (peer, self, remote, local)):
            one.local, one.remote = mine, theirs
            one.state = _CONNECTED
            one.room = min(one.buffer(socket.SO_SNDBUF), other.buffer(socket.SO_RCVBUF))
            flows[mine, theirs] = one
            one.changed()

    def admit(self, packet: Packet) -> None:
        """Somebody asks a listening socket for a connection."""
        stack = self.stack
        if len(self.pending) > self._backlog:
            stack.drop_connect(packet)
            return
        connection = StreamSocket(stack, self.family, self.proto)
        connection.options = {
            name: value for name, value in self.options.items() if name[1] != socket.SO_REUSEADDR
        }
        connection.accepted = False
        connection.local, connection.remote = packet.target, packet.source
        connection.state = _CONNECTED
        connection.room = min(connection.buffer(socket.SO_SNDBUF), packet.seq)
        stack.flows[packet.target, packet.source] = connection
        connection._transmit(ACCEPT, connection.buffer(socket.SO_RCVBUF))
        self.pending.append(connection)
        self.changed()

    # -- sending -------------------------------------------------------------------------------------------------------

    def _transmit(self, kind: str, seq: int = 0, data: bytes = b"") -> None:
        local, remote = self.local, self.remote
        assert local is not None
        assert remote is not None
        packet = Packet(kind, local, remote, seq, data, 0, bool(self.secret))
        route = self._route
        if route is not None:
            route.post(packet, WORDS[kind], "net")
        else:
            self._route = self.stack.transmit(packet)

    def send(self, data: Any) -> int:
        """Send what there is room for; return how many bytes that was, 0 for no room.

        Raises:
            OSError: not connected, closed by the other end, or closed for writing.
        """
        if self.error:
            self.take_error()
        if self.state != _CONNECTED:
            raise oserror(errno.EPIPE if self.state == _OVER else errno.ENOTCONN)
        if self._write_shut:
            raise oserror(errno.EPIPE)
        size = len(data)
        if size > self.room:
            size = self.room
        if not size:
            return 0
        view = bytes(data[:size])
        if self.secret is None:
            self.secret = is_handshake(view)
        for start in range(0, size, _LONGEST_PACKET):
            piece = view[start : start + _LONGEST_PACKET] if size > _LONGEST_PACKET else view
            self._transmit(DATA, self._sent, piece)
            self._sent += len(piece)
        self.room -= size
        if not self.room:
            self.changed()
        return size

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        if self.state == _LISTENING and how != socket.SHUT_WR:
            self.close_listener()
            return
        if self.state != _CONNECTED:
            raise oserror(errno.ENOTCONN)
        if how in {socket.SHUT_RD, socket.SHUT_RDWR}:
            self._read_shut = True
        if how in {socket.SHUT_WR, socket.SHUT_RDWR}:
            self._finish()
        self.changed()

    def _finish(self) -> None:
        if not self._write_shut:
            self._write_shut = True
            self._transmit(END, self._sent)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """Take a packet of this connection."""
        kind = packet.kind
        if kind == DATA:
            if not self.is_open:
                self._refuse_late()
            elif packet.seq == self._expected:
                self._take(packet)
            elif packet.seq > self._expected:
                self._early[packet.seq] = packet
        elif kind == ACCEPT:
            if self.state == _CONNECTING:
                self.state = _CONNECTED
                self.room = min(self.buffer(socket.SO_SNDBUF), packet.seq)
                self._go_on()
                self.changed()
        elif kind == WINDOW:
            self.room += packet.seq
            self.changed()
        elif kind == END:
            if packet.seq == self._expected:
                self._end()
            elif packet.seq > self._expected:
                self._early[packet.seq] = packet
        elif kind == RESET:
            self._reset(errno.ECONNREFUSED if self.state == _CONNECTING else errno.ECONNRESET)

    def _take(self, packet: Packet) -> None:
        data = packet.data
        if self.secret is None:
            self.secret = packet.secret
        self._expected += len(data)
        if not self._read_shut:
            self._chunks.append(data)
            self._size += len(data)
        if self._early:
            self._go_on()
        if self.key is not None and self.state == _CONNECTED:
            self.stack.descriptors.changed(self)

    def _go_on(self) -> None:
        """Take what had come too early, as far as nothing is missing."""
        packet = self._early.pop(self._expected, None)
        if packet is not None:
            self.receive(packet)

    def _end(self) -> None:
        self.ended = True
        self.changed()
        self._forget_if_done()

    def _refuse_late(self) -> None:
        """The program has closed its end: the other one cannot be told otherwise than by a reset (RFC 9293, 3.10.7.1)."""
        self._transmit(RESET)
        self._leave()

    def _reset(self, number: int) -> None:
        self.error = number
        self._chunks.clear()
        self._size = 0
        self._early.clear()
        if self.state == _CONNECTED:
            self.ended = True
            self._write_shut = True
        self._leave()
        self.changed()

    def gave_up(self, packet: Packet, number: int) -> None:
        """A packet will not get through: the connection has failed."""
        if self.state in {_CONNECTING, _CONNECTED}:
            self._reset(number)

    def recv(self, size: int, *, peek: bool = False) -> bytes | None:
        """Read up to ``size`` bytes; ``b""`` at the end, ``None`` if there is nothing yet.

        Raises:
            OSError: the connection was reset, or there is none.
        """
        chunks = self._chunks
        if not chunks or peek:
            return self._recv_slowly(size, peek=peek)
        first = chunks[0]
        if len(first) <= size:
            chunks.popleft()
            if chunks and len(first) < size:
                first = self._gather(first, size)
        else:
            chunks[0] = first[size:]
            first = first[:size]
        length = len(first)
        self._size -= length
        self._unreported += length
        if self._unreported >= self._enough:
            self._grant()
        if not chunks and self.key is not None:
            self.stack.descriptors.changed(self)
        return first

    def _gather(self, first: bytes, size: int) -> bytes:
        chunks, parts, left = self._chunks, [first], size - len(first)
        while chunks and left:
            chunk = chunks.popleft()
            if len(chunk) > left:
                chunks.appendleft(chunk[left:])
                chunk = chunk[:left]
            parts.append(chunk)
            left -= len(chunk)
        return b"".join(parts)

    def _recv_slowly(self, size: int, *, peek: bool) -> bytes | None:
        if self._chunks:  # to look at it only
            return b"".join(self._chunks)[:size]
        if self.error:
            self.take_error()
        if self.state == _OVER or self.ended or self._read_shut:
            return b""
        if self.state != _CONNECTED:
            raise oserror(errno.ENOTCONN)
        return None

    def _grant(self) -> None:
        """Tell the other end how much was read, so that it may send as much more."""
        self._enough = min(_GRANTED_AT, self.buffer(socket.SO_RCVBUF) // 2)
        if self._unreported < self._enough:
            return
        read, self._unreported = self._unreported, 0
        if not self.ended:
            self._transmit(WINDOW, read)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The program has closed it. What was sent still arrives; what was not read makes it a reset, as on Linux."""
        if not self.is_open:
            return
        self.is_open = False
        self.key = None
        self.stack.descriptors.close(self.number)
        self.stack.node.fabric.loop.forget_transport(self.number, is_over=False)
        if self.state == _LISTENING:
            self.close_listener()
        elif self.state == _CONNECTED:
            lingers = self.options.get((socket.SOL_SOCKET, socket.SO_LINGER))
            if self._chunks or lingers == _NO_LINGER:
                self._abort()
            else:
                self._finish()
                self._forget_if_done()
        else:
            self._leave()
        self.stack.release(self)

    def _abort(self) -> None:
        if not self.error:
            self._transmit(RESET)
        self._leave()

    def abort(self) -> None:
        """Its process has died: the other end hears of it by a reset."""
        if (
            self.state == _CONNECTED
            and self.remote is not None
            and (self.local, self.remote) in self.stack.flows
        ):
            self._abort()
        self.vanish()

    def close_listener(self) -> None:
        """Nobody will accept what waits to be accepted."""
        self.stack.unlisten(self)
        self.state = _OVER
        pending, self.pending = self.pending, deque()
        for connection in pending:
            connection._abort()

    def _forget_if_done(self) -> None:
        if self.ended and self._write_shut and not self.is_open:
            self._leave()

    def _leave(self) -> None:
        """Take no more packets."""
        if self.state != _CONNECTING:
            self.state = _OVER
        if self.local is not None and self.remote is not None:
            self.stack.flows.pop((self.local, self.remote), None)
