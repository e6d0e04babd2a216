"""What the plugin says: the header, the section in the summary, what is added to reports, the metrics file.

Numbers travel on test reports, as builtin types, from wherever a test ran to the process that prints: the same process, or
xdist's controller. There, and only there, they are merged.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any, Final, final

import pytest

from pytest_convergence._pytest.options import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_convergence.metrics import Tally

__all__ = [
    "REPORT_ATTRIBUTE",
    "SAID_ATTRIBUTE",
    "USAGE_ERROR",
    "Summary",
    "header",
    "is_controller",
    "merging_of",
]

REPORT_ATTRIBUTE: Final = "convergence"
"""The attribute of test reports that carries a tally."""

SAID_ATTRIBUTE: Final = "convergence_said"
"""The attribute of test reports that carries sentences for the summary."""

_MERGING: Final = "convergence-merging"

USAGE_ERROR: Final = "convergence_usage_error"
"""What a worker of xdist could not collect: an exception there would only be known as a crash."""


def is_controller(config: pytest.Config) -> bool:
    """Whether this process prints, and is no worker of xdist."""
    return not hasattr(config, "workerinput")


def header(config: pytest.Config) -> str:
    """Return the line of the header: the version, and what was set."""
    try:
        version = importlib.metadata.version("pytest-convergence")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    settings = config.stash[SETTINGS]
    said = [f"convergence: {version}"]
    for name in ("schedules", "seed", "profile"):
        value = getattr(settings.command_line, name)
        if value is None:
            value = getattr(settings.ini, name)
        if value is not None:
            said.append(f"{name} {value}")
    if settings.check_determinism:
        said.append("each schedule twice")
    return ", ".join(said)


@final
class Merging:
    """Adds up what reports bring. Registered once reports may bring something, so that an idle suite has no such hook."""

    def __init__(self) -> None:
        from pytest_convergence.metrics import Tally

        self.tally: Tally = Tally()
        self.said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a test's sessions did."""
        brought = report.__dict__.get(REPORT_ATTRIBUTE)
        if brought is not None:
            self.tally.merge(brought)
        self.said += report.__dict__.get(SAID_ATTRIBUTE, ())


def merging_of(config: pytest.Config) -> Merging:
    """Return what merges the reports of this pytest session; it begins to merge now if it has not begun."""
    merging: Merging | None = config.pluginmanager.get_plugin(_MERGING)
    if merging is None:
        merging = Merging()
        config.pluginmanager.register(merging, _MERGING)
    return merging


@final
class Summary:
    """Says at the end what all tests did. Registered where the summary is printed."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._usage_error: str | None = None
        if config.getoption("dist", "no") != "no":
            merging_of(config)  # tests run in workers, and this process learns of them by their reports

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the section "convergence", if there is something to tell."""
        merging = self._config.pluginmanager.get_plugin(_MERGING)
        if merging is not None and merging.tally and not self._config.getoption("no_summary", False):
            from pytest_convergence._pytest.summary import summary_lines

            terminalreporter.write_sep("=", "convergence")
            for line in summary_lines(merging.tally):
                terminalreporter.write_line(line)
            for line in merging.said:
                terminalreporter.write_line(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        self._usage_error = getattr(node, "workeroutput", {}).get(USAGE_ERROR, self._usage_error)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Pass on what the workers could not collect; write the metrics file."""
        if self._usage_error is not None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            self._say(f"ERROR: {self._usage_error}")
        path = self._config.stash[SETTINGS].metrics
        if path is not None:
            self._write_metrics(path)

    def _write_metrics(self, path: Path) -> None:
        from pytest_convergence.metrics import registry_of, write_metrics

        try:
            write_metrics(path, registry_of(merging_of(self._config).tally))
        except OSError as error:
            self._say(f"convergence: the metrics could not be written to {path}: {error}")

    def _say(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            for line in text.splitlines():
                reporter.write_line(line, red=True)
