"""The trace: what happened, event by event, with virtual time.

1. An event is three integers, appended to one flat list: the instant, the kind together with the agent, and a
   reference (the uid of a message, or the place of a detail). Recording one costs a tenth of a microsecond.
2. Full chunks are put aside. A trace keeps a *window* of the newest events; what leaves the window still counts in the
   digest, so the memory of a long run is bounded and equal runs have equal digests. Chunks are not packed into arrays: the
   messages that are kept hold most of the integers anyway, and packing cost as much as recording.
3. Vector clocks are not carried by messages. They are derived, on demand, from the causal DAG that the trace is: the
   events of one agent in order, and an edge from each sending to its receptions (:mod:`.causality`).
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final, overload

from pytest_convergence._engine.base.canonical import canonical, canonical_items
from pytest_convergence._engine.base.messages import InFlight, Message

if TYPE_CHECKING:
    from pytest_convergence._engine.base.causality import Causality

__all__ = ["CANCELLED", "DEFAULT_WINDOW", "KINDS", "READ_SLOWLY", "SCENARIO", "Aside", "Trace", "TraceEvent"]

KINDS: Final = (
    "send",
    "receive",
    "lost",
    "duplicate",
    "held",
    "start",
    "return",
    "error",
    "stop",
    "crash",
    "restart",
    "pause",
    "resume",
    "timer",
    "persist",
    "sync",
    "decide",
    "observe",
    "state",
    "conflict",
    "rule",
    "step",
    "session",
    "stall",
    "cancel",
    "output",
)
"""What can happen. The first five carry a message, the others a detail."""

CODE: Final[Mapping[str, int]] = {kind: code for code, kind in enumerate(KINDS)}
SEND: Final = CODE["send"]
RECEIVE: Final = CODE["receive"]
LOST: Final = CODE["lost"]
DUPLICATE: Final = CODE["duplicate"]
HELD: Final = CODE["held"]
LAST_MESSAGE_CODE: Final = HELD
AGENT_SHIFT: Final = 6
_KIND_MASK: Final = (1 << AGENT_SHIFT) - 1
_CHUNK: Final = 4096
DEFAULT_WINDOW: Final = 262_144
"""How many of the newest events a trace keeps by default."""


SCENARIO: Final = "scenario"
"""The lane of what the test itself does."""


class TraceEvent(NamedTuple):
    """One event. ``at_ns`` is virtual nanoseconds; ``message`` or ``detail`` says what it is about."""

    index: int  # type: ignore[assignment]  # tuple.index gives way to the field
    at_ns: int
    kind: str
    agent: str
    message: Message | None = None
    detail: Any = None

    @property
    def at(self) -> float:
        """Virtual seconds."""
        return self.at_ns / 1e9


CANCELLED: Final = "aside: cancelled"
READ_SLOWLY: Final = "aside: read slowly"
"""What is told beside a trace."""


class Aside(NamedTuple):
    """What is told beside a trace: it happened, and is no event.

    Attributes:
        before: the index of the event before which it happened.
        at_ns: virtual nanoseconds.
        agent: to whom.
        words: what.
        kind: which of the kinds it is.
        instead: whether it says more of the event right before it, and is to be told instead of that.
    """

    before: int
    at_ns: int
    agent: str
    words: str
    kind: str = CANCELLED
    instead: bool = False


@final
class Trace(Sequence[TraceEvent]):
    """The events of a run, oldest first, as far as the window reaches back.

    Attributes:
        dropped: how many events have left the window.
    """

    __slots__ = (
        "_agents",
        "_chunks",
        "_details",
        "_details_base",
        "_gone",
        "_log",
        "_messages",
        "_messages_base",
        "_window",
        "dropped",
    )

    def __init__(self, agents: list[str], *, window: int = DEFAULT_WINDOW) -> None:
        self._agents = agents  # shared with the world, which adds a name for each agent
        self._log: list[int] = []
        self._chunks: list[tuple[list[int], int, int]] = []
        self._window = window
        self._messages: list[InFlight] = []
        self._messages_base = 1  # uids count from 1
        self._details: list[Any] = []
        self._details_base = 0
        self._gone: _Digest | None = None  # of what has left the window
        self.dropped = 0

    # -- recording -----------------------------------------------------------------------------------------------

    def add(self, at_ns: int, code: int, agent: int, detail: Any) -> None:
        """Record an event with a detail; ``agent`` is its index in the list of names."""
        self._log.extend((at_ns, code | agent << AGENT_SHIFT, self._details_base + len(self._details)))
        self._details.append(detail)

    def flush(self) -> None:
        """Put aside what was recorded if it fills a chunk, and let the oldest go where the window is full.

        The whole log is put aside at once, so that what a chunk refers to ends exactly where recording stands now.
        """
        log = self._log
        if len(log) < 3 * _CHUNK:
            return
        messages_end, details_end = (
            self._messages_base + len(self._messages),
            self._details_base + len(self._details),
        )
        self._chunks.append((log.copy(), messages_end, details_end))
        log.clear()
        while len(self) > self._window and len(self._chunks) > 1:
            self._drop()

    def _drop(self) -> None:
        chunk, messages_end, details_end = self._chunks.pop(0)
        gone = messages_end - self._messages_base
        gone_details = details_end - self._details_base
        self._gone = self._gone or _Digest()
        self._gone.feed(chunk, self._messages[:gone], self._details[:gone_details])
        del self._messages[:gone], self._details[:gone_details]
        self._messages_base, self._details_base = messages_end, details_end
        self.dropped += len(chunk) // 3

    # -- reading -------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """Return the hex SHA-256 of everything that happened, equal for equal runs on any machine."""
        total = _Digest() if self._gone is None else self._gone.copy()
        for chunk, _, _ in self._chunks:
            total.feed(chunk, (), ())
        total.feed(self._log, self._messages, self._details)
        return total.finish(self._agents)

    @property
    def agents(self) -> tuple[str, ...]:
        """The lanes: every name that took part, the test's own scenario among them."""
        return tuple(self._agents)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every message that was sent, in order of sending."""
        return tuple(map(Message._make, self._messages))

    def message(self, uid: int) -> Message | None:
        """Return the message ``uid``, or ``None`` if it has left the window."""
        place = uid - self._messages_base
        return Message._make(self._messages[place]) if 0 <= place < len(self._messages) else None

    def __len__(self) -> int:
        return sum(len(chunk) for chunk, _, _ in self._chunks) // 3 + len(self._log) // 3

    def _flat(self) -> list[int]:
        flat: list[int] = []
        for chunk, _, _ in self._chunks:
            flat.extend(chunk)
        flat.extend(self._log)
        return flat

    def _event(self, index: int, at_ns: int, code: int, ref: int) -> TraceEvent:
        kind = code & _KIND_MASK
        agent = self._agents[code >> AGENT_SHIFT]
        if kind <= LAST_MESSAGE_CODE:
            return TraceEvent(index, at_ns, KINDS[kind], agent, self.message(ref))
        place = ref - self._details_base
        detail = self._details[place] if place >= 0 else None
        return TraceEvent(index, at_ns, KINDS[kind], agent, None, detail)

    def __iter__(self) -> Iterator[TraceEvent]:
        flat = self._flat()
        for place in range(0, len(flat), 3):
            yield self._event(self.dropped + place // 3, flat[place], flat[place + 1], flat[place + 2])

    @overload
    def __getitem__(self, index: int) -> TraceEvent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TraceEvent, ...]: ...
    def __getitem__(self, index: int | slice) -> TraceEvent | tuple[TraceEvent, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        size = len(self)
        place = index + size if index < 0 else index
        if not 0 <= place < size:
            raise IndexError(f"event {index} of a trace of {size}")
        at = place
        for chunk, _, _ in self._chunks:
            if at < len(chunk) // 3:
                return self._event(self.dropped + place, chunk[3 * at], chunk[3 * at + 1], chunk[3 * at + 2])
            at -= len(chunk) // 3
        log = self._log
        return self._event(self.dropped + place, log[3 * at], log[3 * at + 1], log[3 * at + 2])

    def render(self, *, channels: Sequence[str] = ("user", "pattern", "net")) -> str:
        """Draw the space-time diagram as text: a lane for each agent, time downwards, an arrow for each arrival."""
        from pytest_convergence._engine.base.diagram import (
            render,  # the diagram reads traces; it is drawn on demand
        )

        return render(self, self._agents, channels=channels)

    def causality(self) -> Causality:
        """Return the causal order of the events, with vector clocks derived from it."""
        from pytest_convergence._engine.base.causality import Causality

        return Causality(self)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} events, {len(self._messages)} messages>"


@final
class _Digest:
    """SHA-256 over three streams, the events, the messages and the details, each fed piece by piece.

    Where a run is cut into pieces depends on how many steps it takes, which differs between versions of Python; so nothing
    of the cuts may show: feeding one piece after another is feeding them as one.
    """

    __slots__ = ("_details", "_events", "_messages")

    def __init__(self) -> None:
        self._events = hashlib.sha256()
        self._messages = hashlib.sha256()
        self._details = hashlib.sha256()

    def copy(self) -> _Digest:
        """Return one that goes on from here by itself."""
        other = _Digest.__new__(_Digest)
        other._events, other._messages = self._events.copy(), self._messages.copy()
        other._details = self._details.copy()
        return other

    def feed(self, events: list[int], messages: Sequence[Any], details: Sequence[Any]) -> None:
        """Take the next piece."""
        # Eight bytes each, the least first; native where that is the same, which is three times as fast.
        native = "" if sys.byteorder == "little" else "<"
        self._events.update(struct.pack(f"{native}{len(events)}q", *events))
        self._messages.update(canonical_items(messages).encode())
        self._details.update(canonical_items(details).encode())

    def finish(self, agents: Sequence[str]) -> str:
        """Return the digest of everything that was fed, as hex."""
        total = hashlib.sha256(canonical(list(agents)).encode())
        for stream in (self._events, self._messages, self._details):
            total.update(stream.digest())
        return total.hexdigest()
