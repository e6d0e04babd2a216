"""What reactive agents pass to each other and keep: publications, events, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.patterns.causal import Sent, after
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Event", "HandlerFailed", "Publish", "Record", "event_key", "publications"]


@final
@dataclass(frozen=True, slots=True)
class Publish:
    """What a handler returns to publish another event; a list of them publishes several, in that order.

    They are published once for each event that the handler was given, however often it had to run.
    """

    topic: str
    payload: Any = None

    def __deepcopy__(self, memo: Any) -> Publish:
        """Return this where nothing in it can change: results are copied often."""
        payload = snapshot(self.payload)
        return self if payload is self.payload else Publish(self.topic, payload)


@final
@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """Stands for the result of a handler that raised at every attempt. ``reason`` is what it raised last."""

    reason: str

    def __deepcopy__(self, memo: Any) -> HandlerFailed:
        """Return this: nothing in it can change."""
        return self


@dataclass(slots=True)
class Event:
    """An event as its publisher keeps it until all that comes of it is done.

    Attributes:
        id: ``"3"`` for the third event given, ``"3/billing.1"`` for the first that ``billing`` published because of it.
        hops: how many events it comes from, one after the other.
        cause: the event whose handler published it, ``""`` for a given one.
        numbers: recipient -> the number of this event among those that its publisher sent to it.
        sent: what its publisher knew of events sent, before it sent this one (causal delivery only).
        waiting: the recipients that have not reported that all is done.
        records: what was reported.
    """

    id: str
    topic: str
    payload: Any
    hops: int
    cause: str
    numbers: dict[str, int]
    sent: Sent
    waiting: list[str]
    records: list[Any] = field(default_factory=list)

    def message_for(self, recipient: str, settled: int) -> dict[str, Any]:
        """Return what ``recipient`` is sent; of the events up to the number ``settled`` its report is here."""
        return {
            "event": self.id,
            "topic": self.topic,
            "payload": self.payload,
            "hops": self.hops,
            "number": self.numbers[recipient],
            "settled": settled,
            "after": after(self.sent, recipient),
            "sent": self.sent,
            "to": list(self.numbers),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for storage, as it is now."""
        saved = {name: getattr(self, name) for name in _EVENT_FIELDS}
        return {**saved, "waiting": list(self.waiting), "records": list(self.records)}


@dataclass(slots=True)
class Record:
    """An event that an agent has handled.

    Attributes:
        sender: who published it.
        number: its number among those that it sent here.
        open: the events that its handler published and of which not all is done yet.
        records: what is reported to the publisher when all is done: ``[event, topic, agent, result]`` for this event and
            for each that came of it.
    """

    id: str
    topic: str
    sender: str
    number: int
    open: list[str]
    records: list[Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for storage, as it is now."""
        saved = {name: getattr(self, name) for name in _RECORD_FIELDS}
        return {**saved, "open": list(self.open), "records": list(self.records)}


_EVENT_FIELDS: Final = tuple(each.name for each in fields(Event))
_RECORD_FIELDS: Final = tuple(each.name for each in fields(Record))


def publications(result: Any, topics: Mapping[str, Any]) -> list[Publish]:
    """Return what a handler that returned ``result`` wants published.

    Raises:
        ConvergenceUsageError: nobody subscribes to one of the topics.
    """
    several = isinstance(result, list | tuple) and bool(result)
    wanted: Sequence[Any] = result if several else [result]
    if not all(isinstance(each, Publish) for each in wanted):
        return []
    for each in wanted:
        if each.topic not in topics:
            known = ", ".join(map(repr, topics))
            raise ConvergenceUsageError(
                f"a handler returned {each!r}, but nobody subscribes to that topic. Topics: {known}."
            )
    return list(wanted)


def event_key(id: str, agents: Sequence[str]) -> tuple[Any, ...]:
    """Return what sorts events as they were published: given ones in order, and behind each what came of it."""
    given, *rest = id.split("/")
    key: list[Any] = [(int(given), 0)]
    for part in rest:
        agent, _, number = part.rpartition(".")
        key.append((agents.index(agent), int(number)))
    return tuple(key)
