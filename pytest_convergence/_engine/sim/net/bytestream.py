"""The bytes of a connection: what is under way, what has come, what may be read, and how it ends."""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pytest_convergence._engine.base.packets import (
    ACCEPT,
    ALIVE,
    CONNECT,
    DATA,
    END,
    HANDSHAKE_BYTE,
    PROBE,
    RESET,
    WINDOW,
    WORDS,
    Packet,
    Segment,
    is_handshake,
)
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror
from pytest_convergence._engine.sim.reading import reads_at_once

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.links import Link
    from pytest_convergence._engine.sim.loop import WorldLoop
    from pytest_convergence._engine.sim.net.keepalive import KeepAlive
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["CONNECTED", "CONNECTING", "FAILED", "FRESH", "LISTENING", "OVER", "ByteStream"]

FRESH: Final = "fresh"
LISTENING: Final = "listening"
CONNECTING: Final = "connecting"
FAILED: Final = "failed"
CONNECTED: Final = "connected"
OVER: Final = "over"
"""The states: fresh; listening; connecting, and then failed or connected; over, once reset or ended both ways."""

LONGEST_PACKET: Final = 65_536
_GRANTED_AT: Final = 65_536
"""So many bytes are read before the other end is told, or half of the buffer where that is less."""

_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_DATA_WORD: Final = WORDS[DATA]


