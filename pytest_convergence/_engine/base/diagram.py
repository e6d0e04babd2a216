"""The space-time diagram of a trace, in plain text: one lane for each agent, time downwards, an arrow for each arrival.

A lane stops where its agent crashes and begins again with the next life; it is dotted while the agent is paused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["render"]

_LEAST_WIDTH: Final = 14
_TIME_WIDTH: Final = 12
_NOTE_LIMIT: Final = 48
_NOTE_TAIL: Final = 16
"""Of what is too long for a note, so much of its end is shown: what grows, grows there."""
_SILENT: Final = frozenset({"send", "timer", "persist", "sync", "state", "step", "start", "held", "stall"})
_MARKS: Final = {
    "crash": "✗ crash",
    "restart": "● restart",
    "pause": "‖ pause",
    "resume": "▶ resume",
    "return": "■ done",
    "error": "! error",
    "stop": "■ stopped",
    "cancel": "✂ cancelled",
}
_LANES: Final = {"crash": " ", "pause": "┆", "restart": "│", "resume": "│"}
"""What a lane looks like from such an event on."""


def render(
    events: Iterable[TraceEvent],
    agents: Sequence[str],
    *,
    channels: Sequence[str] = ("user",),
    most: int | None = None,
) -> str:
    """Draw events as text.

    Args:
        events: oldest first.
        agents: the lanes, from left to right; agents without a shown event are left out.
        channels: which messages are shown: ``user``, ``pattern``, ``sync``, ``handoff``, ``conflict``, ``ack``.
        most: how many rows there may be; the oldest events are left out, and that is said.
    """
    rows = list(_folded(event for event in events if _is_shown(event, channels)))
    lanes = [name for name in agents if any(_touches(event, name) for event, _ in rows)]
    if not lanes:
        return "(nothing to draw)"
    width = max(_LEAST_WIDTH, *(len(name) + 4 for name in lanes))
    lines = [" " * _TIME_WIDTH + "".join(name.center(width) for name in lanes).rstrip()]
    left_out = 0 if most is None else max(0, len(rows) - most)
    if left_out:
        earlier = sum(1 + alike for _, alike in rows[:left_out])
        lines.insert(0, f"  … {earlier} earlier events are left out")
    overtaken = _overtaken(event for event, _ in rows)
    last_time = ""
    looks = dict.fromkeys(lanes, "│")
    for place, (event, alike) in enumerate(rows):
        if place >= left_out:
            time = format_ns(event.at_ns)
            stamp = "" if time == last_time else time
            last_time = time
            more = overtaken.get(event.index, "") + (f" (and {alike} more like it)" if alike else "")
            lines.append(f"{stamp:>{_TIME_WIDTH - 2}}  {_row(event, looks, width)}{more}".rstrip())
        if event.agent in looks and event.kind in _LANES:
            looks[event.agent] = _LANES[event.kind]
    return "\n".join(lines)


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
        return event.kind in {"receive", "lost"} and event.message.channel in channels
    return event.kind not in _SILENT


def _touches(event: TraceEvent, name: str) -> bool:
    if event.message is not None:
        return name in (event.message.sender, event.message.recipient)
    return event.agent == name and event.kind != "rule"


def _row(event: TraceEvent, looks: Mapping[str, str], width: int) -> str:
    canvas = [" "] * (width * len(looks))
    centres = {name: place * width + width // 2 for place, name in enumerate(looks)}
    for name, centre in centres.items():
        canvas[centre] = looks[name]
    if event.message is not None:
        note = _arrow(canvas, centres, event.message, lost=event.kind == "lost")
    elif event.kind == "rule":
        detail: Any = event.detail or {}
        return f"{'─' * (width * len(looks))}  {detail.get('rule', '')} {detail.get('what', '')}"
    else:
        mark = _MARKS.get(event.kind, "◆")
        canvas[centres[event.agent]] = mark[0]
        note = f"{event.agent}: {mark[2:]}" if event.kind in _MARKS else f"{event.agent}: {_words(event)}"
    return "".join(canvas).rstrip() + f"   {note}"


def _arrow(canvas: list[str], centres: dict[str, int], message: Message, *, lost: bool) -> str:
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
    return f"#{message.number} {message.type} {_short(message.payload)}{' LOST' if lost else ''}{sent}"


def _words(event: TraceEvent) -> str:
    detail = event.detail
    if isinstance(detail, dict):
        fact = detail.get("fact", event.kind)
        rest = ", ".join(f"{key}={_short(value)}" for key, value in detail.items() if key != "fact")
        return f"{fact}({rest})" if rest else str(fact)
    return f"{event.kind} {_short(detail)}" if detail is not None else event.kind


def _short(value: Any) -> str:
    text = text_of(value)
    if len(text) <= _NOTE_LIMIT:
        return text
    return f"{text[: _NOTE_LIMIT - _NOTE_TAIL - 1]}…{text[-_NOTE_TAIL:]}"
