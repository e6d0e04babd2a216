"""One host's kernel, as far as the network goes: ports, connections, what is sent and what arrives.

1. Between hosts a packet is a message of the session's network: it has a label (``deliver client→server #3``), a fate that
   the schedule chooses, rules that apply, and a place in the trace. On the loopback interface it takes 20 µs and always
   arrives.
2. The stack lives as long as the node; sockets belong to one life. When a process dies its kernel sends resets for its
   connections and refuses new ones. When the machine loses power, nobody hears anything; after its restart, it answers
   packets of connections that it does not know by resets (RFC 9293, 3.10.7).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.base.packets import (
    ACCEPT,
    CONNECT,
    DATA,
    DATAGRAM,
    END,
    RESET,
    UNREACHABLE,
    WINDOW,
    WORDS,
    Address,
    Packet,
)
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import RECEIVE
from pytest_convergence._engine.sim.net.datagram import DatagramSocket
from pytest_convergence._engine.sim.net.descriptors import Descriptors, descriptors_of
from pytest_convergence._engine.sim.net.directory import (
    Directory,
    family_of,
    is_loopback,
    is_wildcard,
    loopback_of,
)
from pytest_convergence._engine.sim.net.disturbance import SILENCE, Disturbance
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror
from pytest_convergence._engine.sim.net.stream import StreamSocket
from pytest_convergence._engine.sim.world import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.links import Link
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Stack", "asking_stack", "stack_of"]

LOOPBACK_NS: Final = 20_000
_FIRST_EPHEMERAL: Final = 32_768
_LAST_EPHEMERAL: Final = 60_999
_RETRY_NS: Final = NS_PER_SECOND // 5
_CONNECT_RETRY_NS: Final = NS_PER_SECOND
_LONGEST_RETRY_NS: Final = 120 * NS_PER_SECOND
_RETRIES: Final = 15
_CONNECT_RETRIES: Final = 6
_NO_ROUTE_NS: Final = 3 * NS_PER_SECOND
_SURE: Final = frozenset({CONNECT, ACCEPT, DATA, END, WINDOW})
"""What is sent again when it is lost."""

_REUSEPORT: Final = getattr(socket, "SO_REUSEPORT", -1)


@final
class Stack:
    """The network of one node.

    Attributes:
        flows: (own address, other address) -> connection.
        unix: path -> socket that is bound to it.
        pairs: address -> one of two Unix sockets for datagrams that were made as a pair.
        sockets: those of the present life.
        silently: how it is to crash next; ``None`` leaves it to the schedule.
        listens: whether a socket of the present life waits for connections, or is bound to a datagram port.
    """

    __slots__ = (
        "_after_crash",
        "_bound",
        "_disturbance",
        "_listeners",
        "_next_port",
        "_next_unnamed",
        "descriptors",
        "directory",
        "flows",
        "ips",
        "node",
        "pairs",
        "silently",
        "sockets",
        "unix",
    )

    def __init__(self, node: Node, directory: Directory) -> None:
        self.node = node
        self.directory = directory
        self.ips = directory.addresses(node)
        self.descriptors: Descriptors = descriptors_of(node.fabric.world)
        self.flows: dict[tuple[Address, Address], StreamSocket] = {}
        self.unix: dict[str, KernelSocket] = {}
        self.pairs: dict[Address, KernelSocket] = {}
        self.sockets: dict[KernelSocket, None] = {}
        self._bound: dict[tuple[int, int], list[KernelSocket]] = {}  # (kind, port)
        self._listeners: dict[int, list[StreamSocket]] = {}
        self._next_port = _FIRST_EPHEMERAL
        self._next_unnamed = 0
        self._disturbance = Disturbance(node.fabric, node.name)
        self._after_crash = node.fabric.choices.every(f"silence {node.name}", SILENCE)
        self.silently: bool | None = None
        node.receivers["net"] = self._arrive
        node.on_crash.append(self._crash)
        node.fabric.world.closers.append(self.close)

    @property
    def listens(self) -> bool:
        """Whether somebody could still want something of this host: it serves."""
        return bool(self._listeners or self.unix) or any(kind == socket.SOCK_DGRAM for kind, _ in self._bound)

    # -- sockets and addresses -----------------------------------------------------------------------------------------

    def open(self, family: int, kind: int, proto: int) -> KernelSocket:
        """Make a socket with a descriptor.

        Raises:
            OSError: this kind of socket is not simulated.
        """
        base = kind & 0xF
        if base == socket.SOCK_STREAM:
            made: KernelSocket = StreamSocket(self, family, proto)
        elif base == socket.SOCK_DGRAM:
            made = DatagramSocket(self, family, proto)
        else:
            raise oserror(errno.EPROTONOSUPPORT)
        return self.register(made)

    def register(self, made: KernelSocket) -> KernelSocket:
        """Give a socket its descriptor."""
        made.number = self.descriptors.open(made)
        self.sockets[made] = None
        return made

    def unnamed(self) -> Address:
        """Return the address of a Unix socket that has no path."""
        self._next_unnamed += 1
        return "", self._next_unnamed

    def is_own(self, ip: str) -> bool:
        """Whether an address is one of this host."""
        return ip in self.ips or is_loopback(ip)

    def bind(self, made: KernelSocket, address: Address) -> Address:
        """Give a socket an address.

        Raises:
            OSError: in use, or not of this host.
        """
        ip, port = address
        if made.family == getattr(socket, "AF_UNIX", -1):
            if ip in self.unix:
                raise oserror(errno.EADDRINUSE)
            self.unix[ip] = made
            return address
        if not (is_wildcard(ip) or self.is_own(ip)):
            raise oserror(errno.EADDRNOTAVAIL)
        if not port:
            port = self._free_port(made, ip)
        elif any(self._collide(made, ip, other) for other in self._bound.get((made.kind, port), ())):
            raise oserror(errno.EADDRINUSE)
        self._bound.setdefault((made.kind, port), []).append(made)
        return ip, port

    def _collide(self, made: KernelSocket, ip: str, other: KernelSocket) -> bool:
        theirs, _ = _address_of(other)
        same_family = family_of(ip) == family_of(theirs)
        both = made.options.get((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) or other.options.get(
            (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        )
        if not same_family and (both or not (theirs == "::" or ip == "::")):
            return False
        if same_family and ip != theirs and not is_wildcard(ip) and not is_wildcard(theirs):
            return False
        if made.reuses(_REUSEPORT) and other.reuses(_REUSEPORT):
            return False
        listening = isinstance(other, StreamSocket) and other in self._listeners.get(
            _address_of(other)[1], ()
        )
        reused = made.reuses(socket.SO_REUSEADDR) and other.reuses(socket.SO_REUSEADDR)
        return listening or not reused

    def _free_port(self, made: KernelSocket, ip: str) -> int:
        for _ in range(_LAST_EPHEMERAL - _FIRST_EPHEMERAL + 1):
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_EPHEMERAL else _FIRST_EPHEMERAL
            if not any(self._collide(made, ip, other) for other in self._bound.get((made.kind, port), ())):
                return port
        raise oserror(errno.EADDRINUSE)

    def source_for(self, made: KernelSocket, remote: Address) -> Address:
        """Return the address that a socket sends from to ``remote``; one without an address gets a port."""
        local = made.local
        if local is None or not local[1]:
            local = self.bind(
                made, (loopback_of(made.family) if is_loopback(remote[0]) else self._own(made.family), 0)
            )
            made.local = local
        elif is_wildcard(local[0]):
            local = (remote[0] if self.is_own(remote[0]) else self._own(family_of(remote[0]))), local[1]
        return local

    def _own(self, family: int) -> str:
        return self.ips[0] if family == socket.AF_INET else self.ips[1]

    def release(self, made: KernelSocket) -> None:
        """A socket was closed: its address is free."""
        self.sockets.pop(made, None)
        if made.local is None:
            return
        self.pairs.pop(made.local, None)
        if self.unix.get(made.local[0]) is made:
            del self.unix[made.local[0]]
            return
        bound = self._bound.get((made.kind, made.local[1]), [])
        if made in bound:
            bound.remove(made)
            if not bound:
                del self._bound[made.kind, made.local[1]]

    def listen(self, listener: StreamSocket) -> None:
        """A socket waits for connections from now on."""
        ip, port = _address_of(listener)
        if self.unix.get(ip) is not listener:
            waiting = self._listeners.setdefault(port, [])
            if listener not in waiting:
                waiting.append(listener)

    def unlisten(self, listener: StreamSocket) -> None:
        """It does not any more."""
        _, port = _address_of(listener)
        waiting = self._listeners.get(port, [])
        if listener in waiting:
            waiting.remove(listener)
            if not waiting:
                del self._listeners[port]

    # -- sending -------------------------------------------------------------------------------------------------------

    def transmit(self, packet: Packet) -> Link | None:
        """Put a packet on its way; return the link that the next ones of its connection may take, if there is one."""
        ip = packet.target[0]
        if ip in self.ips or not ip or is_loopback(ip) or packet.source[0] == ip:
            self.loop_back(packet)
            return None
        target = self.directory.node_at(ip)
        if target is None:
            self._no_route(packet)
            return None
        if target.stack is None:
            stack_of(target)
        link = self.node.fabric.link(self.node, target.name)
        link.post(packet, WORDS[packet.kind], "net")
        return link

    def loop_back(self, packet: Packet) -> None:
        """Send a packet to this host itself."""
        world = self.node.fabric.world
        world.at(world.now_ns + LOOPBACK_NS, self.arrive_here, (self.node.life, packet))

    def arrive_here(self, event: tuple[Any, Packet]) -> None:
        """A packet comes on the loopback interface, or is what was left of one; it concerns one life."""
        life, packet = event
        if life is self.node.life and life.alive:
            self.receive(packet)

    def _no_route(self, packet: Packet) -> None:
        world = self.node.fabric.world
        world.at(world.now_ns + _NO_ROUTE_NS, self._give_up, (packet, errno.EHOSTUNREACH))

    def lost(self, packet: Packet) -> None:
        """The network has lost a packet of ours: send it again after a while, or give up."""
        if packet.kind not in _SURE:
            return
        first = packet.kind == CONNECT
        if packet.attempt >= (_CONNECT_RETRIES if first else _RETRIES):
            self._give_up((packet, errno.ETIMEDOUT))
            return
        wait_ns = min((_CONNECT_RETRY_NS if first else _RETRY_NS) << packet.attempt, _LONGEST_RETRY_NS)
        world = self.node.fabric.world
        world.at(world.now_ns + wait_ns, self._send_again, (self.node.life, packet.again()))

    def _send_again(self, event: tuple[Any, Packet]) -> None:
        life, packet = event
        if life.alive and life is self.node.life and self._still_wanted(packet):
            self.transmit(packet)

    def _still_wanted(self, packet: Packet) -> bool:
        flow = self.flows.get((packet.source, packet.target))
        return flow is not None and (flow.is_open or packet.kind != CONNECT)

    def drop_connect(self, packet: Packet) -> None:
        """The queue of a listener is full: the one who asks will ask again."""
        asking = self.directory.node_at(packet.source[0]) if not is_loopback(packet.source[0]) else self.node
        if asking is not None and asking.stack is not None:
            asking.stack.lost(packet)

    def _give_up(self, event: tuple[Packet, int]) -> None:
        packet, number = event
        made = self.flows.get((packet.source, packet.target))
        if made is not None:
            made.gave_up(packet, number)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _arrive(self, message: InFlight) -> None:
        """A message of the network has come."""
        fabric = self.node.fabric
        fabric.mark(RECEIVE, self.node, message)
        packet: Packet | None = message[2]
        assert packet is not None
        if packet.kind == DATA:
            packet = self._disturbance.disturb(self, message[0], packet)
        if packet is not None:
            self.receive(packet)

    def receive(self, packet: Packet) -> None:
        """Give a packet to whom it is for."""
        flow = self.flows.get((packet.target, packet.source))
        if flow is not None:
            if packet.kind == CONNECT:  # asked twice: the first answer was lost, and is sent again by itself
                return
            flow.receive(packet)
            return
        kind = packet.kind
        if kind == CONNECT:
            listener = self._listener(packet.target)
            if listener is not None:
                listener.admit(packet)
                return
        elif kind in {DATAGRAM, UNREACHABLE}:
            self._datagram(packet)
            return
        if kind in {CONNECT, DATA, END, ACCEPT}:
            self.transmit(Packet(RESET, packet.target, packet.source))

    def _listener(self, target: Address) -> StreamSocket | None:
        found = [each for each in self._listeners.get(target[1], ()) if _answers(each, target[0])]
        exact = [each for each in found if each.local is not None and each.local[0] == target[0]]
        candidates = exact or found
        # Several share the port (SO_REUSEPORT): the one with the fewest that wait.
        return min(candidates, key=lambda each: len(each.pending), default=None)

    def _datagram(self, packet: Packet) -> None:
        target = packet.target
        if target in self.pairs or target[1] == 0:
            made = self.pairs.get(target) or self.unix.get(target[0])
            if made is not None:
                made.receive(packet)
            return
        found = [
            each for each in self._bound.get((socket.SOCK_DGRAM, target[1]), ()) if _answers(each, target[0])
        ]
        connected = [each for each in found if each.remote == packet.source]
        if found:
            (connected or found)[-1].receive(packet)
        elif packet.kind == DATAGRAM:
            self.transmit(Packet(UNREACHABLE, packet.target, packet.source))

    # -- lives ---------------------------------------------------------------------------------------------------------

    def answer_for_the_dead(self, packet: Packet) -> bool:
        """The process is gone, but its machine runs: refuse what arrives. Return whether that was done."""
        if self.node.powerless:
            return False
        if packet.kind in {CONNECT, DATA, END, ACCEPT}:
            self.transmit(Packet(RESET, packet.target, packet.source))
        elif packet.kind == DATAGRAM:
            self.transmit(Packet(UNREACHABLE, packet.target, packet.source))
        return True

    def _crash(self) -> None:
        """The life is over: its sockets are gone, and the other ends hear of it if the machine still runs."""
        silently, self.silently = self.silently, None
        if silently is None:
            silently = not self.node.fabric.is_calm and bool(self._after_crash())
        self.node.powerless = silently
        for made in list(self.sockets):
            if isinstance(made, StreamSocket) and not self.node.powerless:
                made.abort()
            else:
                made.vanish()
        for flow in list(self.flows.values()):  # closed by the program, or not yet accepted
            if not self.node.powerless and not flow.accepted:
                flow.abort()
        self._forget()

    def _forget(self) -> None:
        self.sockets.clear()
        self.flows.clear()
        self.unix.clear()
        self.pairs.clear()
        self._bound.clear()
        self._listeners.clear()

    def wake(self) -> None:
        """The process goes on after a pause: whoever waits for a socket is to be told of what has come."""
        for made in self.sockets:
            made.changed()

    def close(self) -> None:
        """The run is over."""
        for made in list(self.sockets):
            made.vanish()
        self._forget()


def _address_of(made: KernelSocket) -> Address:
    return made.local or ("", 0)


def _answers(made: KernelSocket, ip: str) -> bool:
    """Whether a socket that is bound takes what comes for an address of its host."""
    own, _ = _address_of(made)
    if own == ip:
        return True
    if own == "::":
        v6_only = made.options.get((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
        return not v6_only or family_of(ip) == socket.AF_INET6
    return is_wildcard(own) and family_of(ip) == socket.AF_INET


def stack_of(node: Node) -> Stack:
    """Return the stack of a node, made for its first socket."""
    stack = node.stack
    if stack is None:
        fabric = node.fabric
        if fabric.directory is None:
            fabric.directory = Directory(fabric.nodes)
        stack = node.stack = Stack(node, fabric.directory)
    return stack


def asking_stack() -> Stack:
    """Return the stack of whoever runs: of an agent, a host, the scenario, or the test itself."""
    loop: Any = asyncio._get_running_loop()
    life = OWNER.get() or loop.driver
    return stack_of(life.node)
