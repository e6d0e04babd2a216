"""A run as a Mermaid sequence diagram (https://mermaid.js.org), for pages and issues that draw such text.

Mermaid has a grammar of its own: ``;`` ends a line, ``#`` begins an entity, ``end`` is a word of the language,
quotes and brackets mean things. So whatever comes from a run is written in entity codes, but for letters, digits and a few
harmless signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pytest_convergence._engine.base.diagram import is_bookkeeping
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import Violation
from pytest_convergence.explore.counterexample import decisive_events
from pytest_convergence.explore.report.document import Story

__all__ = ["sequence_diagram"]

_MOST_ROWS: Final = 200
_LONGEST: Final = 60
_HARMLESS: Final = frozenset(" _.,+=/()'→↛…!?*@$-")
_WORD: Final = re.compile(r"\b(end)\b", re.IGNORECASE)
_CHANNELS: Final = frozenset({"user", "pattern", "sync", "handoff", "conflict", "net"})
_NOTED: Final = {
    "crash": "crash",
    "restart": "restart",
    "pause": "pause",
    "resume": "resume",
    "return": "done",
    "error": "error",
    "stop": "stopped",
}


def _escaped(text: str, longest: int = _LONGEST) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    written = "".join(
        char if char.isalnum() or char in _HARMLESS else f"#{ord(char)};"
        for char in text
        if char.isprintable()
    )
    return _WORD.sub(lambda match: f"#{ord(match[0][0])};{match[0][1:]}", written) or "#160;"


def sequence_diagram(story: Story) -> str:
    """Return the events that led to the failure as a diagram; the oldest are left out where there are too many."""
    rows = [event for event in decisive_events(story.trace, story.violations) if _is_shown(event)]
    shown = rows[-_MOST_ROWS:]
    touched = {name for event in shown for name in _touched(event)}
    names = {name: f"a{place}" for place, name in enumerate(story.trace.agents) if name in touched}
    lines = [f"%% {_escaped(story.test, 200)}", f"%% {_escaped(story.failure, 200)}", "sequenceDiagram"]
    lines += [f"    participant {alias} as {_escaped(name)}" for name, alias in names.items()]
    if not names:
        return "\n".join([*lines, "    participant a0 as nobody", ""])
    everybody = ",".join(dict.fromkeys([next(iter(names.values())), list(names.values())[-1]]))
    if len(rows) > len(shown):
        lines.append(f"    Note over {everybody}: {len(rows) - len(shown)} earlier events are left out")
    lines += [f"    {row}" for event in shown for row in _rows(event, names, everybody)]
    lines += [f"    {_verdict(one, names, everybody)}" for one in story.violations]
    return "\n".join([*lines, ""])


def _is_shown(event: TraceEvent) -> bool:
    if event.message is not None:
        return event.kind in ("receive", "lost") and event.message.channel in _CHANNELS
    if is_bookkeeping(event):
        return False
    return event.kind in _NOTED or event.kind in ("rule", "decide", "observe", "conflict")


def _touched(event: TraceEvent) -> Sequence[str]:
    if event.message is not None:
        return event.message.sender, event.message.recipient
    return () if event.kind == "rule" else (event.agent,)


def _rows(event: TraceEvent, names: dict[str, str], everybody: str) -> Iterator[str]:
    message: Message | None = event.message
    if message is not None:
        arrow = "-x" if event.kind == "lost" else "->>"
        words = f"{format_ns(event.at_ns)} {message.type} {text_of(message.payload, 200)}"
        lost = " LOST" if event.kind == "lost" else ""
        yield f"{names[message.sender]}{arrow}{names[message.recipient]}: #35;{message.number} {_escaped(words)}{lost}"
        return
    detail: Any = event.detail
    facts = detail if isinstance(detail, dict) else {}
    if event.kind == "rule":
        words = f"{facts.get('rule', '')} {facts.get('what', '')}"
        yield f"Note over {everybody}: {_escaped(f'{format_ns(event.at_ns)} {words}')}"
        return
    words = _NOTED.get(event.kind) or str(facts.get("fact", event.kind))
    yield f"Note over {names[event.agent]}: {_escaped(f'{format_ns(event.at_ns)} {words}')}"


def _verdict(violation: Violation, names: dict[str, str], everybody: str) -> str:
    of = [names[agent] for agent in violation.agents if agent in names]
    over = ",".join(dict.fromkeys([of[0], of[-1]])) if of else everybody
    return f"Note over {over}: {_escaped(f'{format_ns(violation.at_ns)} violated {violation.property}')}"
