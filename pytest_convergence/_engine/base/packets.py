"""Packets: what the simulated sockets of two hosts say to each other, as messages of the network.

A packet never changes, so a message may carry it without a snapshot. What its bytes are is part of a run's digest, except
where they are enciphered: those are another text each time, however equal the runs.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, final

__all__ = [
    "ACCEPT",
    "ALIVE",
    "CONNECT",
    "DATA",
    "DATAGRAM",
    "END",
    "PROBE",
    "RESET",
    "UNREACHABLE",
    "WINDOW",
    "Address",
    "Packet",
    "Segment",
]

CONNECT: Final = "connect"
ACCEPT: Final = "accept"
DATA: Final = "data"
END: Final = "end"
RESET: Final = "reset"
WINDOW: Final = "window"
PROBE: Final = "probe"
ALIVE: Final = "alive"
DATAGRAM: Final = "datagram"
UNREACHABLE: Final = "unreachable"
"""The kinds. UDP has two, a datagram and its ICMP answer; all others are TCP's: a connection asked for, granted, its bytes,
their end, its abortion, more room; whether the other end is there, and that it is."""

WORDS: Final = {kind: f"tcp {kind}" for kind in (CONNECT, ACCEPT, DATA, END, RESET, WINDOW, PROBE, ALIVE)} | {
    DATAGRAM: "udp",
    UNREACHABLE: "icmp unreachable",
}
"""What each is called as a message."""

Address: TypeAlias = tuple[str, int]
"""An IP address and a port; or, for Unix sockets, a path and the number of an unnamed one."""

_LONGEST: Final = 48
_HANDSHAKE: Final = b"\x16\x03"
HANDSHAKE_BYTE: Final = _HANDSHAKE[0]


class Packet:
    """One packet of a connection, or one datagram.

    Attributes:
        kind: one of the kinds above.
        source, target: where it comes from and goes to.
        seq: the place of its bytes in the stream; of a ``window``, how much has been read in all; of a connection asked
            for or granted, how large the buffer is.
        data: the bytes.
        attempt: how often it was sent before.
        secret: whether the bytes are enciphered (TLS).
        connection: which of the connections it belongs to that its first host has opened. Two between the same addresses
            are told apart by it, as by TCP's initial sequence numbers (RFC 9293, 3.4.1).
        sends: of a connection asked for or granted, how much its sender may have under way before it hears of room again.
        answers: the packet that it answers. If the answer is lost, that one counts as lost too: nobody has acknowledged it.
    """

    __slots__ = (
        "answers",
        "attempt",
        "connection",
        "data",
        "kind",
        "secret",
        "sends",
        "seq",
        "source",
        "target",
    )

    def __init__(
        self,
        kind: str,
        source: Address,
        target: Address,
        seq: int = 0,
        data: bytes = b"",
        attempt: int = 0,
        secret: bool = False,
        connection: int = 0,
        answers: Packet | None = None,
    ) -> None:
        self.kind = kind
        self.source = source
        self.target = target
        self.seq = seq
        self.data = data
        self.attempt = attempt
        self.secret = secret
        self.connection = connection
        self.answers = answers
        self.sends = 0

    def again(self) -> Packet:
        """Return the same packet, to be sent once more."""
        packet = Packet(
            self.kind,
            self.source,
            self.target,
            self.seq,
            self.data,
            self.attempt + 1,
            self.secret,
            self.connection,
            self.answers,
        )
        packet.sends = self.sends
        return packet

    def refusal(self) -> Packet:
        """Return the reset that answers it."""
        return Packet(RESET, self.target, self.source, 0, b"", 0, self.secret, self.connection, self)

    def __canonical__(self) -> Any:
        """What of it is the same in equal runs."""
        data = "secret" if self.secret else self.data.hex()
        seq = 0 if self.secret else self.seq
        return [self.kind, *self.source, *self.target, self.connection, seq, data, self.attempt]

    @property
    def ports(self) -> str:
        """From which port to which: what tells one connection of two hosts from another."""
        return f":{self.source[1]} → :{self.target[1]}"

    @property
    def content(self) -> str:
        """What it carries, in words; nothing for one that carries nothing."""
        again = f"(sent again, {self.attempt})" if self.attempt else ""
        if self.secret:
            what = "TLS"
        elif self.kind in {DATA, DATAGRAM}:
            cut = f"{self.data[:_LONGEST]!r}…" if len(self.data) > _LONGEST else repr(self.data)
            what = f"{len(self.data)} bytes {cut}"
        elif self.kind == WINDOW:
            what = f"{self.seq} bytes read"
        else:
            what = ""
        return " ".join(filter(None, (what, again)))

    def __repr__(self) -> str:
        return " ".join(filter(None, (self.ports, self.content)))


@final
class Segment(Packet):
    """Bytes of a connection that are sent for the first time: what nearly all packets are.

    What these have in common is kept once, and nothing runs when one is made: whoever makes it sets ``source``, ``target``,
    ``seq``, ``data``, ``secret`` and ``connection``. A call with all of that was measured at twice the time.
    """

    __slots__ = ()

    kind = DATA
    attempt = 0
    answers = None
    sends = 0

    __init__ = object.__init__

    def __reduce__(self) -> Any:
        return Packet, (DATA, self.source, self.target, self.seq, self.data, 0, self.secret, self.connection)


def is_handshake(data: bytes) -> bool:
    """Whether a stream that begins with ``data`` is one of TLS records (RFC 8446, 5.1)."""
    return data[:2] == _HANDSHAKE
