"""The space-time diagram of a trace, in plain text: one lane for each agent, time downwards, an arrow for each arrival.

A lane stops where its agent crashes and begins again with the next life; it is dotted while the agent is paused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, final

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.packets import Packet
from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import CANCELLED, READ_SLOWLY, Aside, TraceEvent

__all__ = ["Notes", "is_bookkeeping", "numeral", "render", "with_asides", "words_of"]

_LEAST_WIDTH: Final = 14
_TIME_WIDTH: Final = 12
_NOTE_LIMIT: Final = 48
_LONGEST_ERROR: Final = 120
_NOTE_TAIL: Final = 16
"""Of what is too long for a note, so much of its end is shown: what grows, grows there."""
_SILENT: Final = frozenset({"send", "timer", "persist", "sync", "state", "step", "start", "held", "stall"})
_ARRIVALS: Final = frozenset({"receive", "lost"})
_MARKS: Final = {
    "crash": "✗ crash",
    "restart": "● restart",
    "pause": "‖ pause",
    "resume": "▶ resume",
    "return": "■ done",
    "error": "! error",
    "stop": "■ stopped",
    "cancel": "✂ cancelled",
    "output": "› ",
    CANCELLED: "✂ cancelled",
    READ_SLOWLY: "◌ reads slowly",
}
_LANES: Final = {"crash": " ", "pause": "┆", "restart": "│", "resume": "│"}
"""What a lane looks like from such an event on."""
_WOKEN: Final = "⏱"
_KEY: Final = {
    "├": "├──> message, where it arrives",
    "✗": "✗ crash, or message lost",
    "●": "● restart",
    "‖": "‖ pause",
    "▶": "▶ goes on",
    "◌": "◌ what has come is read bit by bit",
    "┆": "┆ paused",
    "◆": "◆ what an agent says of itself",
    "↻": "↻ message to itself",
    _WOKEN: "⏱ woken by time (timer, sleep, timeout)",
}
_BOOKS: Final = frozenset({"told", "joined", "acked"})
_MOST_NUMERALS: Final = 20
_FIRST_ASIDE: Final = 1 << 48
"""An index that no event has."""
_FOLLOWS_FROM: Final = frozenset({"receive", "start", "restart", "resume", "stop", "crash", "pause"})
"""What wakes an agent, or happens to it, other than time."""


@final
@dataclass(frozen=True, slots=True)
class Notes:
    """What is said beside a diagram for those who have to find something in it.

    Attributes:
        numbers: event -> the number of the fact that it is, in a list of evidence. These events are drawn in any case.
        hidden: how many messages were not passed to the drawing at all: others than those that led to it.
    """

    numbers: Mapping[int, int] = field(default_factory=dict)
    hidden: int = 0


def with_asides(
    events: Iterable[TraceEvent], asides: Iterable[Aside], until: int | None = None
) -> list[TraceEvent]:
    """Put what is told beside a trace among its events, as events to be drawn; what comes from ``until`` on is left out."""
    told = sorted((aside for aside in asides if until is None or aside.before <= until), key=itemgetter(0))
    replaced = {aside.before - 1 for aside in told if aside.instead}
    shown = [(event.index, 1, event) for event in events if event.index not in replaced]
    shown += [
        (
            aside.before,
            0,
            TraceEvent(_FIRST_ASIDE + place, aside.at_ns, aside.kind, aside.agent, None, aside.words),
        )
        for place, aside in enumerate(told)
    ]
    return [event for _, _, event in sorted(shown, key=itemgetter(0, 1))]


def numeral(number: int) -> str:
    """Return a number from 1 on as a circled numeral, as far as there are any."""
    return chr(0x245F + number) if number <= _MOST_NUMERALS else f"({number})"


def render(
    events: Iterable[TraceEvent],
    agents: Sequence[str],
    *,
    channels: Sequence[str] = ("user",),
    most: int | None = None,
    notes: Notes | None = None,
) -> str:
    """Draw events as text.

    Args:
        events: oldest first.
        agents: the lanes, from left to right; agents without a shown event are left out.
        channels: which messages are shown: ``user``, ``pattern``, ``sync``, ``handoff``, ``conflict``, ``ack``.
        most: how many rows there may be; the oldest events are left out, and that is said.
        notes: if there are any, the symbols are explained too, and it is said what time has brought about.
    """
    events = list(events)
    numbers = {} if notes is None else notes.numbers
    proof = {event.index for event in events if event.index in numbers and is_bookkeeping(event)}
    rows = list(_folded(event for event in events if _is_shown(event, channels) or event.index in proof))
    lanes = [name for name in agents if any(_touches(event, name) for event, _ in rows)]
    if not lanes:
        return "(nothing to draw)"
    width = max(_LEAST_WIDTH, *(len(name) + 4 for name in lanes))
    lines = [" " * _TIME_WIDTH + "".join(name.center(width) for name in lanes).rstrip()]
    woken = {} if notes is None else _woken_by_time(events)
    left_out = 0 if most is None else max(0, len(rows) - most)
    overtaken = _overtaken(event for event, _ in rows)
    last_time, skipped = "", 0
    looks = dict.fromkeys(lanes, "│")
    for place, (event, alike) in enumerate(rows):
        if place >= left_out or event.index in numbers:
            _say_gap(lines, skipped)
            skipped = 0
            time = format_ns(event.at_ns)
            stamp = "" if time == last_time else time
            last_time = time
            more = overtaken.get(event.index, "") + (f" (and {alike} more like it)" if alike else "")
            if event.index in numbers:
                more += f"  ◀{numeral(numbers[event.index])}"
            row = _row(event, looks, width, woken)
            lines.append(f"{stamp:>{_TIME_WIDTH - 2}}  {row}{more}".rstrip())
        else:
            skipped += 1 + alike
        if event.agent in looks and event.kind in _LANES:
            looks[event.agent] = _LANES[event.kind]
    _say_gap(lines, skipped)
    if notes is not None:
        lines += _key(lines, _not_drawn(events, channels) + notes.hidden)
    return "\n".join(lines)


def _say_gap(lines: list[str], events: int) -> None:
    """Say how many events are left out before what is drawn next; above the lanes if nothing is drawn yet."""
    if events:
        are = "event is" if events == 1 else "events are"
        lines.insert(0 if len(lines) == 1 else len(lines), f"  … {events} earlier {are} left out")


def _not_drawn(events: Iterable[TraceEvent], channels: Sequence[str]) -> int:
    """How many of the events are arrivals, or losses, of messages that are not drawn."""
    return sum(
        event.message is not None and event.kind in _ARRIVALS and not _is_shown(event, channels)
        for event in events
    )


def _key(lines: Sequence[str], hidden: int) -> list[str]:
    """Explain the symbols that occur, in a line, and say what does not."""
    drawn = "".join(lines).replace("┤", "├")
    words = [words for symbol, words in _KEY.items() if symbol in drawn]
    told = [f"key: {'; '.join(words)}"] if words else []
    if hidden:
        told.append(
            f"not drawn: {hidden} message{'s' * (hidden != 1)} that nobody concerned could know of, or of other kinds"
        )
    return told


def _woken_by_time(events: Sequence[TraceEvent]) -> dict[int, int]:
    """Return what agents did because it was time for it: event -> since when the agent had done nothing, in nanoseconds.

    A sending counts by the place of its message, so that the arrival, which is what is drawn, finds it: ``-uid``.
    """
    last: dict[str, int] = {}  # when something last happened to an agent
    woken: dict[int, int] = {}
    released: dict[str, int] = {}
    by_time: dict[
        str, tuple[int, int]
    ] = {}  # at which instant time woke it, and since when it had done nothing
    # What an agent does at an instant at which a message reaches it, it does because of that.
    reached = {(event.agent, event.at_ns) for event in events if event.kind == "receive"}
    for event in events:
        agent, now = event.agent, event.at_ns
        if event.kind in _FOLLOWS_FROM:
            last[agent] = now
        elif event.kind == "stall":
            released[agent] = now + (event.detail or {}).get("us", 0) * 1_000
        elif event.kind not in ("lost", "duplicate", "rule"):
            before = last.get(agent)
            if before not in (None, now) and released.get(agent) != now and (agent, now) not in reached:
                assert before is not None
                by_time[agent] = (now, before)
                if event.message is None and event.kind not in _SILENT:
                    woken[event.index] = before
            last[agent] = now
            if event.kind == "send" and event.message is not None and by_time.get(agent, (-1, 0))[0] == now:
                woken[-event.message.uid] = by_time[agent][1]
    return woken


def _folded(events: Iterable[TraceEvent]) -> Iterator[tuple[TraceEvent, int]]:
    """Yield events, each with the number of those right after it that say the same: heartbeats after a pause, say."""
    first: TraceEvent | None = None
    alike = 0
    for event in events:
        if first is not None and _says_the_same(first, event):
            alike += 1
            continue
        if first is not None:
            yield first, alike
        first, alike = event, 0
    if first is not None:
        yield first, alike


def _overtaken(events: Iterable[TraceEvent]) -> dict[int, str]:
    """Return, for each arrival after that of a later message of its link, what is to be said of it."""
    newest: dict[str, int] = {}
    found = {}
    for event in events:
        message = event.message
        if message is None or event.kind != "receive":
            continue
        last = newest.get(message.link, 0)
        if message.number < last:
            found[event.index] = f", OVERTAKEN by #{last}"
        newest[message.link] = max(last, message.number)
    return found


def _says_the_same(one: TraceEvent, other: TraceEvent) -> bool:
    first, second = one.message, other.message
    return (
        first is not None
        and second is not None
        and one.kind == other.kind
        and (first.link, first.channel, first.type) == (second.link, second.channel, second.type)
        and repr(first.payload) == repr(second.payload)
    )


def _is_shown(event: TraceEvent, channels: Sequence[str]) -> bool:
    if event.message is not None:
        return event.kind in _ARRIVALS and event.message.channel in channels
    return event.kind not in _SILENT and not is_bookkeeping(event)


def is_bookkeeping(event: TraceEvent) -> bool:
    """Whether an event is what a way of synchronising says of itself for its properties: a reader needs the messages."""
    if event.kind != "observe" or event.detail is None:
        return False
    return event.detail.get("fact") in _BOOKS and ("upto" in event.detail or "seen" in event.detail)


def _touches(event: TraceEvent, name: str) -> bool:
    if event.message is not None:
        return name in (event.message.sender, event.message.recipient)
    return event.agent == name and event.kind != "rule"


def _row(event: TraceEvent, looks: Mapping[str, str], width: int, woken: Mapping[int, int]) -> str:
    canvas = [" "] * (width * len(looks))
    centres = {name: place * width + width // 2 for place, name in enumerate(looks)}
    for name, centre in centres.items():
        canvas[centre] = looks[name]
    if event.message is not None:
        note = _arrow(canvas, centres, event.message, woken, lost=event.kind == "lost")
    elif event.kind == "rule":
        detail: Any = event.detail or {}
        return f"{'─' * (width * len(looks))}  {detail.get('rule', '')} {detail.get('what', '')}"
    else:
        mark = _MARKS.get(event.kind, "◆")
        canvas[centres[event.agent]] = mark[0]
        note = f"{event.agent}: {words_of(event)}"
        if event.index in woken:
            note += f" {_WOKEN} after {format_ns(event.at_ns - woken[event.index])}"
    return "".join(canvas).rstrip() + f"   {note}"


def _arrow(
    canvas: list[str], centres: dict[str, int], message: Message, woken: Mapping[int, int], *, lost: bool
) -> str:
    start, end = centres[message.sender], centres[message.recipient]
    step = 1 if end > start else -1
    for place in range(start + step, end, step):
        canvas[place] = "─" if canvas[place] == " " else "┼"
    canvas[start] = "├" if step > 0 else "┤"
    head = end - step
    if start == end:
        canvas[start] = "↻"
    elif lost:
        canvas[head] = "✗"
    else:
        canvas[head] = ">" if step > 0 else "<"
    sent = f", sent {format_ns(message.sent_at_ns)}"
    if -message.uid in woken:
        sent += f" {_WOKEN}"
    return f"#{message.number} {message.type} {_short(message.payload)}{' LOST' if lost else ''}{sent}"


def words_of(event: TraceEvent) -> str:
    """Say what happened to an agent, or what it said of itself."""
    detail = event.detail
    message = event.message
    if message is not None:
        return f"{event.kind} #{message.number} {message.type} to {message.recipient}"
    if event.kind == "output":
        return f"{detail['fact']}: {_short(detail['line'])}"
    if event.kind == "error":
        return _first_line(detail)
    if event.index >= _FIRST_ASIDE:
        return str(detail)
    if event.kind in _MARKS:
        return _MARKS[event.kind][2:]
    if isinstance(detail, dict):
        fact = detail.get("fact", event.kind)
        rest = ", ".join(f"{key}={_short(value)}" for key, value in detail.items() if key != "fact")
        return f"{fact}({rest})" if rest else str(fact)
    return f"{event.kind} {_short(detail)}" if detail is not None else event.kind


def _first_line(error: Any) -> str:
    """What an agent raised, in a line: its type, and what it says."""
    lines = str(error or "").splitlines()
    return lines[0].rstrip(": ")[:_LONGEST_ERROR] if lines else _MARKS["error"][2:]


def _short(value: Any) -> str:
    if isinstance(value, Packet):  # of which connection it is, is never cut off
        return f"{value.ports} {_cut(value.content)}".rstrip()
    return _cut(text_of(value))


def _cut(text: str) -> str:
    if len(text) <= _NOTE_LIMIT:
        return text
    return f"{text[: _NOTE_LIMIT - _NOTE_TAIL - 1]}…{text[-_NOTE_TAIL:]}"
