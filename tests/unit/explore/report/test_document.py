"""The report as data: complete, true to the run, and as its schema says."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.trace import KINDS, TraceEvent
from pytest_convergence._engine.check.property import Violation
from pytest_convergence.explore.report import document as module
from pytest_convergence.explore.report.document import as_json, document_of
from tests.unit.explore.report.stories import run_pair, story_of

SCHEMA = json.loads(
    (Path(__file__).parents[4] / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8")
)


def check(document: dict[str, Any]) -> None:
    """Hold a document, as it is read back from JSON, to the schema."""
    jsonschema = pytest.importorskip("jsonschema", reason="the extra 'test' has jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(as_json(document)), SCHEMA, jsonschema.Draft202012Validator)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(story_of(run_pair()))


def test_it_is_what_the_schema_says(document: dict[str, Any]) -> None:
    check(document)


def test_the_schema_knows_every_kind_of_event() -> None:
    assert SCHEMA["$defs"]["event"]["properties"]["kind"]["enum"] == list(KINDS)


def test_every_event_of_the_run_is_there_with_its_vector_clock(document: dict[str, Any]) -> None:
    trace = run_pair().trace
    assert [
        (event["index"], event["at_ns"], event["kind"], event["agent"]) for event in document["events"]
    ] == [(event.index, event.at_ns, event.kind, event.agent) for event in trace]
    clocks = {event["index"]: event["clock"] for event in document["events"] if event["clock"] is not None}
    for event, clock in trace.causality().clocks():
        assert VectorClock(dict(zip(trace.agents, clocks[event.index], strict=True))) == clock


def test_messages_tell_what_became_of_them(document: dict[str, Any]) -> None:
    messages = {message["id"]: message for message in document["messages"] if message["channel"] == "user"}
    lost = messages["asker→echo #2"]
    assert lost["lost_at_ns"] is not None
    assert lost["arrivals_ns"] == []
    delivered = [message for message in messages.values() if message["arrivals_ns"]]
    assert delivered
    for message in delivered:
        assert min(message["arrivals_ns"]) > message["sent_at_ns"]


def test_copies_and_what_rules_hold_are_told() -> None:
    document = document_of(story_of(run_pair(schedule=Schedule.of({"deliver asker→echo #1": 2}))))
    check(document)
    assert document["agents"] == ["scenario", "echo", "asker"]
    assert any(message["copies"] for message in document["messages"]) or document["messages"]


def test_what_lasted_has_a_beginning_and_an_end(document: dict[str, Any]) -> None:
    spans = {(span["kind"], span["agent"]): span for span in document["spans"]}
    partition, pause, crash = spans["rule", None], spans["pause", "asker"], spans["crash", "echo"]
    assert partition["words"].startswith("partition echo | asker")
    assert (partition["from_ns"], partition["to_ns"]) == (0, 500_000_000)
    assert pause["to_ns"] - pause["from_ns"] == 500_000_000
    assert crash["to_ns"] is None


def test_what_a_violation_needs_is_decisive() -> None:
    session = run_pair()
    trace = session.trace
    seen = next(event for event in trace if event.kind == "receive")
    violation = Violation(
        "nobody hears", "echo heard", seen.at_ns, (seen.agent,), {"text": "a\nb", "number": 3}
    )
    document = document_of(story_of(session, violations=(violation,)))
    check(document)
    assert document["violations"][0]["facts"] == {"text": "a\nb", "number": "3"}
    decisive = {event["index"] for event in document["events"] if event["decisive"]}
    assert seen.index in decisive
    assert max(decisive) <= max(event.index for event in trace if event.at_ns <= seen.at_ns)
    assert len(decisive) < len(trace)


def test_without_snapshots_states_follow_from_events() -> None:
    document = document_of(story_of(run_pair(takes_snapshots=False)))
    check(document)
    assert document["states"]["source"] == "events"
    held: dict[str, str] = {}
    for change in document["states"]["changes"]:
        if change["agent"] == "asker":
            held.update(change["held"])
    assert held["observed/answered"] == "{'count': 2}"
    assert "count 2" in held["state/last write"]


def test_a_session_that_has_not_ended_can_be_told() -> None:
    session = run_pair()
    document = document_of(story_of(session, outcome=None, counterexample=None, replay=""))
    check(document)
    assert document["is_minimal"] is None
    assert document["deviations"] == []
    assert document["views"] == document["cost"] == {}


def test_a_long_run_is_told_from_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_EVENTS", 10)
    monkeypatch.setattr(module, "_MOST_COUNTS", 10)
    session = run_pair()
    document = document_of(story_of(session))
    check(document)
    assert len(document["events"]) == 10
    assert document["dropped"] == len(session.trace) - 10
    assert all(event["clock"] is None for event in document["events"])
    first = document["states"]["changes"][0]
    assert first["since"] == document["events"][0]["index"]
    assert first["held"], "what was held before is known"


@pytest.mark.parametrize(
    ("event", "words", "detail"),
    [
        (TraceEvent(0, 0, "observe", "a", None, {"fact": "led", "term": 3}), "led(term=3)", {"fact": "'led'", "term": "3"}),
        (TraceEvent(0, 0, "rule", "a", None, {"rule": "partition a | b", "what": "began"}), "partition a | b began", None),
        (TraceEvent(0, 0, "timer", "a", None, "election"), "timer election", {"": "election"}),
        (TraceEvent(0, 0, "return", "a", None, "null"), "return", {"": "null"}),
        (TraceEvent(0, 0, "decide", "a", None, {"value": 1}), "decide(value=1)", {"value": "1"}),
        (TraceEvent(0, 0, "observe", "a", None, {3: 4}), "observe(3=4)", {"3": "4"}),
        (TraceEvent(0, 0, "conflict", "a", None, 7), "conflict 7", {"": "7"}),
        (TraceEvent(0, 0, "pause", "a"), "pause", {}),
    ],
)  # fmt: skip
def test_events_are_told_in_words(event: TraceEvent, words: str, detail: dict[str, str] | None) -> None:
    assert module._words(event) == words
    assert detail is None or module._detail(event) == detail


def test_the_story_is_frozen() -> None:
    story = story_of(run_pair())
    with pytest.raises(dataclasses.FrozenInstanceError):
        story.test = "other"  # type: ignore[misc]
