"""What lasts: crashes, pauses, and rules of the network, from the event that begins each to the one that ends it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["Span", "spans_of"]

_ENDS: Final = {"restart": "crash", "resume": "pause"}


class Span(NamedTuple):
    """Something that lasted.

    Attributes:
        kind: ``crash``, ``pause``, ``stall`` or ``rule``.
        agent: whose it is; ``None`` for a rule, which is the network's.
        words: the rule; empty otherwise.
        from_ns: when it began, in virtual nanoseconds.
        to_ns: when it ended, ``None`` if it never did.
    """

    kind: str
    agent: str | None
    words: str
    from_ns: int
    to_ns: int | None


def spans_of(events: Iterable[TraceEvent]) -> list[Span]:
    """Return what lasted, in the order of its beginning. What began before the first event is not known."""
    spans: list[Span] = []
    begun: dict[tuple[str, str], list[int]] = {}

    def begin(kind: str, key: str, event: TraceEvent, words: str = "", to_ns: int | None = None) -> None:
        if to_ns is None:
            begun.setdefault((kind, key), []).append(len(spans))
        spans.append(Span(kind, None if kind == "rule" else event.agent, words, event.at_ns, to_ns))

    def end(kind: str, key: str, event: TraceEvent) -> None:
        places = begun.get((kind, key))
        if places:
            place = places.pop(0)
            spans[place] = spans[place]._replace(to_ns=event.at_ns)

    for event in events:
        detail: Any = event.detail
        if event.kind in ("crash", "pause"):
            if event.kind == "crash":
                end("pause", event.agent, event)  # a dead agent is not paused any more
            begin(event.kind, event.agent, event)
        elif event.kind in _ENDS:
            end(_ENDS[event.kind], event.agent, event)
        elif event.kind == "stall" and isinstance(detail, dict):
            begin("stall", event.agent, event, to_ns=event.at_ns + 1_000 * max(0, int(detail.get("us", 0))))
        elif event.kind == "rule" and isinstance(detail, dict):
            words = str(detail.get("rule", ""))
            if detail.get("what") == "healed":
                end("rule", words, event)
            else:
                begin("rule", words, event, words)
    return spans
