"""The package's promises about itself: floors, entry point, README commands, changelog, licence."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from tests.architecture.markdown import blocks_of
from tests.architecture.source import ROOT

_PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PROJECT = _PYPROJECT["project"]
_COMMANDS = [block.text.strip() for block in blocks_of(ROOT / "README.md") if block.info == "sh"]


def test_the_floors_are_the_versions_that_the_lowest_leg_installs() -> None:
    floors = {requirement.replace(">=", "==") + ("" if requirement.count(".") > 1 else ".0")
              for requirement in _PROJECT["dependencies"]}  # fmt: skip
    lines = (ROOT / "constraints" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == floors


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert _PROJECT["entry-points"]["pytest11"] == {"convergence": "pytest_convergence.plugin"}


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("pytest_convergence").joinpath("py.typed").is_file()


def test_the_wheel_holds_what_the_pages_of_reports_are_made_of(tmp_path: Path) -> None:
    source = ROOT / "pytest_convergence" / "explore" / "report" / "assets"
    assets = {path.name for path in source.iterdir()}
    assert {"report.html", "report.css", "report.js", "index.html"} <= assets
    hatchling = pytest.importorskip("hatchling.builders.wheel", reason="the extra 'test' has hatchling")
    wheel = next(
        iter(hatchling.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    )
    with zipfile.ZipFile(wheel) as archive:
        held = {name.rpartition("/")[2] for name in archive.namelist() if "explore/report/assets/" in name}
    assert held == assets


def test_the_readme_has_two_set_up_and_go_commands() -> None:
    assert len(_COMMANDS) == 2
    for command in _COMMANDS:
        assert "\n" not in command
        assert re.match(r"python3 -m venv \S+ && \S+/python -m pip install ", command)
    examples, tests = _COMMANDS
    assert examples.endswith("-m pytest examples")
    assert tests.endswith("-m pytest")


@pytest.mark.parametrize(("name", "index"), [("examples", 0), ("tests", 1)])
def test_ci_runs_the_commands_of_the_readme_to_the_letter(name: str, index: int) -> None:
    script = str(ROOT / ".ci" / "run")
    shown = subprocess.run(["bash", script, "--readme", name], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == _COMMANDS[index]


def test_workers_heed_the_options_that_ci_gives_by_the_environment() -> None:
    # .ci/run cannot add to the README's command; unheeded, it would measure what runs at length.
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_clocks.py"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": "-n 1 -k nothing_has_this_name"},
    )
    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, run.stdout


def test_every_extra_that_the_readme_installs_exists() -> None:
    named = {extra for command in _COMMANDS for group in re.findall(r"\.\[([\w,]+)\]", command)
             for extra in group.split(",")}  # fmt: skip
    assert named <= set(_PROJECT["optional-dependencies"])


def test_the_changelog_speaks_of_this_version_or_of_unreleased_work() -> None:
    headings = re.findall(
        r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert headings[0] in {"Unreleased", _PROJECT["version"]}


def test_the_licence_is_mit() -> None:
    assert _PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
