"""The ``socket.socket`` that a program holds inside a run.

It is a subclass, so whatever asks for a socket takes it; asyncio's transports, streams and ``sock_*`` functions run on it
unchanged. It never has a real descriptor.
"""

from __future__ import annotations

import _socket
import errno
import socket
import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any, Final

from pytest_convergence._engine.sim.net.datagram import DatagramSocket
from pytest_convergence._engine.sim.net.descriptors import FIRST_DESCRIPTOR, READ, WRITE
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror
from pytest_convergence._engine.sim.net.stack import Stack, asking_stack
from pytest_convergence._engine.sim.net.stream import StreamSocket
from pytest_convergence._engine.sim.process_loop import wait_for_files
from pytest_convergence._engine.sim.shims.refusals import BLOCKING, COPIES, DESCRIPTORS, refuse
from pytest_convergence._engine.sim.strands import current_strand

__all__ = ["SimulatedSocket", "new_socket", "pair", "simulate", "wait_until_ready"]

_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_PEEK: Final = int(socket.MSG_PEEK)
_NONBLOCK: Final = getattr(socket, "SOCK_NONBLOCK", 0)


class SimulatedSocket(socket.socket):
    """A socket of a simulated host. See :class:`socket.socket` for its methods.

    It blocks in a process of its own only: where a host's code shares one thread with all others, nobody could end the wait.
    """

    __slots__ = ("_kernel", "_timeout")

    _kernel: KernelSocket
    _timeout: float | None
    _io_refs: int
    _closed: bool

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self._io_refs = 0
        self._closed = False
        timeout = socket.getdefaulttimeout()
        stack = asking_stack()
        if fileno is not None:
            self._kernel = _file(stack, fileno)
        else:
            family = socket.AF_INET if family == -1 else family
            kind = socket.SOCK_STREAM if type == -1 else int(type)
            if kind & _NONBLOCK:
                timeout = 0.0
            if family not in {socket.AF_INET, socket.AF_INET6, _UNIX}:
                raise oserror(errno.EAFNOSUPPORT)
            self._kernel = stack.open(family, kind, 0 if proto == -1 else proto)
        self._timeout = timeout
        if timeout is not None:
            self._kernel.is_nonblocking = True

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def family(self) -> Any:
        """The address family."""
        return socket.AddressFamily(self._kernel.family)

    @property
    def type(self) -> Any:
        """The kind of socket."""
        return socket.SocketKind(self._kernel.kind)

    @property
    def proto(self) -> int:
        """The protocol number."""
        return self._kernel.proto

    @property
    def timeout(self) -> float | None:
        """Seconds that calls may block; ``None`` for ever."""
        return self._timeout

    def __repr__(self) -> str:
        kernel = self._kernel
        ends = "".join(
            f", {word}={kernel.show(address)!r}"
            for word, address in (("laddr", kernel.local), ("raddr", kernel.remote))
            if address is not None
        )
        state = " [closed]" if self._closed else ""
        return f"<simulated socket{state} of {kernel.stack.node.name!r} fd={self.fileno()}, {self.type.name}{ends}>"

    def fileno(self) -> int:
        """Return the simulated descriptor; -1 once closed."""
        return self._kernel.number if self._kernel.is_open else -1

    def get_inheritable(self) -> bool:
        """Nothing is ever inherited."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Nothing is ever inherited."""

    def setblocking(self, flag: bool) -> None:
        """Block for ever, or never."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Return whether calls may block."""
        return self._timeout != 0.0

    def settimeout(self, value: float | None) -> None:
        """Let calls block for so many seconds."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = None if value is None else float(value)
        self._kernel.is_nonblocking = value is not None

    def gettimeout(self) -> float | None:
        """Return for how many seconds calls may block."""
        return self._timeout

    def _open(self) -> KernelSocket:
        if not self._kernel.is_open:
            raise oserror(errno.EBADF)
        return self._kernel

    def _stream(self) -> StreamSocket:
        kernel = self._open()
        if not isinstance(kernel, StreamSocket):
            raise oserror(errno.EOPNOTSUPP)
        return kernel

    def _wait(self, call: str, wanted: int) -> None:
        """Nothing can be done at once: wait until the socket is ready, in a process that may block.

        Raises:
            BlockingIOError: the socket does not block.
            TimeoutError: its timeout is over.
            SimulationEscapeError: it blocks, and the program shares its thread with others.
        """
        timeout = self._timeout
        if timeout is None and self._kernel.is_nonblocking:  # by its number, behind this object's back
            timeout = 0.0
        wait_until_ready(self._kernel, f"socket.{call}", wanted, timeout, sys._getframe(2))

    # -- addresses and options -----------------------------------------------------------------------------------------

    def bind(self, address: Any) -> None:
        """Take an address."""
        kernel = self._open()
        kernel.bind(kernel.parse(address, binding=True))

    def getsockname(self) -> Any:
        """Return its own address."""
        kernel = self._open()
        return kernel.show(kernel.local)

    def getpeername(self) -> Any:
        """Return the other end's address."""
        kernel = self._open()
        if kernel.remote is None or (isinstance(kernel, StreamSocket) and not kernel.is_connected):
            raise oserror(errno.ENOTCONN)
        return kernel.show(kernel.remote)

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        """Return an option."""
        value = self._open().getsockopt(level, optname)
        if buflen is None:
            return int.from_bytes(value[:4], sys.byteorder) if isinstance(value, bytes) else value
        if isinstance(value, int):
            size = 8 if (level, optname) == (socket.SOL_SOCKET, socket.SO_LINGER) else 4
            value = value.to_bytes(size, sys.byteorder)
        return value[:buflen]

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set an option."""
        if isinstance(value, bytes | bytearray) and len(value) == 4:
            value = int.from_bytes(value, sys.byteorder)
        self._open().setsockopt(level, optname, bytes(value) if isinstance(value, bytearray) else value)

    # -- connections ---------------------------------------------------------------------------------------------------

    def listen(self, backlog: int = 128) -> None:
        """Wait for connections."""
        self._stream().listen(backlog)

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection and where it comes from."""
        kernel = self._stream()
        while (connection := kernel.accept()) is None:
            self._wait("accept", READ)
        kernel.stack.register(connection)
        return simulate(connection), connection.show(connection.remote)

    def connect(self, address: Any) -> None:
        """Connect; a socket that does not block says that it is under way."""
        kernel = self._open()
        if isinstance(kernel, StreamSocket | DatagramSocket) and not kernel.connect(kernel.parse(address)):
            if self._timeout == 0.0:
                raise BlockingIOError(errno.EINPROGRESS, "Operation now in progress")
            self._wait("connect", WRITE)
            kernel.take_error()

    def connect_ex(self, address: Any) -> int:
        """Connect, and return the number of the error instead of raising it."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        self._stream().shutdown(how)

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Read what is there, up to ``bufsize`` bytes."""
        kernel = self._kernel
        if type(kernel) is not StreamSocket:
            return self.recvfrom(bufsize, flags)[0]
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if not kernel.is_open:
            raise oserror(errno.EBADF)
        while (
            data := kernel.recv(bufsize, peek=bool(flags & _PEEK)) if flags else kernel.recv(bufsize)
        ) is None:
            self._wait("recv", READ)
        return data

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Read a datagram and its sender; of a stream, what is there."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        kernel = self._open()
        if isinstance(kernel, DatagramSocket):
            while (found := kernel.recvfrom(bufsize, peek=bool(flags & _PEEK))) is None:
                self._wait("recvfrom", READ)
            return found
        return self.recv(bufsize, flags), None

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into a buffer."""
        with memoryview(buffer) as whole, whole.cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
        return len(data)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Read a datagram into a buffer."""
        with memoryview(buffer) as whole, whole.cast("B") as view:
            data, address = self.recvfrom(nbytes or len(view), flags)
            view[: len(data)] = data
        return len(data), address

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, Any]:
        """Read without ancillary data: there is none."""
        data, address = self.recvfrom(bufsize, flags)
        return data, [], 0, address

    def send(self, data: Any, flags: int = 0) -> int:
        """Send what there is room for."""
        kernel = self._kernel
        if type(kernel) is not StreamSocket:
            return self.sendto(data)
        if type(data) is bytes and kernel.is_open:
            return kernel.send(data) or self._send(kernel, data)
        self._open()
        # Let go of at once: the caller may want to resize its buffer while it handles the error.
        with memoryview(data) as whole, whole.cast("B") as view:
            return self._send(kernel, view)

    def _send(self, kernel: StreamSocket, view: bytes | memoryview) -> int:
        while not (sent := kernel.send(view)) and len(view):
            self._wait("send", WRITE)
        return sent

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything."""
        with memoryview(data) as whole, whole.cast("B") as view:
            sent = 0
            while sent < len(view):
                with view[sent:] as rest:
                    sent += self.send(rest)

    def sendto(self, data: Any, *arguments: Any) -> int:
        """Send a datagram."""
        kernel = self._open()
        if isinstance(kernel, DatagramSocket):
            address = arguments[-1] if arguments else None
            return kernel.sendto(data, None if address is None else kernel.parse(address))
        return self.send(data)

    def sendmsg(self, buffers: Iterable[Any], ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """Send several buffers as one, without ancillary data."""
        if list(ancdata):
            raise oserror(errno.EOPNOTSUPP)
        data = b"".join(memoryview(each).cast("B") for each in buffers)
        return self.send(data) if address is None else self.sendto(data, address)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _real_close(self, _ss: object = None) -> None:
        self._kernel.close()

    def __del__(self) -> None:  # as a real one that is let go of, though without a warning
        kernel = getattr(self, "_kernel", None)
        if kernel is not None and kernel.is_open:
            kernel.close()

    def detach(self) -> int:
        """Give the descriptor away: this object is closed, the socket is not."""
        self._closed = True
        number, kernel = self.fileno(), self._kernel
        self._kernel = _Detached(kernel.stack, kernel.family, kernel.kind)
        self._kernel.is_open = False
        return number

    def dup(self) -> Any:
        """Refuse: a simulated socket has one descriptor."""
        refuse(COPIES, "socket.dup", sys._getframe(1))


class _Detached(KernelSocket):
    """What a socket object stands for that has given its descriptor away."""

    __slots__ = ()

    def close(self) -> None:
        """There is nothing to close."""


def _file(stack: Stack, number: int) -> KernelSocket:
    kernel = stack.descriptors.files.get(number)
    if kernel is None:
        if number < FIRST_DESCRIPTOR:
            refuse(DESCRIPTORS, f"socket.socket(fileno={number})", sys._getframe(2))
        raise oserror(errno.EBADF)
    return kernel


def wait_until_ready(
    kernel: KernelSocket, call: str, wanted: int, timeout: float | None, frame: FrameType
) -> None:
    """Nothing can be done at once: wait until it is ready for what is wanted, in a process that may block.

    Raises:
        BlockingIOError: it does not block.
        TimeoutError: the timeout, in seconds, is over.
        SimulationEscapeError: it blocks, and the program shares its thread with others.
    """
    if timeout == 0.0:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    strand = current_strand()
    if strand is None:
        refuse(BLOCKING, call, frame)
    wait_for_files(strand, kernel.stack.descriptors, {kernel.number: wanted}, timeout)
    if kernel.is_open and not kernel.readiness() & wanted:
        raise TimeoutError("timed out")


def new_socket() -> SimulatedSocket:
    """Make the bare object."""
    made: SimulatedSocket = _socket.socket.__new__(SimulatedSocket)
    return made


def simulate(kernel: KernelSocket) -> SimulatedSocket:
    """Return the object for a socket that the kernel has made."""
    made = new_socket()
    made._io_refs = 0
    made._closed = False
    made._kernel = kernel
    made._timeout = socket.getdefaulttimeout()
    kernel.is_nonblocking = made._timeout is not None
    return made


def pair(stack: Stack, family: int, kind: int) -> tuple[SimulatedSocket, SimulatedSocket]:
    """Make two sockets that are connected with each other."""
    one, other = (stack.open(family, kind, 0) for _ in range(2))
    mine, theirs = stack.unnamed(), stack.unnamed()
    if isinstance(one, StreamSocket) and isinstance(other, StreamSocket):
        one.join(other, mine, theirs)
    else:
        for each, local, remote in ((one, mine, theirs), (other, theirs, mine)):
            each.local, each.remote = local, remote
            stack.pairs[local] = each
    return simulate(one), simulate(other)
