"""What all simulated sockets have in common: a number, an owner, an address, options, and somebody who may wait for them."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from pytest_convergence._engine.base.packets import Address, Packet
from pytest_convergence._engine.sim.net.directory import as_sockaddr, family_of, is_wildcard

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.stack import Stack

__all__ = ["BUFFER", "KernelSocket", "oserror"]

BUFFER: Final = 131_072
"""How many bytes of a stream may be under way or unread, each way, unless a program asks for another size."""

_LEAST_BUFFER: Final = 2_304
_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_MAPPED: Final = "::ffff:"
"""How a socket of IPv6 shows an address of IPv4 (RFC 4291, 2.5.5.2)."""

_MULTICAST: Final = {
    (getattr(socket, level), getattr(socket, name))
    for level, name in (
        ("IPPROTO_IP", "IP_ADD_MEMBERSHIP"),
        ("IPPROTO_IPV6", "IPV6_JOIN_GROUP"),
    )
    if hasattr(socket, name)
}
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", -1)
_BUFFERS: Final = {socket.SO_SNDBUF, socket.SO_RCVBUF}
_SWITCHES: Final = {
    getattr(socket, name)
    for name in (
        "SO_REUSEADDR",
        "SO_REUSEPORT",
        "SO_KEEPALIVE",
        "SO_BROADCAST",
        "SO_OOBINLINE",
        "SO_DONTROUTE",
    )
    if hasattr(socket, name)
}
"""Options of 0 or 1, whatever they are set to."""

_KNOWN: Final = {number for name, number in vars(socket).items() if name.startswith("SO_")}
_PROTOCOLS: Final = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}


def oserror(number: int) -> OSError:
    """Return the error that Linux answers with, of the subclass that Python gives it."""
    return OSError(number, os.strerror(number))


class KernelSocket:
    """One open socket, as the kernel sees it.

    Attributes:
        number: its descriptor; -1 before it has one, and once it is closed.
        stack: the host that it belongs to.
        local, remote: its addresses, ``None`` as long as it has none.
        error: what goes wrong at the next call, as an ``errno``; 0 for nothing.
        key: who waits for it (a selector's key), or ``None``.
        reader: what is to be run when there is something to read, if the loop waits for nothing else of it.
        is_open: whether the program has not closed it.
        is_nonblocking: whether calls by its number give ``EAGAIN`` instead of waiting (``O_NONBLOCK``).
    """

    __slots__ = (
        "error",
        "family",
        "is_nonblocking",
        "is_open",
        "key",
        "kind",
        "local",
        "number",
        "options",
        "proto",
        "reader",
        "remote",
        "stack",
    )

    def __init__(self, stack: Stack, family: int, kind: int, proto: int = 0) -> None:
        self.stack = stack
        self.family = family
        self.kind = kind
        self.proto = proto
        self.number = -1
        self.local: Address | None = None
        self.remote: Address | None = None
        self.error = 0
        self.key: Any = None
        self.reader: Any = None
        self.is_open = True
        self.is_nonblocking = False
        self.options: dict[tuple[int, int], Any] = {}

    # -- readiness -----------------------------------------------------------------------------------------------------

    def readiness(self) -> int:
        """Return what it is ready for, as a mask of ``READ`` and ``WRITE``."""
        raise NotImplementedError

    def changed(self) -> None:
        """Tell whoever waits that it may be ready for something else now."""
        if self.key is not None:
            self.stack.descriptors.changed(self)

    def take_error(self) -> None:
        """Raise what went wrong in the meantime, once."""
        number, self.error = self.error, 0
        if number:
            self.changed()
            raise oserror(number)

    # -- addresses -----------------------------------------------------------------------------------------------------

    def parse(self, address: Any, *, binding: bool = False) -> Address:
        """Turn an address as :mod:`socket` takes it into ours; names are resolved.

        Raises:
            TypeError, OverflowError: as the real one does.
            socket.gaierror: the name is unknown.
        """
        if self.family == _UNIX:
            return os.fsdecode(address), 0
        if not isinstance(address, tuple) or len(address) not in (
            {2} if self.family == socket.AF_INET else {2, 3, 4}
        ):
            raise TypeError(
                f"{socket.AddressFamily(self.family).name} address must be a tuple, not {address!r}"
            )
        host, port = address[:2]
        if not isinstance(port, int):
            raise TypeError(f"an integer is required for the port, not {port!r}")
        if not 0 <= port <= 0xFFFF:
            raise OverflowError("port must be 0-65535.")
        if host in {"", b""}:
            host = "0.0.0.0" if self.family == socket.AF_INET else "::"
        elif host == "<broadcast>":
            host = "255.255.255.255"
        elif self.family == socket.AF_INET6 and isinstance(host, str) and host.startswith(_MAPPED):
            return host.removeprefix(_MAPPED), port
        ip = self.stack.directory.resolve(
            host.decode() if isinstance(host, bytes) else host, self.family, self.stack.node
        )[0]
        if not binding and is_wildcard(ip):  # Linux takes the wildcard for the host itself
            ip = "127.0.0.1" if family_of(ip) == socket.AF_INET else "::1"
        return ip, port

    def show(self, address: Address | None) -> Any:
        """Return an address as :mod:`socket` shows it."""
        if self.family == _UNIX:
            if address is None or address[1]:  # an unnamed one
                return ""
            return address[0].encode() if address[0].startswith("\0") else address[0]
        if address is None:
            return as_sockaddr("0.0.0.0" if self.family == socket.AF_INET else "::", 0)
        ip, port = address
        if self.family == socket.AF_INET6 and ":" not in ip:
            ip = f"{_MAPPED}{ip}"
        return as_sockaddr(ip, port)

    def bind(self, address: Address) -> None:
        """Take an address; port 0 takes a free one.

        Raises:
            OSError: it is in use, is not this host's, or the socket has one already.
        """
        if self.local is not None:
            raise oserror(errno.EINVAL)
        self.local = self.stack.bind(self, address)

    # -- options -------------------------------------------------------------------------------------------------------

    def getsockopt(self, level: int, name: int) -> int | bytes:
        """Answer ``getsockopt``: what was set, or what Linux begins with."""
        if level == socket.SOL_SOCKET:
            if name == socket.SO_ERROR:
                number, self.error = self.error, 0
                if number:
                    self.changed()
                return number
            if name == socket.SO_TYPE:
                return self.kind
            if name == getattr(socket, "SO_PROTOCOL", -1):
                return self.proto or (0 if self.family == _UNIX else _PROTOCOLS[socket.SocketKind(self.kind)])
            if name == getattr(socket, "SO_DOMAIN", -1):
                return self.family
            if name in _BUFFERS:
                return int(self.options.get((level, name), BUFFER))
            if name not in _KNOWN:
                raise oserror(errno.ENOPROTOOPT)
        value: int | bytes = self.options.get((level, name), 0)
        return value

    def setsockopt(self, level: int, name: int, value: Any) -> None:
        """Keep an option. Sizes of buffers, ``SO_LINGER``, ``SO_REUSEPORT`` and those about silence have an effect.

        Raises:
            OSError: it joins a group of multicast, which is not simulated.
        """
        if (level, name) in _MULTICAST:
            raise oserror(errno.ENODEV)  # as on a machine without an interface that knows of it
        if level == socket.SOL_SOCKET and name in _BUFFERS:
            value = max(2 * int(value), _LEAST_BUFFER)  # as Linux does
        elif level == socket.SOL_SOCKET and name in _SWITCHES:
            value = int(bool(value))
        self.options[level, name] = value

    def loses_patience_in(self, waits_ns: list[int]) -> int | None:
        """Return when it gives up before the last of these waits for an answer is over (``TCP_USER_TIMEOUT``)."""
        most_ns = int(self.options.get((socket.IPPROTO_TCP, _USER_TIMEOUT), 0)) * 1_000_000
        return max(0, most_ns - sum(waits_ns[:-1])) if 0 < most_ns <= sum(waits_ns) else None

    def buffer(self, name: int) -> int:
        """Return the size of a buffer."""
        return int(self.options.get((socket.SOL_SOCKET, name), BUFFER))

    def reuses(self, name: int) -> bool:
        """Whether an option that allows an address to be shared is set."""
        return bool(self.options.get((socket.SOL_SOCKET, name)))

    # -- what arrives, and the end -------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """Take a packet that was for this socket."""
        raise NotImplementedError

    def gave_up(self, packet: Packet, number: int) -> None:
        """Hear that a packet will not get through, however often it is sent."""

    def close(self) -> None:
        """The program has closed it."""
        raise NotImplementedError

    def vanish(self) -> None:
        """Its process is gone, and nobody is told."""
        self.is_open = False
        self.key = self.reader = None
        self.stack.descriptors.close(self.number)
        self.stack.forget_transport(self.number)
