"""Runs one module of ``test.test_asyncio``: on the stock loop, on that of a simulated world, or as programs of hosts.

``python -m tests.cpython.worker MODULE stock|world|process`` prints what became of each test, as JSON.
"""

import asyncio
import contextlib
import functools
import gc
import importlib
import io
import json
import signal
import sys
import threading
import traceback
import unittest
from collections.abc import Iterator
from types import FrameType
from typing import Any

from pytest_convergence import ConvergenceEngine
from pytest_convergence._engine.run.hosting import make_loop
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.sim.shims import InsideRun

__all__ = ["Verdict", "run"]

SECONDS_A_TEST = 10.0
MAIN = threading.main_thread()
Verdict = tuple[str, str]
"""``pass``, ``fail`` or ``skip``, and the last line of what went wrong, or why it was skipped."""


class Overdue(BaseException):
    """A test took too long."""


BY_CLASS = {"test_sock_lowlevel", "test_sendfile", "test_server", "test_events", "test_buffered_proto"}
"""Modules that make loops by their class and a selector."""


def new_world() -> asyncio.AbstractEventLoop:
    """Make the loop of a fresh world."""
    return make_loop(0, SessionOptions.parse({"max_events": 200_000, "timeout": 100_000}))


def watch_no_children() -> None:
    """Let tests set up their watchers of child processes, which want SIGCHLD; whoever starts a process is refused."""
    watchers: Any = importlib.import_module("asyncio.unix_events")
    for name in ("BaseChildWatcher", "SafeChildWatcher", "FastChildWatcher"):
        if hasattr(watchers, name):
            getattr(watchers, name).attach_loop = lambda self, loop: setattr(self, "_loop", loop)


class StandIn:
    """Stands for the class of the stock loop: makes the loop of a fresh world, which has its own selector."""

    def __new__(cls, selector: Any = None) -> Any:
        if selector is not None:
            selector.close()
        return new_world()


class Worlds(asyncio.DefaultEventLoopPolicy):
    """Makes the loop of a fresh world where somebody asks for a loop."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return new_world()


class Verdicts(unittest.TestResult):
    """Writes down what became of each test; the last word about a test counts."""

    def __init__(self, policy: asyncio.AbstractEventLoopPolicy | None) -> None:
        super().__init__()
        self.policy = policy
        self.verdicts: dict[str, Verdict] = {}
        self.begun: unittest.TestCase | None = None

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().startTest(test)
        self.begun = test
        self.verdicts[test.id()] = ("pass", "")
        if threading.current_thread() is MAIN:
            signal.setitimer(signal.ITIMER_REAL, SECONDS_A_TEST)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        if threading.current_thread() is MAIN:
            signal.setitimer(signal.ITIMER_REAL, 0)
        asyncio._set_running_loop(None)
        if self.policy is not None:  # tests put it back to the default one
            asyncio.set_event_loop_policy(self.policy)
        super().stopTest(test)

    def _failed(self, test: unittest.TestCase, error: Any) -> None:
        lines = "".join(traceback.format_exception_only(error[0], error[1])).strip().splitlines()
        test_id = test.id()
        if test_id not in self.verdicts or self.verdicts[test_id][0] != "fail":
            self.verdicts[test_id] = ("fail", lines[0][:300] if lines else "")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._failed(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._failed(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._failed(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self.verdicts[test.id()] = ("skip", reason)


def flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite, one by one."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flat(each)
        else:
            yield each


def run_all(tests: list[unittest.TestCase], result: Verdicts) -> None:
    """Run tests, also those behind one whose loop fails once more while it is cleared up, where unittest looks no more."""
    try:
        unittest.TestSuite(tests).run(result)
    except Exception as error:
        if result.begun is None:
            raise
        result._failed(result.begun, (type(error), error))
        result._testRunEntered = False  # type: ignore[attr-defined]  # unittest's: whether a suite runs
        result.begun = None
        run_all([test for test in tests if test.id() not in result.verdicts], result)


def run_as_process(test: unittest.TestCase) -> dict[str, Verdict]:
    """Run one test as the program of a host that is a process: on a thread, and with sockets, of the world."""
    verdicts = Verdicts(None)
    session = ConvergenceEngine().create_session(
        "test", max_events=200_000, timeout=100_000, real_timeout=SECONDS_A_TEST
    )
    session.host("host", functools.partial(unittest.TestSuite([test]).run, verdicts), process=True)
    try:
        session.run()
    except (Exception, KeyboardInterrupt) as error:
        told, _ = verdicts.verdicts.get(test.id(), ("pass", ""))
        ended_it = verdicts.verdicts.get(test.id(), ("", ""))[1].rpartition(".")[2] == "StrandEnded"
        if told == "pass" or ended_it:  # what ended the run says more than that it was ended
            verdicts.verdicts[test.id()] = (
                "fail",
                " ".join(f"{type(error).__name__}: {error}".split())[:300],
            )
    return verdicts.verdicts


def _overdue(_: int, __: FrameType | None) -> None:
    raise Overdue(f"took more than {SECONDS_A_TEST:g} s")


def run(module: str, kind: str) -> dict[str, Verdict]:
    """Run a module; ``kind`` is ``stock``, ``world`` or ``process``."""
    signal.signal(signal.SIGALRM, _overdue)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells ignore in the background
    result = Verdicts(Worlds() if kind == "world" else None)
    suite = unittest.defaultTestLoader.loadTestsFromModule(
        importlib.import_module(f"test.test_asyncio.{module}")
    )
    gc.freeze()  # tests that collect garbage a hundred times need not look at what was imported
    if kind == "process":
        if module in BY_CLASS:
            watch_no_children()
        return {name: verdict for test in flat(suite) for name, verdict in run_as_process(test).items()}
    with contextlib.ExitStack() as stack:
        if kind == "world":
            asyncio.set_event_loop_policy(result.policy)
            if module in BY_CLASS:
                asyncio.SelectorEventLoop = StandIn  # type: ignore[misc, assignment]
                watch_no_children()
            stack.enter_context(InsideRun())
        run_all(list(flat(suite)), result)
    return result.verdicts


def main(module: str, kind: str) -> None:
    stdout = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        verdicts = run(module, kind)
    json.dump(verdicts, stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
