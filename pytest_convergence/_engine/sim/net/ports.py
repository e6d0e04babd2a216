"""The ports of one host: which socket has which, which of them listens, and who takes what comes for a port."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from pytest_convergence._engine.sim.net.directory import family_of, is_wildcard
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror

if TYPE_CHECKING:
    from pytest_convergence._engine.base.packets import Address
    from pytest_convergence._engine.sim.net.stream import StreamSocket

__all__ = ["Ports"]

_FIRST_EPHEMERAL: Final = 32_768
_LAST_EPHEMERAL: Final = 60_999
_REUSEPORT: Final = getattr(socket, "SO_REUSEPORT", -1)
_V6_ONLY: Final = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


class Ports:
    """The ports of one host."""

    __slots__ = ("_bound", "_listeners", "_next_port")

    def __init__(self) -> None:
        self._bound: dict[tuple[int, int], list[KernelSocket]] = {}  # (kind, port)
        self._listeners: dict[int, list[StreamSocket]] = {}
        self._next_port = _FIRST_EPHEMERAL

    @property
    def serve(self) -> bool:
        """Whether a socket waits for connections, or could be sent datagrams."""
        return bool(self._listeners) or any(kind == socket.SOCK_DGRAM for kind, _ in self._bound)

    def take(self, made: KernelSocket, ip: str, port: int) -> int:
        """Give a socket a port, a free one for 0.

        Raises:
            OSError: it is in use.
        """
        if not port:
            port = self._free(made, ip)
        elif self._in_use(made, ip, port):
            raise oserror(errno.EADDRINUSE)
        self._bound.setdefault((made.kind, port), []).append(made)
        return port

    def _in_use(self, made: KernelSocket, ip: str, port: int) -> bool:
        return any(self._collide(made, ip, other) for other in self._bound.get((made.kind, port), ()))

    def _free(self, made: KernelSocket, ip: str) -> int:
        for _ in range(_LAST_EPHEMERAL - _FIRST_EPHEMERAL + 1):
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_EPHEMERAL else _FIRST_EPHEMERAL
            if not self._in_use(made, ip, port):
                return port
        raise oserror(errno.EADDRINUSE)

    def _collide(self, made: KernelSocket, ip: str, other: KernelSocket) -> bool:
        theirs, port = address_of(other)
        same_family = family_of(ip) == family_of(theirs)
        if not same_family:
            only_v6 = made.options.get(_V6_ONLY) or other.options.get(_V6_ONLY)
            if only_v6 or "::" not in {theirs, ip}:
                return False
        elif ip != theirs and not is_wildcard(ip) and not is_wildcard(theirs):
            return False
        if made.reuses(_REUSEPORT) and other.reuses(_REUSEPORT):
            return False
        listening = other in self._listeners.get(port, ())
        return listening or not (made.reuses(socket.SO_REUSEADDR) and other.reuses(socket.SO_REUSEADDR))

    def release(self, made: KernelSocket) -> None:
        """A socket does not need its port any more."""
        key = made.kind, address_of(made)[1]
        bound = self._bound.get(key, [])
        if made in bound:
            bound.remove(made)
            if not bound:
                del self._bound[key]

    def listen(self, listener: StreamSocket) -> None:
        """A socket waits for connections from now on.

        Raises:
            OSError: another one does so at its address, and they do not share it.
        """
        ip, port = address_of(listener)
        waiting = self._listeners.setdefault(port, [])
        if listener in waiting:
            return
        if any(self._collide(listener, ip, other) for other in waiting):
            raise oserror(errno.EADDRINUSE)
        waiting.append(listener)

    def unlisten(self, listener: StreamSocket) -> None:
        """It does not any more."""
        port = address_of(listener)[1]
        waiting = self._listeners.get(port, [])
        if listener in waiting:
            waiting.remove(listener)
            if not waiting:
                del self._listeners[port]

    def listener(self, target: Address) -> StreamSocket | None:
        """Return who takes a connection to an address; of several that share it, the one with the fewest that wait."""
        found = [each for each in self._listeners.get(target[1], ()) if _answers(each, target[0])]
        exact = [each for each in found if address_of(each)[0] == target[0]]
        return min(exact or found, key=lambda each: len(each.pending), default=None)

    def datagram_socket(self, target: Address, source: Address) -> KernelSocket | None:
        """Return who takes a datagram: who is connected with its sender, or bound to this very address, or to all."""
        bound = self._bound.get((socket.SOCK_DGRAM, target[1]), ())
        found = [each for each in bound if _answers(each, target[0])]
        if len(found) == 1:
            return found[0] if found[0].remote is None or found[0].remote == source else None
        connected = [each for each in found if each.remote == source]
        open_to_all = [each for each in found if each.remote is None]
        exact = [each for each in open_to_all if address_of(each)[0] == target[0]]
        candidates = connected or exact or open_to_all
        return candidates[-1] if candidates else None

    def clear(self) -> None:
        """All sockets are gone."""
        self._bound.clear()
        self._listeners.clear()


def address_of(made: KernelSocket) -> Address:
    """Return the address of a socket that is bound."""
    return made.local or ("", 0)


def _answers(made: KernelSocket, ip: str) -> bool:
    """Whether a socket that is bound takes what comes for an address of its host."""
    own, _ = address_of(made)
    if own == ip:
        return True
    if own == "::":
        return not made.options.get(_V6_ONLY) or family_of(ip) == socket.AF_INET6
    return is_wildcard(own) and family_of(ip) == socket.AF_INET
