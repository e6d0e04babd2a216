"""Pipes of one host: two ends, and the bytes between them. Nothing of it crosses the network, so there is nothing to lose.

As on Linux (``pipe(7)``): 64 KiB of room; up to ``PIPE_BUF`` bytes are written whole or not at all; whoever writes to a pipe
that nobody reads gets ``EPIPE``; whoever reads one that nobody writes to comes to the end.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.sim.net.descriptors import READ, WRITE
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror

if TYPE_CHECKING:
    from pytest_convergence._engine.base.packets import Packet
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["PipeEnd", "make_pipe"]

_ROOM: Final = 65_536
_WHOLE: Final = 4_096


@final
class PipeEnd(KernelSocket):
    """One end: the one that reads or the one that writes."""

    __slots__ = ("_bytes", "_peer", "reads")

    _peer: PipeEnd

    def __init__(self, stack: Stack, buffer: bytearray, *, reads: bool) -> None:
        super().__init__(stack, -1, -1)
        self._bytes = buffer
        self.reads = reads

    def readiness(self) -> int:
        """Return what it is ready for."""
        if self.reads:
            return READ if self._bytes or not self._peer.is_open else 0
        return WRITE if len(self._bytes) <= _ROOM - _WHOLE or not self._peer.is_open else 0

    def recv(self, size: int) -> bytes | None:
        """Read up to ``size`` bytes; ``b""`` at the end, ``None`` if there is nothing yet.

        Raises:
            OSError: it is the end for writing.
        """
        if not self.reads:
            raise oserror(errno.EBADF)
        if not self._bytes:
            return None if self._peer.is_open else b""
        data = bytes(self._bytes[:size])
        del self._bytes[:size]
        self._both_changed()
        return data

    def send(self, data: Any) -> int:
        """Write what there is room for; return how many bytes that was, 0 for no room.

        Raises:
            OSError: it is the end for reading, or nobody reads any more.
        """
        if self.reads:
            raise oserror(errno.EBADF)
        if not self._peer.is_open:
            raise oserror(errno.EPIPE)
        room = _ROOM - len(self._bytes)
        size = len(data)
        if size > room:
            size = 0 if size <= _WHOLE else room
        self._bytes += data[:size]
        self._both_changed()
        return size

    def _both_changed(self) -> None:
        self.changed()
        self._peer.changed()

    def receive(self, packet: Packet) -> None:
        """Nothing ever comes by the network."""
        raise NotImplementedError

    def close(self) -> None:
        """The program has closed it."""
        if self.is_open:
            self.vanish()
            self.stack.release(self)
            self._peer.changed()


def make_pipe(stack: Stack) -> tuple[PipeEnd, PipeEnd]:
    """Make a pipe; return the end that reads and the end that writes."""
    buffer = bytearray()
    reader, writer = PipeEnd(stack, buffer, reads=True), PipeEnd(stack, buffer, reads=False)
    reader._peer, writer._peer = writer, reader
    for end in (reader, writer):
        stack.register(end)
    return reader, writer
