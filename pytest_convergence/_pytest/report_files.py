"""``--convergence-report=DIR``: files about each failing test, and an index of them.

1. The process in which a test ran writes its files: traces stay where they are. Names derive from node ids, so nobody has to
   agree on them, and a file appears whole or not at all.
2. What was written travels on the test report, as builtin types. The process that prints (xdist's controller,
   or the only one) collects it and writes ``index.json`` and ``index.html`` at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import pytest

from pytest_convergence._pytest.options import SETTINGS

if TYPE_CHECKING:
    from pytest_convergence._engine.check.property import Violation
    from pytest_convergence._engine.run.outcome import Outcome
    from pytest_convergence._engine.run.session import Session
    from pytest_convergence._pytest.running_test import RunningTest
    from pytest_convergence.explore.report.document import Story

__all__ = ["FILES_ATTRIBUTE", "begin_reports", "write_files"]

FILES_ATTRIBUTE: Final = "convergence_report"
"""The attribute of test reports that says which files were written."""

_WORKER_INPUT: Final = "convergence_report"
"""Where a worker of xdist finds the directory, as the controller has resolved it."""

INDEX_FORMAT: Final = "pytest-convergence-report-index"
INDEX_VERSION: Final = 1


def _check(path: Path, source: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise pytest.UsageError(
            f"{source}: {error.filename} is a file; reports are written to a directory, which need not exist yet."
        ) from None
    except OSError as error:
        raise pytest.UsageError(
            f"{source}: reports cannot be written to {path}: {error.strerror or error}. Name another directory."
        ) from None


def _write(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, and never a part of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    unfinished.replace(path)


def _told_session(running: RunningTest) -> tuple[Session | None, Outcome | None]:
    """What is told of: the outcome of the counterexample with its session, else the last session that has begun.

    Hypothesis' counterexample comes from an example whose sessions are gone: of it there is the outcome alone.
    """
    from pytest_convergence._engine.run.lifecycle import SessionState

    begun = [made for made in running.run.sessions if made.session.state is not SessionState.INITIALIZING]
    found = running.counterexample
    if found is None or found.outcome is None:
        return (begun[-1].session, begun[-1].outcome) if begun else (None, None)
    of_it = [made.session for made in begun if made.outcome is found.outcome]
    return (of_it[-1] if of_it else None), found.outcome


def write_files(
    running: RunningTest, failure: BaseException, explanation: str
) -> tuple[dict[str, Any] | None, str]:
    """Write the files about a failing test; return what the index says of it, and the line that says where they are.

    Nothing is written where no session is left to tell of.

    Raises:
        OSError: they cannot be written.
    """
    from pytest_convergence._engine.base.shiviz import render_shiviz
    from pytest_convergence.explore.report.document import as_json, document_of
    from pytest_convergence.explore.report.mermaid import sequence_diagram
    from pytest_convergence.explore.report.names import file_name
    from pytest_convergence.explore.report.page import report_page

    story = _story(running, failure, explanation)
    if story is None:
        return None, ""
    document = document_of(story)
    texts: dict[str, Callable[[], str]] = {
        "json": lambda: as_json(document) + "\n",
        "html": lambda: report_page(document),
        "mmd": lambda: sequence_diagram(story),
        "shiviz.log": lambda: render_shiviz(story.trace),
    }
    config = running.item.config
    directory = config.stash[SETTINGS].report
    assert directory is not None, "only asked to write where the option is set"
    name = file_name(running.nodeid)
    for ending, text in texts.items():
        _write(directory / f"{name}.{ending}", text())
    written = {
        "test": story.test,
        "failure": story.failure,
        "session": story.session,
        "state": story.state,
        "pattern": story.pattern,
        "deviations": [told["words"] for told in document["deviations"]],
        "replay": story.replay,
        "files": {ending: f"{name}.{ending}" for ending in texts},
    }
    return written, f"report: {_shown(directory / f'{name}.html', config)}"


def _story(running: RunningTest, failure: BaseException, explanation: str) -> Story | None:
    """Gather what there is to tell; ``None`` where no session is left."""
    from pytest_convergence._pytest.failures import first_line
    from pytest_convergence._pytest.findings import effective_seed, rerun_line, schedule_words
    from pytest_convergence.errors import PropertyViolation
    from pytest_convergence.explore.report.document import Story

    session, outcome = _told_session(running)
    found = running.counterexample
    if outcome is None and session is None:
        return None
    violations: Sequence[Violation] = () if outcome is None else outcome.violations
    if found is not None:
        violations = found.violations or violations
    elif isinstance(failure, PropertyViolation):
        violations = failure.violations
    told: Outcome | Session = outcome if outcome is not None else session  # type: ignore[assignment]  # not both are None
    pattern = "none"
    if outcome is not None:
        pattern = outcome.metrics.pattern
    elif session is not None and session.pattern is not None:
        pattern = session.pattern.name
    seed = effective_seed(running)
    again = "" if seed is None else rerun_line(running, seed)
    snapshots = None if session is None else session.snapshots
    return Story(
        test=running.nodeid,
        session=told.name,
        state=told.state.value,
        pattern=pattern,
        schedule=str(outcome.schedule)
        if found is not None and outcome is not None
        else schedule_words(running),
        failure=first_line(failure) if found is None else found.failure,
        explanation=explanation,
        trace=told.trace,
        outcome=outcome,
        violations=tuple(violations),
        counterexample=found,
        snapshots=() if snapshots is None else snapshots.taken,
        replay=again if found is None else found.replay,
    )


def _shown(path: Path, config: pytest.Config) -> str:
    """A path as it is shown: relative to where pytest was started, if it is below."""
    start = config.invocation_params.dir
    return str(path.relative_to(start) if path.is_relative_to(start) else path)


def begin_reports(config: pytest.Config, directory: Path) -> None:
    """Make the directory, see whether files can be written there, and collect what is written from now on.

    Raises:
        pytest.UsageError: it is a file, or cannot be written to.
    """
    _check(
        directory,
        "--convergence-report" if config.getoption("convergence_report") else "ini key convergence_report",
    )
    config.pluginmanager.register(_Reports(config, directory), "convergence-reports")


@final
class _Reports:
    """Collects what was written, and writes the index. Registered where the summary is printed."""

    def __init__(self, config: pytest.Config, directory: Path) -> None:
        self._config = config
        self._directory = directory
        self._written: dict[str, dict[str, Any]] = {}
        self._error = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A worker of xdist begins: it may run in another directory."""
        node.workerinput[_WORKER_INPUT] = str(self._directory)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what was written about a test."""
        written = report.__dict__.get(FILES_ATTRIBUTE)
        if written is not None:
            self._written[written["test"]] = written

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the index."""
        if self._config.getoption("collectonly", False):
            return
        from pytest_convergence.explore.report.document import as_json
        from pytest_convergence.explore.report.page import index_page

        index = {
            "format": INDEX_FORMAT,
            "version": INDEX_VERSION,
            "reports": [self._written[test] for test in sorted(self._written)],
        }
        try:
            _write(self._directory / "index.json", as_json(index) + "\n")
            _write(self._directory / "index.html", index_page(index))
        except OSError as error:
            self._error = f"convergence: the index of the reports could not be written: {error}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the reports are."""
        if self._error:
            terminalreporter.write_line(self._error, red=True)
        elif self._written:
            number = len(self._written)
            shown = _shown(self._directory / "index.html", self._config)
            terminalreporter.write_line(f"convergence: {number} report{'s' * (number != 1)}: {shown}")
