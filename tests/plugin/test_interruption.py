"""Ctrl-C stops at once and says what ran."""

import signal
import subprocess
import sys

import pytest

from tests.plugin.conftest import RunSuite

_INTERRUPTED = """
async def impatient(agent):
    for _ in range(10):
        await asyncio.sleep(1)
    if not agent.session.schedule.is_calm:
        raise KeyboardInterrupt

@pytest.mark.convergence(agents={"one": impatient}, schedules=5)
def test_it(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(agents={"one": impatient}, seed=3)
async def test_async(convergence_session):
    await convergence_session.execute()
"""


def test_ctrl_c_names_test_session_schedule_and_seed(run_suite: RunSuite) -> None:
    result = run_suite(_INTERRUPTED)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "interrupted: test_suite.py::test_it, session 'test_it', schedule 2 of 5: seed *",
            "run it again: pytest test_suite.py::test_it --convergence-seed=* --convergence-schedules=1*",
            "*KeyboardInterrupt*",
        ]
    )


def test_ctrl_c_in_an_async_test_names_it_too(run_suite: RunSuite) -> None:
    result = run_suite(_INTERRUPTED, "-k", "async")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["interrupted: test_suite.py::test_async, session 'test_async', seed 3"])


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.convergence(agents=PAIR)\ndef test_it(convergence_session): pytest.exit('enough')",
        "@pytest.mark.convergence(agents=PAIR)\ndef test_it(): raise KeyboardInterrupt",
        "def test_it(convergence_session_factory, request):\n    raise KeyboardInterrupt",
    ],
    ids=["exit", "no session", "no marker"],
)
def test_nothing_is_said_where_no_session_ran(run_suite: RunSuite, source: str) -> None:
    result = run_suite(source)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "interrupted: " not in result.stdout.str()


def test_a_real_signal_stops_a_busy_run_at_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        test_busy="""
import asyncio, pytest, signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits that it is ignored

async def busy(agent):
    print("begun", flush=True)
    while True:
        await asyncio.sleep(1)

@pytest.mark.convergence(agents={"one": busy}, seed=5, timeout=10**12, max_events=10**12, real_timeout=None, trace=False)
def test_busy(convergence_session):
    convergence_session.run()
"""
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "convergence",
        "-s",
        "-p",
        "no:cacheprovider",
        "test_busy.py",
    ]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "begun" in line:
                process.send_signal(signal.SIGINT)
                break
        shown = process.stdout.read()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "interrupted: test_busy.py::test_busy, session 'test_busy', seed 5" in shown
