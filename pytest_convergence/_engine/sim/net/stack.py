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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.base.packets import (
    ACCEPT,
    CONNECT,
    DATA,
    DATAGRAM,
    END,
    PROBE,
    UNREACHABLE,
    WINDOW,
    WORDS,
    Address,
    Packet,
    Segment,
)
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import AGENT_SHIFT, RECEIVE
from pytest_convergence._engine.sim.net.bytestream import CONNECTING, ByteStream
from pytest_convergence._engine.sim.net.datagram import DatagramSocket
from pytest_convergence._engine.sim.net.descriptors import Descriptors, abandon, descriptors_of
from pytest_convergence._engine.sim.net.directory import (
    Directory,
    family_of,
    is_loopback,
    is_wildcard,
    loopback_of,
)
from pytest_convergence._engine.sim.net.disturbance import SILENCE, Disturbance
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror
from pytest_convergence._engine.sim.net.ports import Ports
from pytest_convergence._engine.sim.net.retries import is_sent_again, waits_ns
from pytest_convergence._engine.sim.net.stream import StreamSocket
from pytest_convergence._engine.sim.strands import present_life

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.links import Link
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Stack", "asking_stack", "stack_of"]

LOOPBACK_NS: Final = 20_000
_NO_ROUTE_NS: Final = 3 * NS_PER_SECOND
_SURE: Final = frozenset({CONNECT, ACCEPT, DATA, END, WINDOW})
"""What is sent again when it is lost."""

_MOST_LINGERING: Final = 4_096
"""So many closed connections may still send again what was lost (Linux: net.ipv4.tcp_max_orphans)."""

_UNIX: Final = getattr(socket, "AF_UNIX", -1)


