"""The sending side of a pipeline: what one source has to pass on, until whoever takes it has answered for it.

Theory of operation
1. A *source* is the feeder, or a stage that has done its work on some items. Its *port* holds a letter for each item
   until the receiver acknowledges it, and the receiver does so when its own work on the item is durable. Letters are
   repeated, at intervals that double up to a bound: loss and crashes cost time, and no items.
2. *Order*: of the items that share an order key at most one is on its way to the next stage. The next one follows when it
   is acknowledged. So they cannot overtake one another, whatever the network does.
3. *Backpressure*: the receiver says up to which number of items it will take in all (its *limit*; one more for each that
   has left it). The sender stops there. A limit is a number that only grows, so grants that are lost, late or come twice do
   no harm; a sender that is held up and has nothing under way asks for the present one, as TCP probes a closed window.
4. Results of the last stage, dead letters and rejected items go to the collector, which always has room.

Sources: store and forward with acknowledgement by the next hop is that of MQTT (OASIS, version 5.0, section 4.3); credits
are those of Kung, Blackwell and Chapman, *Credit-Based Flow Control for ATM Networks* (SIGCOMM 1994), absolute as the
limits of QUIC (RFC 9000, section 4.1); the probe is that of RFC 9293, section 3.8.6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import CancelTimer, Effect, SetTimer

__all__ = ["OK", "Letter", "Parcel", "Port", "as_entry", "from_entry", "spans", "unspanned"]

OK: Final = "ok"
_LONGEST_BACKOFF: Final = 8
"""An unanswered letter is repeated at intervals of up to this many times the first."""


class Parcel(NamedTuple):
    """An item on its way.

    Attributes:
        id: its place among the items that were given.
        key: its idempotency key, by which facts call it.
        order: its order key, or ``None`` if it may be overtaken.
        value: what the last stage made of it.
    """

    id: int
    key: Any
    order: Any
    value: Any


class Letter(NamedTuple):
    """A parcel with what became of it.

    Attributes:
        kind: ``"ok"``, ``"dead"`` or ``"rejected"``.
        error: why it was given up.
        attempts: how often its last stage tried.
    """

    parcel: Parcel
    kind: str = OK
    error: str = ""
    attempts: int = 1


def as_entry(letter: Letter) -> list[Any]:
    """Return a letter as plain data."""
    return [*letter.parcel, *letter[1:]]


def from_entry(entry: Sequence[Any]) -> Letter:
    """Return the letter that :func:`as_entry` wrote."""
    return Letter(Parcel(*entry[:4]), *entry[4:])


def spans(numbers: Iterable[int]) -> list[list[int]]:
    """Write a set of numbers as its runs, ``[first, last]`` each: items that are through leave few."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def unspanned(runs: Iterable[Sequence[int]]) -> Iterator[int]:
    """Return the numbers that :func:`spans` wrote."""
    for first, last in runs:
        yield from range(first, last + 1)


class Port:
    """What one source has to pass on.

    Attributes:
        source: the number of the stage, -1 for the feeder.
        waiting: letters that nobody has answered for, in the order in which they were made.
        settled: the items that somebody has answered for.
        limit: how many items the next stage takes in all, as far as is known; ``None`` for any number.
    """

    __slots__ = (
        "_passed",
        "_post",
        "_probes",
        "_resend_ns",
        "_sent",
        "_tries",
        "limit",
        "settled",
        "source",
        "waiting",
    )

    def __init__(
        self, source: int, limit: int | None, resend_ns: int, post: Callable[[Letter], list[Effect]]
    ) -> None:
        self.source = source
        self.limit = limit
        self.waiting: dict[int, Letter] = {}
        self.settled: set[int] = set()
        self._resend_ns = resend_ns
        self._post = post
        self._passed = 0  # of the settled, those that the next stage took
        self._sent: set[int] = set()
        self._tries: dict[int, int] = {}
        self._probes = 0

    # -- letters in and out ----------------------------------------------------------------------------------------

    def add(self, letter: Letter) -> None:
        """Take on a letter. :meth:`pump` sends it when its turn has come."""
        self.waiting[letter.parcel.id] = letter

    def settle(self, id: int) -> list[Effect]:
        """Somebody has answered for an item: forget its letter."""
        letter = self.waiting.pop(id)
        self.settled.add(id)
        self._passed += letter.kind == OK
        self._sent.discard(id)
        self._tries.pop(id, None)
        self._probes = 0
        return [CancelTimer(self._resend_timer(id))]

    def memory(self) -> list[Any]:
        """What a later life needs of this port, as plain data: who is settled, how many were passed on, what waits."""
        return [spans(self.settled), self._passed, [as_entry(letter) for letter in self.waiting.values()]]

    def recall(self, settled: Iterable[Sequence[int]], passed: int, waiting: Iterable[Sequence[Any]]) -> None:
        """Begin with what :meth:`memory` said in an earlier life."""
        self.settled.update(unspanned(settled))
        self._passed = passed
        for entry in waiting:
            self.add(from_entry(entry))

    def grant(self, limit: int) -> None:
        """The next stage will take up to ``limit`` items in all."""
        if self.limit is not None and limit > self.limit:
            self.limit = limit
            self._probes = 0

    def pump(self) -> list[Effect]:
        """Send every letter whose turn has come."""
        effects: list[Effect] = []
        under_way = sum(self.waiting[id].kind == OK for id in self._sent)
        keys: set[Any] = set()
        held_up = False
        for id, letter in self.waiting.items():
            order = letter.parcel.order
            if letter.kind == OK and order is not None:
                if order in keys:
                    continue
                keys.add(order)
            if id in self._sent:
                continue
            if letter.kind == OK and self.limit is not None:
                if self._passed + under_way >= self.limit:
                    held_up = True
                    if self.source < 0:
                        break  # the feeder has nothing but such letters, and many of them
                    continue
                under_way += 1
            self._sent.add(id)
            effects += self.send(id)
        if held_up and not under_way:
            effects.append(SetTimer(self.probe_timer, self._interval_ns(self._probes)))
        elif not held_up:
            effects.append(CancelTimer(self.probe_timer))
        return effects

    def send(self, id: int) -> list[Effect]:
        """Send a letter, for the first time or again, and arm its timer."""
        letter = self.waiting.get(id)
        if letter is None:
            return []
        tries = self._tries[id] = self._tries.get(id, 0) + 1
        return [*self._post(letter), SetTimer(self._resend_timer(id), self._interval_ns(tries - 1))]

    def probe(self) -> list[Effect]:
        """Whether a limit holds letters up was asked again: arm the timer for the next time."""
        self._probes += 1
        return [SetTimer(self.probe_timer, self._interval_ns(self._probes))]

    # -- timers ----------------------------------------------------------------------------------------------------

    @property
    def probe_timer(self) -> str:
        """The name of the timer that asks for the limit."""
        return f"probe {self.source}"

    def _resend_timer(self, id: int) -> str:
        return f"resend {self.source} {id}"

    def _interval_ns(self, tries: int) -> int:
        return self._resend_ns * min(1 << min(tries, 16), _LONGEST_BACKOFF)

    def quiet(self) -> list[Effect]:
        """Disarm every timer: nothing is left to pass on."""
        return [CancelTimer(self.probe_timer), *(CancelTimer(self._resend_timer(id)) for id in self._sent)]
