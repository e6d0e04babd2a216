"""The reference pages list what exists: no more, no less."""

import re
from pathlib import Path

import pytest

import pytest_convergence
from pytest_convergence import Competitive, Consensus, LeaderFollower, ParallelMerge, errors
from pytest_convergence._engine.check.registry import BUILT_IN
from pytest_convergence._engine.run.goal import CRITERIA
from pytest_convergence._engine.run.options import DEFAULTS
from pytest_convergence._engine.run.outcome import RunMetrics
from pytest_convergence._engine.sim.conditions import PROFILES
from pytest_convergence._engine.sim.faults import FAULT_KINDS
from pytest_convergence._engine.sim.shims import coverage
from pytest_convergence.metrics import Tally, registry_of
from tests.architecture.source import ROOT

_REFERENCE = ROOT / "docs" / "reference"


def _text(page: str) -> str:
    return (_REFERENCE / page).read_text(encoding="utf-8")


def _rows(page: str, heading: str, first: str = "`") -> dict[str, list[str]]:
    """Return the rows of the table under ``heading`` by their first cell, which begins with ``first``."""
    section = _text(page).partition(f"{heading}\n")[2]
    section = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith(f"| {first}")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0].strip("`"): cells[1:] for cells in rows if cells[0] != "pattern"}


def test_the_network_page_has_the_numbers_of_every_profile() -> None:
    shown = {
        name: [float(cell) for cell in cells]
        for name, cells in _rows("network.md", "# Network profiles and fault kinds").items()
    }
    real = {
        name: [
            network.least_ns / 1e9,
            network.greatest_ns / 1e9,
            network.loss,
            network.duplicate,
            network.reorder,
            network.reset,
        ]
        for name, network in PROFILES.items()
    }
    assert shown == real


def test_the_network_page_lists_the_fault_kinds() -> None:
    assert set(_rows("network.md", "## Fault kinds")) == set(FAULT_KINDS)


def test_the_metrics_page_lists_the_metrics_that_a_session_writes() -> None:
    tally = Tally()
    numbers = RunMetrics(
        pattern="consensus",
        outcome="converged",
        state_updates=1,
        sync_operations=1,
        conflicts_by={"type/severity": 1},
        resolutions_by={"strategy": 1},
        handoffs_by={"reason/outcome": 1},
        faults={"fault": 1},
    )
    tally.add(numbers.as_dict())
    tally.note_active("executing")
    exported = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name: [metric.type, *sorted(labels)]
        for metric in registry_of(tally).collect()
        if (labels := {label for sample in metric.samples for label in sample.labels} - {"le"}) is not None
    }
    shown = {
        name: [cells[0], *sorted(re.findall(r"`(\w+)`", cells[1]))]
        for name, cells in _rows("metrics.md", "# Metrics").items()
    }
    assert shown == exported


def test_the_replacements_page_lists_everything_that_a_run_replaces() -> None:
    shown: set[tuple[str, ...]] = set()
    for line in _text("replacements.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and "`" in cells[1]:
            shown |= {(cells[0], source, cells[2]) for source in re.findall(r"`([^`]+)`", cells[1])}
        elif line.startswith("| ") and len(cells) == 2:
            shown.add(("not covered", *cells))
    real = {tuple(row) for row in coverage()}
    some = {"random.binomialvariate", "random._urandom"}  # which not every version of Python has
    newer = {row for row in shown if row[1] in some}
    assert shown - newer - {("not covered", "source", "what to do")} == real - newer


def test_the_marker_table_lists_every_option_that_a_marker_takes() -> None:
    only_for_sessions = {"goal", "states", "name"}
    assert set(_rows("plugin.md", "## Marker")) == DEFAULTS.keys() - only_for_sessions


def test_the_goals_page_lists_the_criteria_that_have_names() -> None:
    assert set(_rows("../how-to/goals.md", "# Set a goal")) == set(CRITERIA)


def test_the_patterns_page_lists_what_each_pattern_promises() -> None:
    rows = _rows("../how-to/patterns.md", "## What a pattern promises", first="")
    shown = {name: set(re.findall(r"`(\w+)`", cells[0])) for name, cells in rows.items()}
    assert shown == {
        "consensus": set(Consensus().properties),
        "consensus, Raft": set(Consensus(algorithm="raft").properties),
        "consensus, two-phase commit": set(Consensus(algorithm="two-phase-commit").properties),
        "leader-follower, Raft": set(LeaderFollower().properties),
        "leader-follower, Raft with a log": set(LeaderFollower(replicate=True).properties),
        "leader-follower, bully": set(LeaderFollower(algorithm="bully").properties),
        "parallel-merge": set(ParallelMerge().properties),
        "competitive": set(Competitive().properties),
    }


def test_the_properties_page_lists_every_property_with_its_promise() -> None:
    real = {each.name: [each.kind.value, each.summary] for each in BUILT_IN.values()}
    assert _rows("properties.md", "# Properties and facts") == real


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in _REFERENCE.glob("*.md"))
    missing = [
        name
        for name in pytest_convergence.__all__
        if not hasattr(errors, name)  # documented as a module
        and not re.search(rf"auto\w+:: pytest_convergence\.{name}$", pages, re.MULTILINE)
    ]
    assert not missing, f"add these to docs/reference/api.md: {missing}"


def test_the_plugin_page_lists_every_command_line_option_and_its_ini_key(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest("--help", "-p", "no:randomly").stdout.str()
    options = set(re.findall(r"--convergence-[\w-]+", shown))
    assert options
    assert {f"--{option}" for option in re.findall(r"`--(convergence-[\w-]+)", _text("plugin.md"))} == options
    keys = set(re.findall(r"^  (convergence_\w+)", shown, re.MULTILINE))
    assert set(re.findall(r"`(convergence_\w+)`", _text("plugin.md").partition("## Options")[2])) == keys


def test_the_plugin_page_lists_every_fixture(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest("--fixtures", "-v", "-p", "no:randomly").stdout.str()
    fixtures = set(re.findall(r"^(\w+)[^\n]*-- \S*pytest_convergence/", shown, re.MULTILINE))
    assert set(_rows("plugin.md", "## Fixtures")) == fixtures


@pytest.mark.parametrize("page", sorted(_REFERENCE.glob("*.md")), ids=lambda page: page.name)
def test_a_reference_page_is_linked_from_the_index(page: Path) -> None:
    assert page.name == "index.md" or f"]({page.name})" in _text("index.md")
