"""The hooks around each test. Registered only when a collected test needs them, so that an idle suite has none of them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import nullcontext
from typing import Any, Final, final

import pytest

from pytest_convergence._pytest import logs
from pytest_convergence._pytest.async_fixtures import DEFERRED, deferring, refuse_unusable
from pytest_convergence._pytest.body import call_body, is_ours
from pytest_convergence._pytest.debugging import let_debugger_out
from pytest_convergence._pytest.examples import followed
from pytest_convergence._pytest.findings import (
    describe_interruption,
    failure_sections,
    set_properties,
)
from pytest_convergence._pytest.isolation import check_isolable
from pytest_convergence._pytest.marker import PLAN, check_names, plan_all, plan_of
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.renewal import SET_UP, note_set_up
from pytest_convergence._pytest.reporting import (
    REPORT_ATTRIBUTE,
    SAID_ATTRIBUTE,
    USAGE_ERROR,
    is_controller,
    merging_of,
)
from pytest_convergence._pytest.running_test import RUNNING, RunningTest
from pytest_convergence._pytest.stepping import check_terminal, step_through
from pytest_convergence._pytest.strictness import check_passed
from pytest_convergence._pytest.tracebacks import without_machinery
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Runtime", "collected", "runtime_of"]

_NAME: Final = "convergence-runtime"


@final
class Runtime:
    """Follows the tests of one pytest session.

    Attributes:
        current: the test that runs, or ran last.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.current: pytest.Item | None = None

    def running(self, item: pytest.Item | None) -> RunningTest:
        """Return the state of ``item`` while it runs.

        Raises:
            ConvergenceUsageError: there is no test that a session could belong to.
        """
        if item is None:
            raise ConvergenceUsageError(
                "convergence_session_factory was called while no test ran; call it in a test."
            )
        running = item.stash.get(RUNNING, None)
        if running is None:
            running = item.stash[RUNNING] = RunningTest(item, plan_of(item))
        return running

    # -- running -------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test begins, or begins again."""
        self.current = item
        plan = item.stash.get(PLAN, None)
        if plan is None or not plan.is_marked:
            return
        self.running(item)
        try:
            refuse_unusable(item, plan)
        except ConvergenceUsageError as error:
            pytest.fail(str(error), pytrace=False)
        if item.config.stash[SETTINGS].isolate:
            check_isolable(item, plan)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, object, object]:
        """Defer async fixtures to the simulated loop; remember those that depend on a session."""
        item = self.current
        plan = None if item is None else item.stash.get(PLAN, None)
        if item is None or plan is None or not plan.is_marked or request.scope != "function":
            return (yield)
        stand_in = deferring(item, fixturedef, request) if plan.is_async else None
        function = fixturedef.func
        if stand_in is not None:
            fixturedef.func = stand_in
        try:
            value = yield
        finally:
            fixturedef.func = function
        note_set_up(item, fixturedef, request)
        return value

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Run the body of a marked test, unless pytest's own way will do."""
        __tracebackhide__ = True
        running = pyfuncitem.stash.get(RUNNING, None)
        if running is None or not is_ours(pyfuncitem, running):
            return None
        call_body(pyfuncitem, running)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Follow the examples that Hypothesis makes; once a test has passed, ask what it must have reached."""
        __tracebackhide__ = True
        plan = item.stash.get(PLAN, None)
        with nullcontext() if plan is None else followed(item, plan, self.running):
            yield
        running = item.stash.get(RUNNING, None)
        if running is not None:
            check_passed(item, running)

    # -- reporting -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to the report what the test's sessions did, and how a failing one failed."""
        running = item.stash.get(RUNNING, None)
        if running is None:
            return (yield)
        if call.excinfo is not None and not item.config.getoption("fulltrace", False):
            without_machinery(call.excinfo.value)
            call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)
        set_properties(item, running)
        report = yield
        if report.failed:
            if running.examples is not None and call.excinfo is not None:
                running.explained(running.examples.explain(call.excinfo.value))
            sections = failure_sections(running)
            if sections and call.excinfo is not None and item.config.stash[SETTINGS].report is not None:
                sections[0] = _with_files(running, call.excinfo.value, sections[0], report)
            report.sections += sections
        if call.when == "call" and item.config.stash[SETTINGS].steps:
            step_through(running, None if call.excinfo is None else call.excinfo.value)
        counted = running.drain(last=call.when == "teardown")
        if counted is not None:
            setattr(report, REPORT_ATTRIBUTE, counted)
        if running.said:
            setattr(report, SAID_ATTRIBUTE, running.said)
            running.said = []
        if call.when == "teardown":
            del item.stash[RUNNING]  # it holds traces, and pytest keeps items to the end
            item.stash[SET_UP], item.stash[DEFERRED] = [], {}
        return report

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Say which schedule ran when the user pressed Ctrl-C."""
        running = None if self.current is None else self.current.stash.get(RUNNING, None)
        text = (
            None
            if running is None or not excinfo.errisinstance(KeyboardInterrupt)
            else describe_interruption(running)
        )
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if text is not None and reporter is not None:
            reporter.ensure_newline()
            for line in text.splitlines():
                reporter.write_line(line)

    def pytest_enter_pdb(self, pdb: Any) -> None:
        """A debugger opens inside a run, perhaps."""
        let_debugger_out(pdb)


def _with_files(
    running: RunningTest, failure: BaseException, section: tuple[str, str], report: pytest.TestReport
) -> tuple[str, str]:
    """Write the files about a failing test; return its section with the line that says where they are."""
    from pytest_convergence._pytest.report_files import FILES_ATTRIBUTE, write_files

    title, text = section
    try:
        written, where = write_files(running, failure, text)
    except OSError as error:
        where = f"the report could not be written: {error}"
    else:
        if written is None:
            return section
        setattr(report, FILES_ATTRIBUTE, written)
    return title, f"{text}\n{where}"


def runtime_of(config: pytest.Config) -> Runtime:
    """Return the runtime of this pytest session; it begins to follow tests now if it has not begun."""
    runtime: Runtime | None = config.pluginmanager.get_plugin(_NAME)
    if runtime is None:
        runtime = Runtime(config)
        config.pluginmanager.register(runtime, _NAME)
        if is_controller(config):
            merging_of(config)
        logs.install(config)
    return runtime


def collected(config: pytest.Config, concerned: Iterable[pytest.Item], items: list[pytest.Item]) -> None:
    """Prepare for the tests that carry the marker or use the fixtures, of all ``items``.

    Raises:
        pytest.UsageError: some markers are wrong; the message lists all of them.
    """
    try:
        check_names(config)
        plan_all(concerned)
        check_terminal(config)
    except pytest.UsageError as error:
        if is_controller(config):
            raise
        config.workeroutput[USAGE_ERROR] = str(error)  # type: ignore[attr-defined]
        items.clear()
        return
    runtime_of(config)
