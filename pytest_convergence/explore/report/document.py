"""The report of one run as plain data: what ``--convergence-report`` writes as JSON, and what its page shows.

The format is described by ``docs/reference/report.schema.json``. All times are integer nanoseconds of virtual time. Values
of the user's are text: what ``repr`` says of them, cut where it is long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.base.trace import Trace, TraceEvent
from pytest_convergence._engine.check.property import Violation
from pytest_convergence.explore.counterexample import Counterexample, decisive_events
from pytest_convergence.explore.report.spans import spans_of
from pytest_convergence.explore.report.states import changes_of_events, changes_of_snapshots

if TYPE_CHECKING:
    from pytest_convergence._engine.run.outcome import Outcome
    from pytest_convergence._engine.run.snapshots import Snapshot

__all__ = ["FORMAT", "VERSION", "Story", "as_json", "document_of"]

FORMAT: Final = "pytest-convergence-report"
VERSION: Final = 1

_MOST_EVENTS: Final = 30_000
_MOST_COUNTS: Final = 4_000_000
"""How many counts all vector clocks may have together: a hundred agents and many events would fill the page with them."""

_LONGEST_PAYLOAD: Final = 2_000
_LONGEST_DETAIL: Final = 400


@final
@dataclass(frozen=True, slots=True)
class Story:
    """What there is to tell of a failing test.

    Attributes:
        test: its node id.
        session: the session that failed, by name.
        state: what became of it: ``converged``, ``diverged``, ``failed``, or the state that it was left in.
        pattern: the pattern's name, ``"none"`` without one.
        schedule: which schedule it followed, in words.
        failure: what went wrong, in a sentence.
        explanation: the text of the failure's section.
        trace: what happened.
        outcome: of the session, ``None`` if it has not ended.
        violations: the properties that did not hold.
        counterexample: the smallest run, if the failure was reduced.
        snapshots: what agents held, if that was recorded.
        replay: the command that runs it again; empty if none is known.
    """

    test: str
    session: str
    state: str
    pattern: str
    schedule: str
    failure: str
    explanation: str
    trace: Trace
    outcome: Outcome | None = None
    violations: tuple[Violation, ...] = ()
    counterexample: Counterexample | None = None
    snapshots: Sequence[Snapshot] = ()
    replay: str = ""


def as_json(value: Any) -> str:
    """Write builtin types as JSON that every reader takes: half a surrogate pair, which only some do, becomes ``?``."""
    return (
        json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        .encode("utf-8", "replace")
        .decode("utf-8")
    )


def document_of(story: Story) -> dict[str, Any]:
    """Return the report of a run, as builtin types that JSON knows."""
    trace, found = story.trace, story.counterexample
    events = list(trace)[-_MOST_EVENTS:]
    decisive = _decisive(story)
    return {
        "format": FORMAT,
        "version": VERSION,
        "test": story.test,
        "session": {
            "name": story.session,
            "state": story.state,
            "pattern": story.pattern,
            "schedule": story.schedule,
        },
        "failure": story.failure,
        "explanation": story.explanation,
        "deviations": []
        if found is None
        else [
            {"words": told.words, "without": told.without, "label": told.label} for told in found.deviations
        ],
        "is_minimal": None if found is None else found.is_minimal,
        "found": "" if found is None else found.found,
        "replay": {"command": story.replay, "token": "" if found is None else found.token},
        "violations": [_violation(one) for one in story.violations],
        "agents": list(trace.agents),
        "dropped": trace.dropped + len(trace) - len(events),
        "end_ns": events[-1].at_ns if events else 0,
        "events": list(_events(events, _clocks(trace), decisive)),
        "messages": _messages(events),
        "spans": [span._asdict() for span in spans_of(events)],
        "states": _states(story, events),
        "views": _views(story),
        "cost": _cost(story.outcome),
    }


def _decisive(story: Story) -> frozenset[int] | None:
    """The events that can have brought about the violations; ``None`` where that is not known."""
    if not story.violations:
        return None
    return frozenset(event.index for event in decisive_events(story.trace, story.violations))


def _violation(violation: Violation) -> dict[str, Any]:
    return {
        "property": violation.property,
        "message": violation.message,
        "at_ns": violation.at_ns,
        "agents": list(violation.agents),
        "facts": {
            _name(key): value[:_LONGEST_DETAIL] if isinstance(value, str) else text_of(value, _LONGEST_DETAIL)
            for key, value in violation.facts.items()
        },
    }


def _fields(values: Mapping[Any, Any]) -> dict[str, str]:
    return {_name(key): text_of(value, _LONGEST_DETAIL) for key, value in values.items()}


def _name(key: object) -> str:
    return key if isinstance(key, str) else text_of(key, 80)


def _detail(event: TraceEvent) -> dict[str, str]:
    if event.detail is None:
        return {}
    if isinstance(event.detail, Mapping):
        return _fields(event.detail)
    text = event.detail if isinstance(event.detail, str) else text_of(event.detail, _LONGEST_DETAIL)
    return {"": text[:_LONGEST_DETAIL]}


def _words(event: TraceEvent) -> str:
    """An event in a few words; a message speaks for itself."""
    detail = event.detail
    if isinstance(detail, Mapping):
        if event.kind == "rule":
            return f"{detail.get('rule', '')} {detail.get('what', '')}".strip()
        named = detail.get("fact", event.kind)
        rest = ", ".join(
            f"{_name(key)}={text_of(value, 48)}" for key, value in detail.items() if key != "fact"
        )
        return f"{named}({rest})" if rest else str(named)
    if detail is None or event.kind == "return":
        return event.kind
    return f"{event.kind} {detail if isinstance(detail, str) else text_of(detail, 96)}"


def _clocks(trace: Trace) -> dict[int, list[int]]:
    """The vector clock of each event, as counts in the order of the agents."""
    agents = trace.agents
    if len(trace) * len(agents) > _MOST_COUNTS:
        return {}
    return {event.index: [clock[agent] for agent in agents] for event, clock in trace.causality().clocks()}


def _events(
    events: Iterable[TraceEvent], clocks: Mapping[int, list[int]], decisive: frozenset[int] | None
) -> Iterator[dict[str, Any]]:
    for event in events:
        message = event.message
        yield {
            "index": event.index,
            "at_ns": event.at_ns,
            "kind": event.kind,
            "agent": event.agent,
            "message": None if message is None else message.uid,
            "words": "" if message is not None else _words(event),
            "detail": _detail(event),
            "clock": clocks.get(event.index),
            "decisive": None if decisive is None else event.index in decisive,
        }


def _messages(events: Iterable[TraceEvent]) -> list[dict[str, Any]]:
    """Every message that an event is about, with what became of it."""
    known: dict[int, dict[str, Any]] = {}
    for event in events:
        message = event.message
        if message is None:
            continue
        told = known.get(message.uid)
        if told is None:
            told = known[message.uid] = {
                "uid": message.uid,
                "id": message.id,
                "sender": message.sender,
                "recipient": message.recipient,
                "number": message.number,
                "type": str(message.type),
                "channel": message.channel,
                "payload": text_of(message.payload, _LONGEST_PAYLOAD),
                "reply_to": message.reply_to,
                "sent_at_ns": message.sent_at_ns,
                "arrivals_ns": [],
                "lost_at_ns": None,
                "copies": 0,
                "held_at_ns": None,
            }
        if event.kind == "receive":
            told["arrivals_ns"].append(event.at_ns)
        elif event.kind == "lost":
            told["lost_at_ns"] = event.at_ns
        elif event.kind == "duplicate":
            told["copies"] += 1
        elif event.kind == "held":
            told["held_at_ns"] = event.at_ns
    return list(known.values())


def _states(story: Story, events: Sequence[TraceEvent]) -> dict[str, Any]:
    if story.snapshots:
        first, last = (events[0].index, events[-1].index) if events else (0, 0)
        changes = changes_of_snapshots(story.snapshots, first, last)
        return {"source": "snapshots", "changes": list(changes)}
    return {"source": "events", "changes": list(changes_of_events(events))}


def _views(story: Story) -> dict[str, str]:
    """What the live agents exposed at the end, as text."""
    outcome = story.outcome
    if outcome is None or outcome.views is None:
        return {}
    return {name: text_of(view, _LONGEST_PAYLOAD) for name, view in outcome.views.items()}


def _cost(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    numbers = outcome.metrics
    return {
        "virtual_seconds": numbers.virtual_seconds,
        "real_seconds": numbers.real_seconds,
        "steps": numbers.events,
        "messages_sent": numbers.sent,
        "messages_lost": numbers.lost,
        "messages_duplicated": numbers.duplicated,
    }