@final
class Stack:
    """The network of one node.

    Attributes:
        flows: (own address, other address) -> connection.
        unix: path -> socket that is bound to it.
        pairs: address -> one of two Unix sockets for datagrams that were made as a pair.
        ports: who has which port.
        sockets: those of the present life. loops: the event loops that its program has made.
        on_listen: called when a socket begins to wait for connections.
        reading_loop: the loop, if who waits for what has come may read it in the same event.
        silently: how it is to crash next; ``None`` leaves it to the schedule.
        listens: whether a socket of the present life waits for connections, or is bound to a datagram port.
    """

    __slots__ = (
        "_admitted",
        "_after_crash",
        "_boots",
        "_connections",
        "_disturbance",
        "_lingering",
        "_links",
        "_next_unnamed",
        "_received_code",
        "descriptors",
        "directory",
        "flows",
        "ips",
        "loops",
        "node",
        "on_listen",
        "pairs",
        "ports",
        "reading_loop",
        "silently",
        "sockets",
        "unix",
    )

    def __init__(self, node: Node, directory: Directory) -> None:
        self.node = node
        self.on_listen: Callable[[], None] | None = None
        self.directory = directory
        self.ips = directory.addresses(node)
        self.descriptors: Descriptors = descriptors_of(node.fabric.world)
        self.flows: dict[tuple[Address, Address], StreamSocket] = {}
        self.unix: dict[str, KernelSocket] = {}
        self.pairs: dict[Address, KernelSocket] = {}
        self.sockets: dict[KernelSocket, None] = {}
        self.loops: list[Any] = []
        self.ports = Ports()
        self._admitted: dict[Address, int] = {}  # who has asked -> the number of the latest connection
        self._lingering: dict[tuple[Address, Address, int], None] = {}  # closed: (own, other, number)
        self._boots = 0
        self._connections = 0
        self._next_unnamed = 0
        self._links: dict[str, Link] = {}  # to whom an address belongs
        # Where an order of deliveries is laid down, several may be made in one go, so nobody reads in between.
        self.reading_loop = node.fabric.loop if node.fabric.sequencer is None else None
        self._received_code = RECEIVE | node.index << AGENT_SHIFT
        self._disturbance = Disturbance(node.fabric, node.name)
        self._after_crash = node.fabric.choices.every(f"silence {node.name}", SILENCE)
        self.silently: bool | None = None
        node.receivers["net"] = self._arrive
        node.on_crash += (self._crash,)
        node.fabric.world.closers.append(self.close)

    @property
    def listens(self) -> bool:
        """Whether somebody could still want something of this host: it serves."""
        return bool(self.unix) or self.ports.serve

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
        if made.family == _UNIX:
            if ip in self.unix:
                raise oserror(errno.EADDRINUSE)
            self.unix[ip] = made
            return address
        if not (is_wildcard(ip) or self.is_own(ip)):
            raise oserror(errno.EADDRNOTAVAIL)
        return ip, self.ports.take(made, ip, port)

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
        self.ports.release(made)

    def listen(self, listener: StreamSocket) -> None:
        """A socket waits for connections from now on."""
        if listener.family != _UNIX:
            self.ports.listen(listener)
        if self.on_listen is not None:
            self.on_listen()

    def unlisten(self, listener: StreamSocket) -> None:
        """It does not any more."""
        if listener.family != _UNIX:
            self.ports.unlisten(listener)

    # -- connections ---------------------------------------------------------------------------------------------------

    def next_connection(self) -> int:
        """Return the number of the next connection that this host asks for."""
        self._connections += 1
        return self._connections

    def admitted(self, packet: Packet) -> None:
        """A connection is granted; the same question may come a second time, and is not to be granted again."""
        self._admitted[packet.source] = packet.connection

    def leave(self, flow: ByteStream) -> None:
        """A connection takes no more packets."""
        if flow.local is not None and flow.remote is not None:
            key = flow.local, flow.remote
            if self.flows.get(key) is flow:
                del self.flows[key]

    def linger(self, flow: ByteStream) -> None:
        """A connection was closed at both ends in order; what was lost of it is still to be sent again."""
        if flow.local is not None and flow.remote is not None:
            self._lingering[flow.local, flow.remote, flow.connection] = None
        if len(self._lingering) > _MOST_LINGERING:
            del self._lingering[next(iter(self._lingering))]

    # -- sending -------------------------------------------------------------------------------------------------------

    def transmit(self, packet: Packet) -> Link | None:
        """Put a packet on its way; return the link that the next ones of its connection may take, if there is one."""
        ip = packet.target[0]
        link = self._links.get(ip)
        if link is None:
            if ip in self.ips or is_loopback(ip):
                self.loop_back(packet)
                return None
            target = self.directory.node_at(ip)
            if target is None:
                world = self.node.fabric.world
                world.at(world.now_ns + _NO_ROUTE_NS, self._give_up, (packet, errno.EHOSTUNREACH))
                return None
            stack_of(target)
            link = self._links[ip] = self.node.fabric.link(self.node, target.name)
        link.carry(packet, WORDS[packet.kind])
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

    def lost(self, packet: Packet) -> None:
        """The network has lost a packet of ours: send it again after a while, or give up.

        An answer that nobody sends again is lost together with what it answers: its sender has not heard of it.
        """
        if packet.kind not in _SURE:
            if packet.answers is not None:
                self.unanswered(packet.answers)
            return
        waits = waits_ns(packet)
        wait_ns, world = waits[-1], self.node.fabric.world
        flow = self.flows.get((packet.source, packet.target))
        over_ns = None if flow is None else flow.loses_patience_in(waits)
        if flow is not None and flow.keep_alive is not None:
            flow.keep_alive.heard(wait_ns)
        if over_ns is not None:
            world.at(world.now_ns + over_ns, self._give_up, (packet, errno.ETIMEDOUT))
        elif is_sent_again(packet):
            world.at(world.now_ns + wait_ns, self._send_again, (self._boots, packet))
        else:
            world.at(world.now_ns + wait_ns, self._give_up, (packet, errno.ETIMEDOUT))

    def unanswered(self, packet: Packet) -> None:
        """Nobody has answered a packet of another host: to its sender it is lost."""
        sender = self.node if self.is_own(packet.source[0]) else self.directory.node_at(packet.source[0])
        if sender is not None and sender.stack is not None:
            sender.stack.lost(packet)

    def _send_again(self, event: tuple[int, Packet]) -> None:
        boots, packet = event
        if boots == self._boots and self._still_wanted(packet):
            self.transmit(packet.again())
        elif packet.answers is not None:
            self.unanswered(packet.answers)

    def _still_wanted(self, packet: Packet) -> bool:
        if (packet.source, packet.target, packet.connection) in self._lingering:
            return True
        flow = self.flows.get((packet.source, packet.target))
        if flow is None or flow.connection != packet.connection:
            return False
        return packet.kind != CONNECT or (flow.is_open and flow.state == CONNECTING)

    def _give_up(self, event: tuple[Packet, int]) -> None:
        packet, number = event
        made = self.flows.get((packet.source, packet.target))
        if made is not None:
            made.gave_up(packet, number)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _arrive(self, message: InFlight) -> None:
        """A message of the network has come."""
        fabric = self.node.fabric
        packet: Any = message[2]
        if type(packet) is not Segment and packet.kind != DATA:
            fabric.mark(RECEIVE, self.node, message)
            self.receive(packet)
            return
        if fabric.conditions.late_answer:
            late_ns = self._disturbance.late_ns(self, message[0], packet)
            if late_ns:
                fabric.world.at(fabric.world.now_ns + late_ns, self._arrive_late, message)
                return
        record = fabric.record
        if record is not None:  # fabric.mark(), without a call
            record((fabric.world.now_ns, self._received_code, message[6]))
        packet = packet if fabric.is_calm else self._disturbance.disturb(self, message[0], packet)
        if packet is None:
            return
        flow = self.flows.get((packet.target, packet.source))
        if flow is None or flow.connection != packet.connection or not flow.follow(packet, self.reading_loop):
            self.receive(packet)

    def _arrive_late(self, message: InFlight) -> None:
        """A message of the network has come at last."""
        packet: Packet = message[2]
        if self.node.life.alive:
            self.node.fabric.mark(RECEIVE, self.node, message)
            self.receive(packet)
        else:
            self.answer_for_the_dead(packet)

    def receive(self, packet: Packet) -> None:
        """Give a packet to whom it is for."""
        flow = self.flows.get((packet.target, packet.source))
        if flow is not None and self._belongs(packet, flow):
            flow.receive(packet)
            return
        kind = packet.kind
        if kind == CONNECT:
            self._asked(packet)
        elif kind in {DATAGRAM, UNREACHABLE}:
            self._datagram(packet)
        elif flow is None:
            self._refuse(packet)

    def _belongs(self, packet: Packet, flow: StreamSocket) -> bool:
        """Whether a packet is one of this connection, and not of another one between the same addresses."""
        if packet.kind == CONNECT:
            if packet.connection > flow.connection:
                flow.fail(errno.ECONNRESET)  # the other host has begun anew and does not know the old one
            return False
        return packet.connection == flow.connection

    def _asked(self, packet: Packet) -> None:
        """Somebody wants a connection."""
        is_known = self._admitted.get(packet.source, -1) >= packet.connection
        if is_known:  # the same question, a second time
            if (packet.target, packet.source) not in self.flows:
                self._refuse(packet)
            return
        listener = self.ports.listener(packet.target)
        if listener is None:
            self._refuse(packet)
        else:
            listener.admit(packet)

    def _refuse(self, packet: Packet) -> None:
        """Nobody here knows what a packet is about."""
        known = (packet.target, packet.source, packet.connection) in self._lingering  # it comes a second time
        if packet.kind in {CONNECT, DATA, END, ACCEPT, PROBE} and not known:
            self.transmit(packet.refusal())

    def _datagram(self, packet: Packet) -> None:
        made = self.ports.datagram_socket(packet.target, packet.source)
        if made is not None:
            made.receive(packet)
        elif packet.kind == DATAGRAM:
            self.transmit(Packet(UNREACHABLE, packet.target, packet.source))

    # -- lives ---------------------------------------------------------------------------------------------------------

    def answer_for_the_dead(self, packet: Packet) -> bool:
        """The process is gone, but its machine runs: refuse what arrives. Return whether that was done."""
        if self.node.powerless:
            return False
        flow = self.flows.get((packet.target, packet.source))
        if flow is not None and packet.kind != CONNECT:
            self.receive(packet)  # it was closed in time: the kernel sees it to its end
        elif packet.kind == DATAGRAM:
            self.transmit(Packet(UNREACHABLE, packet.target, packet.source))
        else:
            self._refuse(packet)
        return True

    def _crash(self) -> None:
        """The life is over: its sockets are gone, and the other ends hear of it if the machine still runs."""
        silently, self.silently = self.silently, None
        if silently is None:
            silently = not self.node.fabric.is_calm and bool(self._after_crash())
        self.node.powerless = silently
        if silently:
            self._boots += 1
            self.flows.clear()
            self._lingering.clear()
        self._admitted.clear()
        for flow in list(self.flows.values()):
            if not flow.accepted:
                flow.is_open = False
                flow.abort()
        for made in list(self.sockets):
            if isinstance(made, StreamSocket) and not silently:
                made.die()
            else:
                made.vanish()
        self._forget()

    def forget_transport(self, number: int) -> None:
        """The program that had a socket is over: nobody is to be told that it had not closed its transport."""
        self.node.fabric.loop.forget_transport(number)
        for loop in self.loops:
            abandon(loop._transports.pop(number, None))

    def _forget(self) -> None:
        for loop in self.loops:
            loop.abandon()
        self.loops.clear()
        self.sockets.clear()
        self.unix.clear()
        self.pairs.clear()
        self.ports.clear()

    def wake(self) -> None:
        """The process goes on after a pause: whoever waits for a socket is to be told of what has come."""
        for made in self.sockets:
            made.changed()

    def close(self) -> None:
        """The run is over."""
        for made in list(self.sockets):
            made.vanish()
        self.flows.clear()
        self._forget()


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
    return stack_of((present_life() or loop.driver).node)
