"""A counterexample: the smallest run found that fails, and everything that helps to understand why.

It reads from top to bottom like an explanation: what did not hold; what had to go wrong for it, and what would have
happened without; the messages that led there, as a space-time diagram cut to the causal past; what each agent held then;
how it was found; how to run it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

from pytest_convergence._engine.base.diagram import Notes, numeral, render, with_asides, words_of
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import Aside, Trace, TraceEvent
from pytest_convergence._engine.check.property import Violation
from pytest_convergence._engine.run.outcome import Outcome

__all__ = ["Counterexample", "Told", "decisive_events"]

_MOST_ROWS: Final = 60
_MOST_DEVIATIONS: Final = 20
_MOST_FACTS: Final = 6
_FIRST_FACTS: Final = 3
_LONGEST_VIEW: Final = 160
_CHANNELS: Final = ("user", "pattern", "sync", "handoff", "conflict", "net")
"""Whose messages are drawn: all but acknowledgements."""
_OUT_OF_TIME: Final = "the time to shrink was up"


@final
@dataclass(frozen=True, slots=True)
class Told:
    """A deviation in words.

    Attributes:
        words: what happened.
        without: what became of the run when this alone did not happen; empty if that was not tried.
        label: of the choice, such as ``deliver planner→coder #3``.
    """

    words: str
    without: str = ""
    label: str = ""


@final
@dataclass(frozen=True, slots=True)
class Counterexample:
    """What is told of one failure.

    Attributes:
        failure: what went wrong, in a sentence.
        deviations: what had to happen for it, oldest first; nothing if it fails under the calm schedule too.
        is_minimal: whether it fails no more without any one of them; otherwise there was no time to find out.
        outcome: of the session that failed, ``None`` if none had ended.
        violations: the properties that did not hold.
        found: how it was found, and what it cost.
        replay: the command that runs it again.
        token: the schedule as text.
        documents: agent -> the document that its replica held at the end, for those that had one.
        pin: the code that pins it, if that is not the option of the marker; empty if there is none.
        unreduced: why it may not be minimal; empty if there was no time to find out.
        again: what to know about the command.
        has_rules: whether rules of a state machine led there, which are shown elsewhere.
        evidence: the facts that prove each of the violations, in their order, as far as they can be told.
        stood: agent -> where its own code stood when the run came to its end.
        asides: what is told beside the trace.
    """

    failure: str
    deviations: tuple[Told, ...]
    is_minimal: bool
    outcome: Outcome | None
    violations: tuple[Violation, ...]
    found: str
    replay: str
    token: str
    documents: Mapping[str, Any] = field(default_factory=dict)
    pin: str | None = None
    unreduced: str = ""
    again: str = ""
    has_rules: bool = False
    evidence: tuple[tuple[TraceEvent, ...], ...] = ()
    stood: Mapping[str, str] = field(default_factory=dict)
    asides: tuple[Aside, ...] = ()

    def text(self) -> str:
        """The whole explanation, as plain text."""
        parts = [self.failure, self._because(), self._evidence()]
        if self.outcome is not None:
            diagram = self._diagram(self.outcome.trace)
            if diagram:
                parts.append(diagram)
            parts.append(_standing(self.stood, "agent" if self.outcome.metrics.agents else "program"))
            parts.append(_views(self.outcome, self.documents))
            # Why it failed is said above, with the violations.
            parts.append(
                str(replace(self.outcome, reasons=(), violations=()) if self._says_why() else self.outcome)
            )
        parts.append("\n".join([self.found, f"run it again: {self.replay}{self.again}", *self._pinning()]))
        return "\n\n".join(part for part in parts if part)

    def _says_why(self) -> bool:
        """Whether the first line tells what the outcome would tell again: the error that ended the run, one violation."""
        outcome = self.outcome
        if outcome is None or len(self.violations) > 1:
            return False
        return bool(self.violations) or [
            line.removesuffix(":") for reason in outcome.reasons[:1] for line in reason.splitlines()[:1]
        ] == [self.failure]

    def _pinning(self) -> list[str]:
        pin = f'schedule="{self.token}"' if self.pin is None else self.pin
        return [f"  or pin it: {pin}"] if pin else []

    def _because(self) -> str:
        if not self.deviations and self.has_rules:
            return "Besides what the rules do, nothing needs to go wrong: it fails under the calm schedule."
        if not self.deviations:
            return (
                "It needs nothing to go wrong: it fails under the calm schedule, in order and without faults."
            )
        number = len(self.deviations)
        lines = [
            f"It takes {number} deviation{'s' * (number != 1)} from the calm schedule"
            f"{'' if self.is_minimal else f' (perhaps fewer: {self.unreduced or _OUT_OF_TIME})'}:"
        ]
        for told in self.deviations[:_MOST_DEVIATIONS]:
            lines.append(f"  - {self._telling(told)}")
            if told.without:
                lines.append(f"      without it: {told.without}")
        if number > _MOST_DEVIATIONS:
            lines.append(f"  … and {number - _MOST_DEVIATIONS} more")
        return "\n".join(lines)

    def _telling(self, told: Told) -> str:
        """The words of a deviation; of a packet of a host, also what it is."""
        trace = () if self.outcome is None else self.outcome.trace.messages
        link = told.label.removeprefix("deliver ")
        what = next(
            (one.type for one in trace if one.channel == "net" and link == f"{one.link} #{one.number}"), ""
        )
        return told.words.replace(f"{link} ", f"{link} ({what}) ", 1) if what else told.words

    def _numbered(self) -> dict[int, tuple[TraceEvent, int]]:
        """The facts of all that is told as evidence, by index, numbered as they happened."""
        facts = {event.index: event for facts in self.evidence for event in _told_of(facts)}
        return {index: (facts[index], number) for number, index in enumerate(sorted(facts), 1)}

    def _evidence(self) -> str:
        """The facts that the properties judged, with the places in the diagram where they are."""
        numbered = self._numbered()
        parts: dict[tuple[int, ...], tuple[Sequence[TraceEvent], list[str]]] = {}
        for violation, facts in zip(self.violations, self.evidence, strict=False):
            if facts:
                key = tuple(event.index for event in facts)
                parts.setdefault(key, (facts, []))[1].append(violation.property)
        lines = []
        for proof, names in parts.values():
            lines.append(f"What contradicts {' and '.join(names)}:")
            shown = _told_of(proof)
            for place, event in enumerate(shown):
                if place == _FIRST_FACTS and len(proof) > len(shown):
                    lines.append(f"     … and {len(proof) - len(shown)} more facts")
                number = numeral(numbered[event.index][1])
                lines.append(f"  {number} {format_ns(event.at_ns):>10}  {event.agent}: {words_of(event)}")
        return "\n".join(lines)

    def _diagram(self, trace: Trace) -> str:
        events = decisive_events(trace, self.violations)
        if not events:
            return ""
        head = "What happened:"
        if self.violations:
            concerned = list(dict.fromkeys(agent for one in self.violations for agent in one.agents))
            knew = f", as far as {' and '.join(concerned)} could know of it" if concerned else ""
            head = f"What led to it{knew}:"
        drawn = {event.message.uid for event in events if event.message is not None}
        notes = Notes(
            numbers={event.index: number for event, number in self._numbered().values()},
            hidden=len({message.uid for message in trace.messages} - drawn),
        )
        lanes = {event.agent for event in events}
        last = events[-1].index + 1 if self.violations else None
        asides = [aside for aside in self.asides if aside.agent in lanes]
        events = with_asides(events, asides, last)
        lines = [head, render(events, trace.agents, channels=_CHANNELS, most=_MOST_ROWS, notes=notes)]
        lines += [f"{format_ns(one.at_ns):>10}  ▲ violated: {one.property}" for one in self.violations]
        return "\n".join(lines)


def decisive_events(trace: Trace, violations: Sequence[Violation]) -> list[TraceEvent]:
    """Return the events that can have brought about the violations: the causal past of what proves them.

    Without a violation, all events are returned. Rules of the network (partitions) belong to nobody's past, and are kept.
    """
    events = list(trace)
    if not violations:
        return events
    at_ns = max(violation.at_ns for violation in violations)
    agents = {agent for violation in violations for agent in violation.agents}
    events = [event for event in events if event.at_ns <= at_ns]
    last: dict[str, TraceEvent] = {}
    causality = trace.causality()
    for event in events:
        if event.kind not in ("lost", "duplicate") and (not agents or event.agent in agents):
            last[event.agent] = event
    past = {known.index for event in last.values() for known in causality.past(event)}
    reached = {event.message.uid for event in events if event.index in past and event.message is not None}
    return [
        event
        for event in events
        if event.index in past
        or event.kind == "rule"
        or (event.kind == "lost" and event.message is not None and event.message.uid in reached)
    ]


def _told_of(facts: Sequence[TraceEvent]) -> Sequence[TraceEvent]:
    """Of many facts the first ones, with which it began, and the last ones, which contradict them."""
    if len(facts) <= _MOST_FACTS:
        return facts
    return (*facts[:_FIRST_FACTS], *facts[len(facts) - _MOST_FACTS + _FIRST_FACTS :])


def _standing(stood: Mapping[str, str], who: str) -> str:
    """Say where the code of each agent stood; agents at the same line in one row."""
    by_place: dict[str, list[str]] = {}
    for agent, place in stood.items():
        by_place.setdefault(place, []).append(agent)
    rows = [f"  {', '.join(agents)}: {place}" for place, agents in by_place.items()]
    return "\n".join([f"Where each {who} stood then:", *rows]) if rows else ""


def _views(outcome: Outcome, documents: Mapping[str, Any]) -> str:
    views: Mapping[str, Any] = outcome.views or {}
    lines = [
        f"  {name}: {_cut(held)}"
        for name, view in views.items()
        if (held := _held(view, documents.get(name)))
    ]
    gone = [name for name in outcome.crashed if name not in views]
    lines += [f"  {name}: crashed" for name in gone]
    return "\n".join(["What each agent held at the end:", *lines]) if lines else ""


def _held(view: Any, document: Any) -> str:
    """What an agent exposed at the end; of its replica the document, for which the view has a checksum."""
    if not isinstance(view, Mapping):
        return repr(view) if view else ""
    shown = {key: value for key, value in view.items() if key != "state"}
    if document:
        shown["state"] = document
    return ", ".join(f"{key} {value!r}" for key, value in shown.items())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VIEW else f"{text[: _LONGEST_VIEW - 1]}…"
