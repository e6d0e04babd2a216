"""One stage of a pipeline at work: takes items, has the user's function work on them, and writes down what came of it.

Theory of operation
1. A stage *takes* an item if it has room: items that it works on, and results that the next stage has not taken yet, are
   together at most its capacity. What finds no room is refused, not dropped: the sender keeps it.
2. An item that is not what the stage accepts is *rejected* at once. Otherwise the function works on it. What it returns,
   unless the stage does not return such things, is written to the journal; with that write the item is *done*, and only
   then is it acknowledged. Result, the mark that the key is done, and the letter to the next stage are one write, so no
   crash can come between them (the transactional outbox).
3. A failure (an exception, a time-out, a result that is not what the stage returns) is written down and retried after a
   pause that doubles. The number of failures is durable, so crashes do not prolong it; when it reaches the bound the item
   is a *dead letter*, which goes to the collector.
4. *Effectively once*: an item that comes again after it is done is acknowledged again and not worked on again. *At least
   once*: it is worked on again if it has left the stage.

What is taken but not done is volatile. A crash forgets it, and the sender, who has had no acknowledgement, sends it again.

Sources: at-least-once delivery with idempotent receivers: Helland, *Life beyond Distributed Transactions* (CIDR 2007); one
write for state, output and progress: Kreps et al. in Kafka's design of exactly-once processing (KIP-98, 2016).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import Call, CancelCall, CancelTimer, Effect, Observe, SetTimer
from pytest_convergence._engine.patterns.journal import Journal
from pytest_convergence._engine.patterns.pipeline_port import OK, Letter, Parcel, Port, spans, unspanned

__all__ = ["DEAD", "REJECTED", "StageDesk", "StageRules", "complaint", "words_of"]

DEAD: Final = "dead"
REJECTED: Final = "rejected"
_FACTS: Final = {OK: "effect", DEAD: "dead_letter", REJECTED: "reject"}
_LONGEST_BACKOFF: Final = 32
"""A retry waits for up to this many times the first pause."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST_TEXT: Final = 200


class StageRules(NamedTuple):
    """What a stage is told: durations in nanoseconds, the validators as the user gave them."""

    number: int
    name: str
    agent: str
    workers: int
    capacity: int
    max_attempts: int
    backoff_ns: int
    timeout_ns: int | None
    accepts: Any
    returns: Any
    once: bool


