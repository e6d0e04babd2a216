"""``breakpoint()`` and ``--pdb``: the prompt sees the real machine, and the budget of real time stands still."""

import os
import subprocess
import sys

import pytest

from tests.plugin.conftest import AGENTS

_BREAKPOINT = """
async def paused(agent):
    await asyncio.sleep(1000)
    breakpoint()
    await asyncio.sleep(1000)
    return "went on"

@pytest.mark.convergence(agents={"one": paused}, real_timeout=300)
def test_paused(convergence_session):
    outcome = convergence_session.run()
    assert outcome.results == {"one": "went on"}
    assert outcome.duration >= 2000
"""
_FAILS = """
@pytest.mark.convergence(agents=PAIR)
def test_fails(convergence_session):
    async def scenario(session):
        secret = "only here"
        assert False
    convergence_session.run(scenario)
"""


def _debug(pytester: pytest.Pytester, source: str, typed: str, *arguments: str) -> str:
    """Run a suite whose debugger reads ``typed``; return what was shown."""
    pytester.makepyfile(test_suite=AGENTS + source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "convergence",
        "-p",
        "no:cacheprovider",
        *arguments,
        "test_suite.py",
    ]
    run = subprocess.run(
        command,
        cwd=pytester.path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout


def test_a_breakpoint_in_an_agent_sees_the_real_machine(pytester: pytest.Pytester) -> None:
    typed = """import time, threading
p 'year', time.gmtime().tm_year > 2020
p agent.name
p threading.Thread(target=int).start()
c
"""
    shown = _debug(pytester, _BREAKPOINT, typed)
    assert "('year', True)" in shown
    assert "'one'" in shown
    assert "SimulationEscapeError" not in shown
    assert "1 passed" in shown


def test_the_budget_of_real_time_stands_still_at_the_prompt(pytester: pytest.Pytester) -> None:
    typed = "p 'suspensions', agent.session._conduct.loop.budget._suspensions\nn\nc\n"
    shown = _debug(pytester, _BREAKPOINT, typed)
    assert "('suspensions', 1)" in shown
    assert "1 passed" in shown


def test_quitting_the_debugger_ends_the_test_run(pytester: pytest.Pytester) -> None:
    shown = _debug(pytester, _BREAKPOINT, "q\n")
    assert "Exit: Quitting debugger" in shown


def test_post_mortem_opens_where_it_failed(pytester: pytest.Pytester) -> None:
    shown = _debug(pytester, _FAILS, "p secret\nq\n", "--pdb")
    assert "'only here'" in shown


def test_stepping_through_an_async_test_works(pytester: pytest.Pytester) -> None:
    source = """
@pytest.mark.convergence(agents=PAIR)
async def test_traced(convergence_session):
    assert (await convergence_session.execute()).converged
"""
    assert "1 passed" in _debug(pytester, source, "c\nc\n", "--trace")


_BREAKPOINT_IN_A_PROCESS = """
import sys

def program():
    print("before")
    breakpoint()
    print("after")
    return input()

def test_paused(convergence_session):
    host = convergence_session.host("one", program, process=True)
    host.stdin.write("typed by the world\\n")
    assert convergence_session.run().results == {"one": "typed by the world"}
    assert host.stdout == "before\\nafter\\n"
"""


def test_a_breakpoint_in_a_process_talks_to_the_terminal(pytester: pytest.Pytester) -> None:
    shown = _debug(
        pytester,
        _BREAKPOINT_IN_A_PROCESS,
        "p 'seen', 2 + 3\nimport time\np 'year', time.gmtime().tm_year > 2020\nc\n",
    )
    assert "('seen', 5)" in shown
    assert "('year', True)" in shown
    assert "1 passed" in shown
