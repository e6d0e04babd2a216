"""Names and addresses of the hosts of one session, and the answers of the resolver."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence.errors import ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Directory", "family_of", "loopback_of"]

_V4_BASE: Final = int(ipaddress.IPv4Address("10.0.0.0"))
_V6_BASE: Final = int(ipaddress.IPv6Address("fd00::"))
_LOCALHOST: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
_PROTOCOLS: Final = (
    (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    (socket.SOCK_RAW, socket.IPPROTO_IP),
)


@cache
def family_of(ip: str) -> int:
    """Return the address family of an IP address in text.

    Raises:
        ValueError: it is none.
    """
    parsed = ipaddress.ip_address(ip.partition("%")[0])
    return int(socket.AF_INET if parsed.version == 4 else socket.AF_INET6)


@cache
def is_loopback(ip: str) -> bool:
    """Whether an address is one of the host's own loopback interface."""
    return ipaddress.ip_address(ip.partition("%")[0]).is_loopback


@cache
def is_wildcard(ip: str) -> bool:
    """Whether an address stands for all of a host."""
    return ip in {"0.0.0.0", "::", ""}


def loopback_of(family: int) -> str:
    """Return the loopback address of a family."""
    return "127.0.0.1" if family == socket.AF_INET else "::1"


@final
class Directory:
    """Who is where: ``10.0.0.k`` and ``fd00::k`` for the k-th node of a session, its name, and its other names."""

    __slots__ = ("_aliases", "_by_ip", "_nodes")

    def __init__(self, nodes: dict[str, Node]) -> None:
        self._nodes = nodes
        self._by_ip: dict[str, Node] = {}
        self._aliases: dict[str, str] = {}

    def alias(self, name: str, other_names: Iterable[str]) -> None:
        """Let a host be found by other names too.

        Raises:
            ConvergenceUsageError: another host has one of them.
        """
        for other in other_names:
            known = self._aliases.setdefault(other.lower(), name)
            if known != name or other in self._nodes:
                raise ConvergenceUsageError(
                    f"{other!r} is the name of host {known!r} already; a name leads to one host."
                )

    def addresses(self, node: Node) -> tuple[str, str]:
        """Return the IPv4 and the IPv6 address of a node."""
        number = node.index + 1
        pair = str(ipaddress.IPv4Address(_V4_BASE + number)), str(ipaddress.IPv6Address(_V6_BASE + number))
        self._by_ip[pair[0]] = self._by_ip[pair[1]] = node
        return pair

    def node_at(self, ip: str) -> Node | None:
        """Return who has an address."""
        node = self._by_ip.get(ip)
        if node is None:
            for other in self._nodes.values():
                self.addresses(other)
            node = self._by_ip.get(ip)
        return node

    def name_of(self, ip: str, asking: Node) -> str | None:
        """Return the name of who has an address, as ``asking`` sees it."""
        if is_loopback(ip):
            return "localhost"
        node = asking if ip in self.addresses(asking) else self.node_at(ip)
        return None if node is None else node.name

    def resolve(self, host: str, family: int, asking: Node) -> list[str]:
        """Return the addresses of a name or address in text, those of IPv4 first (RFC 6724 prefers them to fd00::/8).

        Raises:
            socket.gaierror: no host of the session has the name, or none in this family.
        """
        try:
            own = family_of(host)
        except ValueError:
            return self._look_up(host, family, asking)
        if family not in {socket.AF_UNSPEC, own}:
            raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported")
        return [host]

    def _look_up(self, host: str, family: int, asking: Node) -> list[str]:
        name = host.rstrip(".")
        if name.lower() in _LOCALHOST:
            found: tuple[str, ...] = ("::1", "127.0.0.1")
        else:
            node = self._nodes.get(self._aliases.get(name.lower(), name)) or self._nodes.get(name.lower())
            if node is None and name == asking.name:
                node = asking
            if node is None:
                known = ", ".join([*self._nodes, *self._aliases])
                raise socket.gaierror(
                    socket.EAI_NONAME,
                    f"Name or service not known: {host!r} is no host of this simulated network (there are: {known}). Add it "
                    f"with session.host({host!r}, …), or give it to a host as one of its names=.",
                )
            found = self.addresses(node)
        return [ip for ip in found if family in {socket.AF_UNSPEC, family_of(ip)}]

    def getaddrinfo(
        self,
        asking: Node,
        host: Any,
        port: Any,
        family: int = 0,
        kind: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, Any, int, str, tuple[Any, ...]]]:
        """Answer :func:`socket.getaddrinfo` for a node."""
        if host is None and port is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if isinstance(host, bytes):
            host = host.decode("idna")
        if host is None or host == "":
            passive = flags & socket.AI_PASSIVE
            every = ("0.0.0.0", "::") if passive else ("::1", "127.0.0.1")
            found = [ip for ip in every if family in {socket.AF_UNSPEC, family_of(ip)}]
        else:
            if flags & socket.AI_NUMERICHOST:
                try:
                    family_of(host)
                except ValueError:
                    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            found = self.resolve(host, family, asking)
        number = _port(port, kind)
        canonical = str(host) if flags & socket.AI_CANONNAME and host else ""
        known = [(each, own) for each, own in _PROTOCOLS if kind in {0, each} and proto in {0, own}]
        if not known:
            raise socket.gaierror(socket.EAI_SOCKTYPE, "ai_socktype not supported")
        return [
            (
                socket.AddressFamily(family_of(ip)),
                socket.SocketKind(each),
                own,
                canonical,
                as_sockaddr(ip, number),
            )
            for ip in found
            for each, own in known
        ]


def _port(port: Any, kind: int) -> int:
    if port is None or port == "" or port == b"":
        return 0
    if isinstance(port, int):
        return port & 0xFFFF
    text = port.decode() if isinstance(port, bytes) else str(port)
    if text.isdigit():
        return int(text)
    try:
        return socket.getservbyname(text, "udp" if kind == socket.SOCK_DGRAM else "tcp")
    except OSError:
        raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype") from None


def as_sockaddr(ip: str, port: int) -> tuple[Any, ...]:
    """Return an address as :mod:`socket` shows it."""
    return (ip, port) if ":" not in ip else (ip, port, 0, 0)
