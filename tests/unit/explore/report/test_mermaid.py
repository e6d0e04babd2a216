"""The Mermaid diagram: its grammar, whatever the run holds."""

import re

import pytest

from pytest_convergence._engine.check.property import Violation
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.session import Session
from pytest_convergence.explore.report import mermaid
from pytest_convergence.explore.report.mermaid import sequence_diagram
from tests.unit.explore.report.stories import HOSTILE, run_pair, story_of

TEXT = r"(?:[^#;:<>\"{}\[\]\\|%&`\n]|#\d+;)+"
LINES = (
    re.compile(rf"%% {TEXT}"),
    re.compile(r"sequenceDiagram"),
    re.compile(rf"    participant a\d+ as {TEXT}"),
    re.compile(rf"    a\d+(->>|-x)a\d+: {TEXT}"),
    re.compile(rf"    Note over a\d+(,a\d+)?: {TEXT}"),
)


def check(text: str) -> list[str]:
    lines = text.splitlines()
    assert text.endswith("\n")
    for line in lines:
        assert any(pattern.fullmatch(line) for pattern in LINES), line
        assert not re.search(r"\bend\b", line, re.IGNORECASE), "a word of the language"
    return lines


def test_it_draws_the_run() -> None:
    lines = check(sequence_diagram(story_of(run_pair())))
    text = "\n".join(lines)
    assert lines[2:5] == ["sequenceDiagram", "    participant a1 as echo", "    participant a2 as asker"]
    assert "    Note over a1,a2: 0 us partition echo #124; asker began" in lines
    assert re.search(r"    a2-xa1: #35;2 .* LOST", text)
    assert "    a1->>a2: #35;1 " in text
    assert any(line.endswith(" crash") and line.startswith("    Note over a1:") for line in lines)


def test_violations_are_marked_where_they_were_proved() -> None:
    session = run_pair()
    at_ns = session.trace[-1].at_ns
    violations = (Violation("a; b", "", at_ns, ("asker",)), Violation("nobody's", "", at_ns))
    lines = check(sequence_diagram(story_of(session, violations=violations)))
    assert lines[-2].startswith("    Note over a2: ")
    assert lines[-2].endswith(" violated a#59; b")
    assert lines[-1].startswith("    Note over a1,a2: ")


def test_names_of_agents_may_be_anything() -> None:
    async def scenario(session: Session) -> None:
        one, other = session.agents.values()
        await one.send(other.name, HOSTILE, type="end")
        await other.receive()

    session = Session(SessionOptions.parse({"agents": ["end", 'a";}->>{b <i> %%']}), name="s")
    session.run(scenario)
    lines = check(sequence_diagram(story_of(session)))
    assert lines[3] == "    participant a1 as #101;nd"


def test_the_oldest_rows_are_left_out_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mermaid, "_MOST_ROWS", 3)
    lines = check(sequence_diagram(story_of(run_pair())))
    assert any(line.endswith("earlier events are left out") for line in lines)


def test_nothing_is_a_diagram_too() -> None:
    session = Session(SessionOptions.parse({"agents": ["a"]}), name="s")

    async def scenario(session: Session) -> None:
        await session.sleep(1)

    session.run(scenario)
    assert check(sequence_diagram(story_of(session)))[-1] == "    participant a0 as nobody"
