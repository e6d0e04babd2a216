"""Runs the checked tests once more in another process, where strings hash otherwise.

Two runs in one process see sets of strings in one order, so ``--convergence-check-determinism`` compares with a process
under another ``PYTHONHASHSEED`` as well. Both processes keep what their runs did in files of one folder; the first starts
the second, which is given the same command line, when its own tests have passed. Whoever has pinned ``PYTHONHASHSEED`` has
closed this source, and is spared the second process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

import pytest

from pytest_convergence._pytest.whole_files import write_whole

__all__ = ["begin", "is_second_process", "is_wanted", "keep_checked", "note_run"]

_FOLDER: Final = "PYTEST_CONVERGENCE_RUNS"
_NAME: Final = "convergence-other-process"
_SECOND: Final = "PYTEST_CONVERGENCE_SECOND_PROCESS"
_OTHER_SEED: Final = "1"
_MOST_SCHEDULES: Final = 20
"""Of so many schedules of a test the runs are kept."""
_MOST_TOLD: Final = 5
_WRITTEN: Final = ("xmlpath", "convergence_metrics", "convergence_report", "log_file")
"""Options, by their destination, that name files; the second process writes its own somewhere else."""


def is_wanted() -> bool:
    """Whether strings hash differently from process to process."""
    return bool(sys.flags.hash_randomization) and os.environ.get("PYTHONHASHSEED", "random") == "random"


def is_second_process() -> bool:
    """Whether this process was started to compare with: it runs each schedule once."""
    return _SECOND in os.environ


def _folder_of(config: pytest.Config) -> str | None:
    """Where both processes keep what their runs did: told to the second one, and to workers, by whoever started them."""
    given: Mapping[str, Any] = getattr(config, "workerinput", {})
    other: OtherProcess | None = config.pluginmanager.get_plugin(_NAME)
    return other.folder if other is not None else given.get(_FOLDER, os.environ.get(_FOLDER))


def note_run(item: pytest.Item, index: int, traces: Mapping[str, Any]) -> None:
    """Keep what a run of a test did, if there is another process to compare it with."""
    folder = _folder_of(item.config)
    if folder is None or index >= _MOST_SCHEDULES:
        return
    from pytest_convergence._engine.run.compare import Record

    sessions = {label: list(Record.of(trace)) for label, trace in traces.items()}
    write_whole(
        _file(folder, item.nodeid, index, second=is_second_process()),
        json.dumps({"nodeid": item.nodeid, "index": index, "sessions": sessions}),
    )


def keep_checked(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the second process: leave out what the first has not checked."""
    folder = _folder_of(config)
    if not is_second_process() or folder is None:
        return
    kept = [item for item in items if _file(folder, item.nodeid, 0).exists()]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _file(folder: str, nodeid: str, index: int, *, second: bool = False) -> Path:
    name = hashlib.sha256(nodeid.encode()).hexdigest()[:24]
    return Path(folder, f"{name}-{index}-{'second' if second else 'first'}.json")


def begin(config: pytest.Config) -> None:
    """Get ready, in the process that prints, to start the other one."""
    config.pluginmanager.register(OtherProcess(config), _NAME)


@final
class OtherProcess:
    """Starts the second process when all tests have passed, and says where it differed.

    Attributes:
        folder: where both processes keep what their runs did.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.folder = tempfile.mkdtemp(prefix="pytest-convergence-")
        self._said: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist where the folder is."""
        node.workerinput[_FOLDER] = self.folder

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Run the tests again and compare."""
        if exitstatus or not any(Path(self.folder).iterdir()):
            return
        answer = self._run()
        differences = list(self._differences())
        for nodeid, words in differences[:_MOST_TOLD]:
            self._said += [
                f"{nodeid}: the same schedule was run in two processes, and they differ.",
                f"  {words}",
            ]
        if len(differences) > _MOST_TOLD:
            self._said.append(f"… and {len(differences) - _MOST_TOLD} more tests differ")
        if not differences and answer.returncode:
            self._said += ["the tests fail in the second process:", *answer.stdout.splitlines()[-20:]]
        if self._said:
            self._said.append(
                "In the second process strings hash otherwise (PYTHONHASHSEED=1): where order matters, sort sets of "
                "strings, or pin PYTHONHASHSEED for all runs."
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _run(self) -> subprocess.CompletedProcess[str]:
        given = self._config.invocation_params
        command = [sys.executable, "-m", "pytest", *map(str, given.args), f"--basetemp={self.folder}/tmp"]
        for destination in _WRITTEN:
            if self._config.getoption(destination, None):
                option = "junitxml" if destination == "xmlpath" else destination.replace("_", "-")
                command.append(f"--{option}={self.folder}/{destination}")
        if self._config.getoption("no_cov", None) is False:
            command.append("--no-cov")
        return subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            cwd=given.dir,
            env={**os.environ, "PYTHONHASHSEED": _OTHER_SEED, _SECOND: "1", _FOLDER: self.folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def _differences(self) -> Iterator[tuple[str, str]]:
        """The first difference of each test that has one."""
        told = set()
        for path in sorted(Path(self.folder).glob("*-first.json")):
            first = json.loads(path.read_text("utf-8"))
            other = path.with_name(path.name.replace("-first", "-second"))
            if not other.exists():  # it failed there, which is told otherwise
                continue
            second = json.loads(other.read_text("utf-8"))
            words = _difference(first["sessions"], second["sessions"])
            if words is not None and first["nodeid"] not in told:
                told.add(first["nodeid"])
                yield first["nodeid"], f"schedule {first['index'] + 1}, {words}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the second process differed."""
        if self._said:
            terminalreporter.write_sep("=", "convergence: another process", red=True)
            for line in self._said:
                terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    from pytest_convergence._engine.run.compare import Record

    if list(first) != list(second):
        return f"the first process had the sessions {list(first)}, the second {list(second)}"
    for label, record in first.items():
        difference = Record(*record).difference(Record(*second[label]))
        if difference is not None:
            return f"session {label!r}: {difference}"
    return None