class ByteStream(KernelSocket):
    """One end of a connection, as far as its bytes go.

    Attributes:
        state: one of the states above.
        room: how many bytes more may be under way or unread at the other end.
        ended: whether the other end has said that nothing follows.
        secret: whether its bytes are enciphered, as far as that is known.
        unread: what has come and was not read.
        theirs: how much the other end may have under way; 0 if that is not known.
        keep_alive: asks whether the other end is there, if its program wants that.
        connection: its number, of the host that asked for it.
    """

    __slots__ = (
        "_early",
        "_expected",
        "_hot",
        "_read_there",
        "_reported",
        "_route",
        "_sent",
        "_until_told",
        "connection",
        "ended",
        "keep_alive",
        "read_shut",
        "room",
        "secret",
        "state",
        "theirs",
        "unread",
        "write_shut",
    )

    def __init__(self, stack: Stack, family: int, proto: int = 0) -> None:
        super().__init__(stack, family, socket.SOCK_STREAM, proto)
        self.state = FRESH
        self.connection = 0
        self.keep_alive: KeepAlive | None = None
        self.unread: deque[bytes] = deque()
        self._early: dict[int, Packet] = {}
        self._expected = 0
        self._reported = 0
        self._until_told = 0  # reckoned at the first read: buffers may be set until then
        self._hot = stack.descriptors.hot
        self._route: Link | None = None
        self._read_there = 0
        self._sent = 0
        self.room = 0
        self.theirs = 0
        self.ended = False
        self.secret = False
        self.read_shut = False
        self.write_shut = False

    # -- sending -------------------------------------------------------------------------------------------------------

    def transmit(self, kind: str, seq: int = 0, data: bytes = b"", answers: Packet | None = None) -> None:
        """Send a packet to the other end."""
        local, remote = self.local, self.remote
        assert local is not None
        assert remote is not None
        packet = Packet(kind, local, remote, seq, data, 0, self.secret, self.connection, answers)
        if kind is CONNECT or kind is ACCEPT:
            packet.sends = self.buffer(socket.SO_SNDBUF)
        route = self._route
        if route is None:
            self._put_on_its_way(packet)
        else:
            route.carry(packet, WORDS[kind])

    def _put_on_its_way(self, packet: Packet) -> None:
        """Send a packet as long as no link is known that it could take."""
        if self.family == _UNIX:  # one copy from process to process: it is there at once
            peer = self.stack.flows.get((packet.target, packet.source))
            if peer is not None:
                peer.receive(packet)
        else:
            self._route = self.stack.transmit(packet)

    def send(self, data: Any) -> int:
        """Send what there is room for; return how many bytes that was, 0 for no room.

        Raises:
            OSError: not connected, reset or closed by the other end, or closed for writing.
        """
        if self.write_shut or self.state != CONNECTED:
            return self._cannot_send()
        room = self.room
        size = len(data)
        if size > LONGEST_PACKET or size > room:
            return self._send_in_parts(bytes(data[: max(room, 0)]))
        if not size:
            return 0
        if self.keep_alive is not None:
            self.keep_alive.heard()
        if type(data) is not bytes:
            data = bytes(data)
        if data[0] == HANDSHAKE_BYTE and not self.secret:
            self.secret = is_handshake(data)
        self.room = room = room - size
        segment = Segment()
        segment.source = self.local  # both are known: it is connected
        segment.target = self.remote
        segment.seq = sent = self._sent
        self._sent = sent + size
        segment.data = data
        segment.secret = self.secret
        segment.connection = self.connection
        route = self._route
        if route is None:
            self._put_on_its_way(segment)
        else:
            route.carry(segment, _DATA_WORD)
        if not room:
            self.changed()
        return size

    def _send_in_parts(self, data: bytes) -> int:
        return sum(
            self.send(data[start : start + LONGEST_PACKET]) for start in range(0, len(data), LONGEST_PACKET)
        )

    def _cannot_send(self) -> int:
        if self.error and self.family != _UNIX:
            self.take_error()
        if self.state == CONNECTING:
            return 0
        raise oserror(errno.ENOTCONN if self.family == _UNIX and self.state == FRESH else errno.EPIPE)

    def finish(self) -> None:
        """Nothing follows."""
        if not self.write_shut:
            self.write_shut = True
            self.transmit(END, self._sent)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def follow(self, packet: Packet, loop: WorldLoop | None) -> bool:
        """Take a packet of bytes if these are the next ones, and say so; who waits for them may read in the same event."""
        if packet.seq != self._expected or not self.is_open or self._early:
            return False
        if self.keep_alive is not None:
            self.keep_alive.heard()
        if packet.secret:
            self.secret = True
        data = packet.data
        self._expected += len(data)
        self.unread.append(data)
        if self.key is not None and self.state == CONNECTED:
            reader = self.reader
            if reader is None:
                self.changed()
            elif loop is None or not reads_at_once(loop, self, reader):
                self._hot[self.number] = self
        return True

    def receive(self, packet: Packet) -> None:
        """Take a packet of this connection."""
        kind = packet.kind
        if self.keep_alive is not None:
            self.keep_alive.heard()
        if kind == DATA:
            if packet.seq == self._expected and self.is_open:
                self._take(packet, packet.data)
            else:
                self._take_out_of_order(packet)
        elif kind == ACCEPT:
            if self.state == CONNECTING:
                self.state = CONNECTED
                self.room = min(self.buffer(socket.SO_SNDBUF), packet.seq)
                self.theirs = packet.sends
                self.watch_over()
                self.changed()
        elif kind == WINDOW:
            if packet.seq > self._read_there:
                self.room += packet.seq - self._read_there
                self._read_there = packet.seq
                self.changed()
        elif kind == END:
            if packet.seq == self._expected:
                self._end()
            elif packet.seq > self._expected:
                self._early[packet.seq] = packet
        elif kind == PROBE:
            self.transmit(ALIVE, answers=packet)
        elif kind == RESET:
            self.fail(errno.ECONNREFUSED if self.state == CONNECTING else errno.ECONNRESET)

    def watch_over(self) -> None:
        """It is connected, or an option was set: see whether its program wants to know that the other end is there."""

    def _take_out_of_order(self, packet: Packet) -> None:
        if packet.seq + len(packet.data) <= self._expected:
            return  # it comes a second time
        if not self.is_open:
            self._refuse_late(packet)
        elif packet.seq > self._expected:
            self._early[packet.seq] = packet
        else:  # it comes a second time, and was cut elsewhere the first time
            self._take(packet, packet.data[self._expected - packet.seq :])

    def _take(self, packet: Packet, data: bytes) -> None:
        if packet.secret:
            self.secret = True
        self._expected += len(data)
        self.unread.append(data)
        if self._early:
            following = self._early.pop(self._expected, None)
            if following is not None:
                self.receive(following)
        if self.key is not None and self.state == CONNECTED:
            self.stack.descriptors.changed(self)

    def _end(self) -> None:
        self.ended = True
        self.changed()
        self.forget_if_done()

    def _refuse_late(self, packet: Packet) -> None:
        """The program has closed its end: the other one cannot be told otherwise than by a reset (RFC 9293, 3.10.7.1)."""
        self.stack.transmit(packet.refusal())
        self.leave()

    def fail(self, number: int) -> None:
        """The connection is over: reset, or given up. What has come can still be read."""
        was_connecting = self.state == CONNECTING
        self.error = errno.EPIPE if self.ended and number == errno.ECONNRESET else number
        self._early.clear()
        self.write_shut = True
        self.leave()
        if was_connecting:
            self.state = FAILED
        self.changed()

    def hang_up(self, *, with_unread: bool) -> None:
        """The other end of a Unix connection was closed: nothing can be written to it any more."""
        self.ended = self.write_shut = True
        if with_unread:
            self.error = errno.ECONNRESET
        self.changed()

    def recv(self, size: int, *, peek: bool = False) -> bytes | None:
        """Read up to ``size`` bytes; ``b""`` at the end, ``None`` if there is nothing yet.

        Raises:
            OSError: the connection was reset, or there is none.
        """
        chunks = self.unread
        if not chunks or peek:
            return self._recv_slowly(size, peek=peek)
        first = chunks.popleft()
        length = len(first)
        if length > size:
            chunks.appendleft(first[size:])
            first, length = first[:size], size
        elif chunks and length < size:
            first = self._gather(first, size)
            length = len(first)
        self._until_told = left = self._until_told - length
        if left <= 0:
            self._grant()
        if not chunks and self._hot:
            if self.reader is None or self.ended or self.read_shut or self.error:
                self.changed()
            else:
                self._hot.pop(self.number, None)
        return first

    def _gather(self, first: bytes, size: int) -> bytes:
        chunks, parts, left = self.unread, [first], size - len(first)
        while chunks and left:
            chunk = chunks.popleft()
            if len(chunk) > left:
                chunks.appendleft(chunk[left:])
                chunk = chunk[:left]
            parts.append(chunk)
            left -= len(chunk)
        return b"".join(parts)

    def _recv_slowly(self, size: int, *, peek: bool) -> bytes | None:
        if self.unread and peek:
            return b"".join(self.unread)[:size]
        if self.state in {FRESH, LISTENING}:
            raise oserror(errno.EINVAL if self.family == _UNIX else errno.ENOTCONN)
        if self.ended and self.error != errno.ECONNRESET:  # the end had come before what went wrong
            return b""
        self.take_error()
        return b"" if self.ended or self.read_shut or self.state in {OVER, FAILED} else None

    def _grant(self) -> None:
        """Tell the other end how much was read, so that it may send as much more."""
        # No more than the other end can send: it would wait for room, and this one for enough to speak of.
        enough = min(_GRANTED_AT, self.buffer(socket.SO_RCVBUF) // 2, self.theirs or _GRANTED_AT)
        read = self._expected - sum(map(len, self.unread))
        self._until_told = self._reported + enough - read
        if self._until_told > 0:
            return
        self._reported = read
        self._until_told = enough
        if not self.ended and self.state == CONNECTED:
            self.transmit(WINDOW, read)

    # -- the end -------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End it by a reset: what was not read there yet, and not sent again yet, is lost."""
        if self.state == CONNECTED:
            self.transmit(RESET)
        self.leave()

    def forget_if_done(self) -> None:
        """Take no more packets once both directions have ended; what was lost is still sent again."""
        if self.ended and self.write_shut and not self.is_open:
            self.stack.linger(self)
            self.leave()

    def leave(self) -> None:
        """Take no more packets."""
        if self.state != CONNECTING:
            self.state = OVER
        self.stack.leave(self)
