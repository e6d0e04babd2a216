"""One test's schedules shared by all workers of pytest-xdist (``-n 4 --convergence-spread``).

1. Every worker is sent every test. Of the tests that search, worker *k* of *n* runs the schedules k, k + n, k + 2n, …; the
   others belong to one worker each, and the rest drop them when they collect.
2. Who finds a failure leaves a file in a folder that the workers of one run share; the others stop before their next
   schedule, and their part of the test is skipped.
3. Node ids stay as they are. What a test's sessions did travels on reports as always, and is added up by the controller.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import pytest

from pytest_convergence._pytest.marker import Plan, plan_of
from pytest_convergence._pytest.whole_files import write_whole

if TYPE_CHECKING:
    from pytest_convergence._pytest.running_test import RunningTest

__all__ = ["Share", "begin", "is_spread", "keep_own", "searches"]

_FOLDER: Final = "convergence_folder"


def is_spread(config: pytest.Config) -> bool:
    """Whether the workers share the schedules of each test."""
    return bool(config.getoption("convergence_spread", False))


class Share(NamedTuple):
    """Which schedules of a test this process runs: each ``workers``-th, from ``number`` on.

    Attributes:
        name: what tells this share from others; empty if there is but one.
        flag: the file that says that somebody has found a failure.
    """

    number: int = 0
    workers: int = 1
    name: str = ""
    flag: Path | None = None

    @classmethod
    def of(cls, config: pytest.Config, running: RunningTest) -> Share:
        """Return the share of this process in the search of a test."""
        number, workers = _worker(config)
        if workers == 1 or not searches(running.plan):
            return cls()
        folder: str = config.workerinput[_FOLDER]  # type: ignore[attr-defined]
        name = hashlib.sha256(running.nodeid.encode()).hexdigest()[:16]
        return cls(number, workers, f" of worker {number}", Path(folder, name))

    def found(self) -> None:
        """A schedule has failed."""
        if self.flag is not None:
            self.flag.touch()

    def leave_if_found(self) -> None:
        """Skip the rest of a test in which another worker has found a failure."""
        __tracebackhide__ = True
        if self.flag is not None and self.flag.exists():
            pytest.skip("another worker has found a schedule under which this test fails")

    def together(self, reached: Mapping[str, bool]) -> dict[str, bool] | None:
        """Add what this share has reached to what the others have; return all of it once the last of them is done."""
        if self.flag is None:
            return dict(reached)
        files = [self.flag.with_name(f"{self.flag.name}.{number}.json") for number in range(self.workers)]
        write_whole(files[self.number], json.dumps(dict(reached)))
        if not all(file.exists() for file in files):
            return None  # whoever comes last sees the files of all
        merged: dict[str, bool] = {}
        for file in files:
            for name, is_reached in json.loads(file.read_text(encoding="utf-8")).items():
                merged[name] = merged.get(name, False) or is_reached
        return merged


def _worker(config: pytest.Config) -> tuple[int, int]:
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None or not is_spread(config):
        return 0, 1
    return int(str(given["workerid"]).removeprefix("gw")), int(given["workercount"])


@final
class Spreading:
    """The controller's part: sends every test to every worker, and lends them a folder."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="pytest-convergence-")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Let each worker run all that it has collected."""
        from xdist.scheduler import EachScheduling

        return EachScheduling(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the folder is."""
        node.workerinput[_FOLDER] = self._folder

    def pytest_unconfigure(self) -> None:
        """Remove the folder, and what the workers have left there."""
        shutil.rmtree(self._folder, ignore_errors=True)


def begin(config: pytest.Config) -> None:
    """Get ready, in the controller, to spread schedules.

    Raises:
        pytest.UsageError: there are no workers.
    """
    if not getattr(config.option, "tx", None):
        raise pytest.UsageError(
            "--convergence-spread lets the workers of pytest-xdist share the schedules of each test, but there are none; "
            "say how many: -n 2 --convergence-spread"
        )
    config.pluginmanager.register(Spreading(), "convergence-spreading")


def keep_own(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop, in a worker, the tests without a search that another worker runs."""
    number, workers = _worker(config)
    if workers > 1:
        items[:] = [
            item
            for item in items
            if zlib.crc32(item.nodeid.encode()) % workers == number
            or ("convergence" in item.keywords and searches(plan_of(item)))
        ]


def searches(plan: Plan) -> bool:
    """Whether the schedules of a test can be shared: there are several, and none depends on what another has shown."""
    return plan.schedules > 1 and plan.options.get("explore") != "exhaustive"
