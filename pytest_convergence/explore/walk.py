"""A finished run as something to walk through: at every event, what happened, who held what, what was under way.

1. The run is over. Its trace has the events, so a walk goes back as well as forward and can jump; nothing is run again.
2. What agents held is known from snapshots, taken after each step of the run. A change is seen from the first event of the
   step on that made it.
3. Vector clocks are those of the causal order that the trace is (:mod:`.causality`), told by agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.diagram import render
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import Trace, TraceEvent
from pytest_convergence._engine.check.property import Violation
from pytest_convergence._engine.run.snapshots import Snapshot

__all__ = ["Walk", "changes_told", "words_of"]

_LONGEST: Final = 100
_CHANNELS: Final = ("user", "pattern", "sync", "handoff", "conflict", "ack", "net")


def changes_told(events: Iterable[TraceEvent]) -> Iterator[Snapshot]:
    """Yield what the events themselves say of what agents hold, where no snapshots were taken: what they store."""
    for event in events:
        detail = event.detail
        if event.kind == "persist" and isinstance(detail, Mapping):
            name = f"storage/{detail.get('key', '')}"
            deleted = bool(detail.get("deleted"))
            held = {} if deleted else {name: _short(repr(detail.get("value")))}
            yield Snapshot(event.index, event.at_ns, event.agent, held, (name,) if deleted else ())


@final
class Walk:
    """The events of a run, and where the walker stands.

    Attributes:
        events: all that the trace still has, oldest first.
        place: the event at which the walker stands, counted from 0; there is none if the trace is empty.
        agents: the lanes.
        violations: the properties that did not hold.
    """

    def __init__(
        self, trace: Trace, violations: Sequence[Violation] = (), changes: Sequence[Snapshot] = ()
    ) -> None:
        self.events: tuple[TraceEvent, ...] = tuple(trace)
        self.agents = trace.agents
        self.violations = tuple(violations)
        self.place = 0
        self._trace = trace
        self._changes = changes
        self._clocks: dict[int, VectorClock] | None = None

    @property
    def event(self) -> TraceEvent:
        """The event at which the walker stands."""
        return self.events[self.place]

    # -- going ---------------------------------------------------------------------------------------------------------

    def go(self, place: int) -> bool:
        """Go to an event, or as far as there are any; return whether that is another one than before."""
        before, self.place = self.place, max(0, min(place, len(self.events) - 1))
        return self.place != before

    def go_to_time(self, seconds: float) -> bool:
        """Go to the first event at or after that virtual time; return whether there is one."""
        at_ns = round(seconds * 1e9)
        return self._go_to_first(place for place, event in enumerate(self.events) if event.at_ns >= at_ns)

    def go_to_agent(self, agent: str) -> bool:
        """Go to the next event of an agent; return whether there is one."""
        later = enumerate(self.events[self.place + 1 :], self.place + 1)
        return self._go_to_first(place for place, event in later if event.agent == agent)

    def go_to_violation(self) -> Violation | None:
        """Go to the last event before the next violation is proved, the first again after the last; return it."""
        proved = [(self._last_by(violation.at_ns), violation) for violation in self.violations]
        for place, violation in sorted(proved, key=lambda pair: pair[0]):
            if place > self.place:
                self.place = place
                return violation
        if not proved:
            return None
        self.place, violation = min(proved, key=lambda pair: pair[0])
        return violation

    def go_to_error(self) -> bool:
        """Go to the last error that an agent has raised; return whether there is one."""
        return self._go_to_first(
            place for place in reversed(range(len(self.events))) if self.events[place].kind == "error"
        )

    def _last_by(self, at_ns: int) -> int:
        return max((place for place, event in enumerate(self.events) if event.at_ns <= at_ns), default=0)

    def _go_to_first(self, places: Iterator[int]) -> bool:
        place = next(places, None)
        if place is None:
            return False
        self.place = place
        return True

    # -- looking -------------------------------------------------------------------------------------------------------

    def line(self, place: int | None = None) -> str:
        """Say where the walker stands, or what another event is."""
        place = self.place if place is None else place
        event = self.events[place]
        return f"{place + 1:>5}  {format_ns(event.at_ns):>12}  {words_of(event)}"

    def views(self) -> dict[str, dict[str, str]]:
        """What each agent held, as text, by ``section/name``."""
        return self._views_at(self.event.index)

    def _views_at(self, index: int) -> dict[str, dict[str, str]]:
        held: dict[str, dict[str, str]] = {}
        for one in self._changes:
            if one.since > index:
                break
            mine = held.setdefault(one.agent, {})
            mine.update(one.held)
            for key in one.gone:
                mine.pop(key, None)
        return held

    def changes(self) -> list[str]:
        """What agents hold from this event on, and did not before."""
        before, now = self._views_at(self.event.index - 1), self.views()
        lines = []
        for agent, held in now.items():
            mine = before.get(agent, {})
            lines += [f"{agent}: {key} = {text}" for key, text in held.items() if mine.get(key) != text]
            lines += [f"{agent}: {key} is gone" for key in mine if key not in held]
        return lines

    def in_flight(self) -> list[Message]:
        """The messages that were sent and had not arrived, a duplicate as often as it was under way; oldest first."""
        under_way: dict[int, int] = {}
        messages: dict[int, Message] = {}
        for event in self.events[: self.place + 1]:
            message = event.message
            if message is None or event.kind == "held":
                continue
            messages[message.uid] = message
            step = 1 if event.kind in ("send", "duplicate") else -1
            under_way[message.uid] = under_way.get(message.uid, 0) + step
        return [messages[uid] for uid, count in under_way.items() for _ in range(count)]

    def clocks(self) -> dict[str, VectorClock]:
        """The vector clock of each agent at this event; agents to which nothing had happened are left out."""
        if self._clocks is None:
            self._clocks = {event.index: clock for event, clock in self._trace.causality().clocks()}
        return {
            event.agent: self._clocks[event.index] for event in self.events[: self.place + 1] if event.agent
        }

    def diagram(self, around: int) -> str:
        """The space-time diagram of the events around this one; a line says where the walker stands."""
        before = self.events[max(0, self.place + 1 - around) : self.place + 1]
        after = self.events[self.place + 1 : self.place + 1 + around]
        drawn = render((*before, *after), self.agents, channels=_CHANNELS).splitlines()
        # The same lanes must be drawn for the first part alone, to know how long it is.
        rows = sum(1 for _ in render(before, self.agents, channels=_CHANNELS).splitlines()[1:])
        if len(drawn) > 1:
            drawn.insert(1 + rows, f"{'you are here':>12} {'┄' * (max(map(len, drawn[:1])) - 12)}")
        return "\n".join(drawn)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text.replace("\n", "⏎")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


_OF_MESSAGES: Final[Mapping[str, str]] = {
    "send": "{sender} sends {what}",
    "receive": "{recipient} receives {what}",
    "lost": "{what} is lost",
    "duplicate": "{what} is duplicated",
    "held": "{what} is held back",
}
_OF_AGENTS: Final[Mapping[str, str]] = {
    "start": "starts",
    "return": "has returned",
    "error": "raises an error",
    "stop": "is stopped",
    "crash": "crashes",
    "restart": "restarts",
    "pause": "is paused",
    "resume": "goes on",
    "timer": "is woken by its timer",
    "persist": "writes to its storage",
    "sync": "syncs its storage",
    "decide": "decides",
    "state": "changes its state",
    "conflict": "meets a conflict",
    "stall": "is held up before its next step",
    "cancel": "has a task cancelled",
}


def words_of(event: TraceEvent) -> str:
    """Say an event in a sentence."""
    message = event.message
    if message is not None:
        channel = "" if message.channel == "user" else f", of the {message.channel}"
        sent = f"sent {format_ns(message.sent_at_ns)}{channel}"
        what = f"message {message.id} {message.type} {_short(repr(message.payload))} ({sent})"
        return _OF_MESSAGES[event.kind].format(sender=message.sender, recipient=message.recipient, what=what)
    detail = event.detail
    if event.kind == "rule" and isinstance(detail, Mapping):
        return f"the network: {detail.get('rule', '')} {detail.get('what', '')}"
    who = event.agent or "the run"
    if event.kind == "observe" and isinstance(detail, Mapping):
        rest = {key: value for key, value in detail.items() if key != "fact"}
        return f"{who} says: {detail.get('fact', '')}{_told(rest or None)}"
    return f"{who} {_OF_AGENTS.get(event.kind, event.kind)}{_told(detail)}"


def _told(detail: Any) -> str:
    if detail in (None, "null"):
        return ""
    if isinstance(detail, Mapping):
        return f" ({_short(', '.join(f'{key} {value!r}' for key, value in detail.items()))})"
    return f" ({_short(detail)})"