def words_of(value: Any) -> str:
    """Return ``value`` in words, an exception with its type; without addresses, which differ from run to run."""
    text = f"{type(value).__name__}: {value}" if isinstance(value, Exception) else repr(value)
    text = _ADDRESS.sub("", text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def complaint(validator: Any, value: Any) -> str | None:
    """Say what a validator has against ``value``; ``None`` if nothing. A type asks for instances, a function for a yes."""
    if validator is None:
        return None
    if isinstance(validator, type | tuple | UnionType):
        if isinstance(value, validator):
            return None
        names = validator if isinstance(validator, tuple) else (validator,)
        asked = " or ".join(getattr(each, "__name__", str(each)) for each in names)
        return f"{words_of(value)} is no {asked}"
    try:
        accepted = validator(value)
    except Exception as error:
        return words_of(error)
    called = getattr(validator, "__name__", type(validator).__name__)
    return None if accepted is None or accepted else f"{called} refused {words_of(value)}"


class StageDesk:
    """One stage on its agent. ``port`` is where its letters leave."""

    __slots__ = (
        "_busy",
        "_done",
        "_failures",
        "_fresh",
        "_held",
        "_journal",
        "_queue",
        "_told",
        "port",
        "rules",
    )

    def __init__(self, rules: StageRules, port: Port, journal: Journal) -> None:
        self.rules = rules
        self.port = port
        self._journal = journal
        self._held: dict[int, Parcel] = {}  # taken and not done
        self._queue: deque[int] = deque()  # of those, which wait for a worker
        self._busy: dict[int, int] = {}  # which are worked on, and for the how-many-eth time
        self._failures: dict[int, list[str]] = {}
        self._done: set[int] = set()
        self._fresh: dict[int, Parcel] = {}  # done by the present event
        self._told = rules.capacity  # the limit that the sender has been told

    # -- what the journal remembers --------------------------------------------------------------------------------

    def remember_failure(self, id: int, error: str) -> None:
        """A failure of an earlier life."""
        self._failures.setdefault(id, []).append(error)

    def remember_done(self, letter: Letter) -> None:
        """An item that was done in an earlier life."""
        self._done.add(letter.parcel.id)
        if self.rules.once:
            self._failures.pop(letter.parcel.id, None)
        if letter.parcel.id not in self.port.settled:
            self.port.add(letter)

    def memory(self) -> list[Any]:
        """What a later life needs of this stage, as plain data: what is done, and what has failed."""
        return [spans(self._done), [[id, errors] for id, errors in self._failures.items()]]

    def recall(self, done: Iterable[Sequence[int]], failures: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Begin with what :meth:`memory` said in an earlier life."""
        self._done.update(unspanned(done))
        self._failures.update((id, list(errors)) for id, errors in failures)

    # -- taking ----------------------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """How many items the stage takes in all, as things stand."""
        return len(self.port.settled) + self.rules.capacity

    def tell_limit(self) -> int:
        """Return the limit, and take note that the sender is told."""
        self._told = self.limit
        return self._told

    @property
    def has_news(self) -> bool:
        """Whether the limit has grown so much that the sender should be told at once, and not with the next answer."""
        return self.limit - self._told >= max(1, self.rules.capacity // 2)

    def has_done(self, id: int) -> bool:
        """Whether the item need not be worked on (again)."""
        return id in self.port.waiting or (self.rules.once and id in self._done)

    @property
    def at_hand(self) -> int:
        """How many items are taken and not done."""
        return len(self._held)

    @property
    def has_room(self) -> bool:
        """Whether one more item could be taken."""
        return len(self._held) + len(self.port.waiting) < self.rules.capacity

    def newly_done(self, id: int) -> Parcel | None:
        """The item, if the last event brought it to its end: it has to be acknowledged. Asked once."""
        return self._fresh.pop(id, None)

    def take(self, parcel: Parcel) -> list[Effect] | None:
        """Take an item, or ``None`` if there is no room. One that is being worked on already changes nothing."""
        id = parcel.id
        if id in self._held:
            return []
        if not self.has_room:
            return None
        self._held[id] = parcel
        effects: list[Effect] = [self._fact("take", parcel, of=self.rules.capacity)]
        wrong = complaint(self.rules.accepts, parcel.value)
        if wrong is not None:
            return effects + self._finish(id, Letter(parcel, REJECTED, wrong, 0))
        if len(self._failures.get(id, ())) >= self.rules.max_attempts:
            return effects + self._give_up(id)
        self._queue.append(id)
        return effects + self.work()

    # -- working ---------------------------------------------------------------------------------------------------

    def work(self) -> list[Effect]:
        """Give every free worker an item."""
        effects: list[Effect] = []
        while self._queue and len(self._busy) < self.rules.workers:
            id = self._queue.popleft()
            parcel = self._held[id]
            number = self._busy[id] = len(self._failures.get(id, ())) + 1
            effects += [
                self._fact("attempt", parcel, number=number),
                Call(self._name("work", id), f"work {self.rules.name}", (parcel.value,)),
            ]
            if self.rules.timeout_ns is not None:
                effects.append(SetTimer(self._name("timeout", id), self.rules.timeout_ns))
        return effects

    def returned(self, id: int, value: Any) -> list[Effect]:
        """The function has returned."""
        if id not in self._busy:
            return []
        wrong = complaint(self.rules.returns, value)
        if wrong is not None:
            return self.failed(id, f"the result is not valid: {wrong}")
        attempts = self._stop(id)
        letter = Letter(self._held[id]._replace(value=value), OK, "", attempts)
        return [*self._disarm(id), *self._finish(id, letter), *self.work()]

    def failed(self, id: int, error: str) -> list[Effect]:
        """An attempt has failed: try again after a pause, or give the item up."""
        if id not in self._busy:
            return []
        number = self._stop(id)
        parcel = self._held[id]
        self._failures.setdefault(id, []).append(error)
        effects = [
            *self._disarm(id),
            *self._journal.append("failed", self.rules.number, parcel.key, id, error),
            self._failure_fact(parcel.key, error, number),
        ]
        if number >= self.rules.max_attempts:
            effects += self._give_up(id)
        else:
            pause_ns = self.rules.backoff_ns * min(1 << min(number - 1, 16), _LONGEST_BACKOFF)
            effects += [
                self._fact("retry", parcel, number=number + 1),
                SetTimer(self._name("retry", id), pause_ns, pause_ns // 2),
            ]
        return effects + self.work()

    def timed_out(self, id: int) -> list[Effect]:
        """An attempt has taken too long."""
        if id not in self._busy:
            return []
        seconds = (self.rules.timeout_ns or 0) / 1e9
        return [
            CancelCall(self._name("work", id)),
            *self.failed(id, f"TimeoutError: no result in {seconds:g} s"),
        ]

    def retry(self, id: int) -> list[Effect]:
        """The pause of an item is over."""
        if id not in self._held or id in self._busy or id in self._queue:
            return []
        self._queue.append(id)
        return self.work()

    def _give_up(self, id: int) -> list[Effect]:
        # Worked on once more, for nothing: it has left the stage with another outcome.
        if id in self.port.settled:
            parcel = self._fresh[id] = self._held.pop(id)
            return [self._fact("release", parcel)]
        errors = self._failures[id]
        return self._finish(id, Letter(self._held[id], DEAD, errors[-1], len(errors)))

    def _finish(self, id: int, letter: Letter) -> list[Effect]:
        """Write down what came of an item; from now on it is done."""
        self._fresh[id] = self._held.pop(id)
        self._done.add(id)
        if self.rules.once:
            self._failures.pop(id, None)  # nobody tries again
        if id not in self.port.settled:
            self.port.add(letter)
        written = self._journal.append("done", self.rules.number, *letter.parcel, *letter[1:])
        return [*written, self.outcome_fact(letter)]

    def _stop(self, id: int) -> int:
        return self._busy.pop(id)

    def _disarm(self, id: int) -> list[Effect]:
        return [] if self.rules.timeout_ns is None else [CancelTimer(self._name("timeout", id))]

    def quiet(self) -> list[Effect]:
        """Stop all work: nothing is left to do."""
        effects: list[Effect] = []
        for id in self._held:
            effects += [
                CancelCall(self._name("work", id)),
                CancelTimer(self._name("timeout", id)),
                CancelTimer(self._name("retry", id)),
            ]
        self._held.clear()
        self._queue.clear()
        self._busy.clear()
        return effects

    def _name(self, what: str, id: int) -> str:
        return f"{what} {self.rules.number} {id}"

    # -- facts -----------------------------------------------------------------------------------------------------

    def _fact(self, fact: str, parcel: Parcel, **data: Any) -> Effect:
        return Observe(fact, {"item": parcel.key, "stage": self.rules.name, **data})

    def _failure_fact(self, key: Any, error: str, number: int, **data: Any) -> Effect:
        told = {"number": number, "of": self.rules.max_attempts, "error": error, **data}
        return Observe("fail", {"item": key, "stage": self.rules.name, **told})

    def recalled_failure(self, key: Any, id: int) -> Effect:
        """The last failure again: a crash may have come before it was observed."""
        errors = self._failures[id]
        return self._failure_fact(key, errors[-1], len(errors), recalled=True)

    def outcome_fact(self, letter: Letter, *, recalled: bool = False) -> Effect:
        """What came of an item; ``recalled`` if it may have been observed before."""
        data: dict[str, Any] = {} if letter.kind == OK else {"error": letter.error}
        if recalled:
            data["recalled"] = True
        elif letter.kind == OK:
            data["key"] = (self.rules.name, letter.parcel.key)
        return self._fact(_FACTS[letter.kind], letter.parcel, **data)

    def acknowledged(self, parcel: Parcel) -> Effect:
        """The fact that the sender is told now that an item is done."""
        return self._fact("ack", parcel)
