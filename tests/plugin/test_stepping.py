"""``--convergence-step`` walks through a run: forward, back, to a time, an agent, a violation; shows who held what."""

import os
import pty
import subprocess
import sys

import pytest

from tests.plugin.conftest import AGENTS, RunSuite
from tests.plugin.test_counterexample import LATE

_READER = """
LINES = iter({lines!r})

def pytest_convergence_step_reader(config):
    def read(prompt):
        line = next(LINES, None)
        if line is None:
            raise EOFError
        print(prompt + line)
        return line
    return read
"""
_SUITE = """
from pytest_convergence import Network

async def worker(agent):
    async for message in agent.inbox:
        agent.storage.put("last", message.payload)
        await agent.storage.sync()
        agent.observe("worked", item=message.payload)
        agent.state.set("done", message.payload)

async def boss(agent):
    for number in range(1, 4):
        await agent.send("worker", number, type="job")
        await asyncio.sleep(1)

@pytest.mark.convergence(agents={"boss": boss, "worker": worker}OPTIONS)
def test_work(convergence_session):
    session = convergence_session
    session.never("two is done", lambda session: session.agents["worker"].state.get("done") == 2)
    session.run()
"""


def _walk(
    run_suite: RunSuite, pytester: pytest.Pytester, *lines: str, options: str = "", suite: str = _SUITE
) -> list[str]:
    """Return what the prompt shows, command by command."""
    pytester.makeconftest(_READER.format(lines=lines))
    result = run_suite(suite.replace("OPTIONS", options), "--convergence-step", "-p", "no:randomly")
    shown = result.outlines
    start = next(place for place, line in enumerate(shown) if "walk through" in line)
    end = next(place for place, line in enumerate(shown) if "the test goes on" in line)
    return shown[start:end]


def _after(shown: list[str], command: str) -> list[str]:
    """What was shown between a command and the next one."""
    start = shown.index(f"(step) {command}") + 1
    rest = [line for line in shown[start:] if line]
    return rest[: next((place for place, line in enumerate(rest) if line.startswith("(step)")), len(rest))]


def test_one_walks_forward_and_back(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    shown = _walk(
        run_suite, pytester, "n", "next 2", "p", "previous 99", "p", "", "goto 4", "goto -1", "n", "q"
    )
    assert shown[1].startswith("test_work: failed after")
    assert "violated: two is done ('violation' goes there)" in shown
    assert _after(shown, "n")[0].startswith("    2          0 us  ")
    assert _after(shown, "next 2")[0].startswith("    4  ")
    assert _after(shown, "p")[0].startswith("    3  ")
    assert _after(shown, "previous 99")[0].startswith("    1  ")
    assert _after(shown, "")[0].startswith("    2  ")
    assert _after(shown, "goto 4")[0].startswith("    4  ")
    assert "is stopped" in _after(shown, "goto -1")[0]
    assert shown[-2] == "this is the last event."


def test_one_jumps_to_a_time_an_agent_and_a_violation(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    shown = _walk(
        run_suite, pytester, "time 0.5", "agent worker", "t 99", "violation", "a nobody", "goto -1", "a boss"
    )
    assert _after(shown, "time 0.5")[0].endswith("1 s  boss sends message boss→worker #3 job 2 (sent 1 s)")
    assert "worker receives message boss→worker #3 job 2" in _after(shown, "agent worker")[0]
    assert _after(shown, "t 99")[0].startswith("nothing happened then: the last event is at 1.001 s")
    assert _after(shown, "violation")[1].startswith("two is done: this must never hold, but ")
    assert _after(shown, "a nobody")[0].startswith("no agent 'nobody'; there are ")
    assert _after(shown, "a boss")[0] == "boss has no further event."


def test_one_sees_what_is_under_way_who_knows_of_whom_and_the_diagram(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    shown = _walk(run_suite, pytester, "f", "t 1", "flight", "clocks", "diagram 12", "list 1", "n", "fl")
    assert _after(shown, "f") == ["nothing is on its way."]
    assert _after(shown, "flight") == ["  boss→worker #3 job 2, sent 1 s, user"]
    clocks = _after(shown, "clocks")
    assert [line.split(":")[0] for line in clocks] == ["  boss", "  worker"]
    assert all("boss " in line and "worker " in line for line in clocks)
    diagram = _after(shown, "diagram 12")
    here = next(place for place, line in enumerate(diagram) if line.startswith("you are here ┄"))
    assert here > 1
    assert any("#3 job 2, sent 1 s" in line for line in diagram[here:])
    assert [line[0] for line in _after(shown, "list 1")] == [" ", ">", " "]
    assert _after(shown, "fl") == ["nothing is on its way."]


def test_one_sees_what_agents_held_then(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    shown = _walk(run_suite, pytester, "state worker", "t 0.9", "state", "goto -1", "s worker", "s nobody")
    assert _after(shown, "state worker")[0] == "worker:"
    assert "  storage/last = 1" in _after(shown, "state")
    assert "  storage/last = 2" in _after(shown, "s worker")
    assert "boss:" not in _after(shown, "s worker")
    assert _after(shown, "s nobody")[0].startswith("no agent 'nobody'")


def test_commands_that_are_none_are_answered(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    shown = _walk(run_suite, pytester, "xyz", "n x", "time soon", "help", "session", "session 1", "goto x")
    assert _after(shown, "xyz") == ["no command 'xyz'; 'help' names them."]
    assert _after(shown, "n x") == ["a whole number is needed, not 'x'."]
    assert _after(shown, "time soon") == ["a number of virtual seconds is needed, not 'soon'."]
    assert any(line.startswith("  agent NAME") for line in _after(shown, "help"))
    assert _after(shown, "session") == ["> 1  test_work: failed"]
    assert _after(shown, "session 1")[0].startswith("test_work: failed after")


def test_a_run_that_passes_is_walked_through_too_and_pytest_goes_on(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    suite = """
@pytest.mark.convergence(agents=PAIR)
def test_fine(convergence_session):
    print("shown only if it fails")
    convergence_session.run()
"""
    pytester.makeconftest(_READER.format(lines=["violation"]))
    result = run_suite(suite, "--convergence-step")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["(step) violation", "every property held, and no agent has raised anything."]
    )
    result.stdout.no_fnmatch_line("shown only*")


def test_an_error_is_where_the_violation_would_be(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    suite = """
async def breaks(agent):
    await asyncio.sleep(1)
    raise ValueError("broken\\nin two")

@pytest.mark.convergence(agents={"one": breaks})
def test_breaks(convergence_session): convergence_session.run()
"""
    shown = _walk(run_suite, pytester, "violation", suite=suite)
    assert any("AgentError: agent 'one' raised ValueError: broken" in line for line in shown)
    assert "one raises an error" in _after(shown, "violation")[0]


def test_without_a_trace_or_a_session_there_is_nothing_to_walk_through(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    shown = _walk(run_suite, pytester, "n", "", "state", options=", trace=False")
    assert "it has no trace: the test asks for trace=False." in shown
    assert _after(shown, "n") == ["there are no events."]
    pytester.makeconftest(_READER.format(lines=[]))
    result = run_suite(
        "@pytest.mark.convergence(agents=1)\ndef test_it(convergence_session): pass", "--convergence-step"
    )
    result.stdout.fnmatch_lines(["nothing to walk through: no session of test_suite.py::test_it has run."])


# -- where it cannot be -------------------------------------------------------------------------------------------------


def test_it_refuses_workers_several_tests_and_what_is_no_terminal(
    run_suite: RunSuite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_suite(_SUITE.replace("OPTIONS", ""), "--convergence-step", "-p", "xdist.plugin", "-n", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*workers of xdist have none: run it without -n*"])
    two = _SUITE.replace("OPTIONS", "") + _SUITE.replace("OPTIONS", "").replace("test_work", "test_more")
    pytester.makeconftest(_READER.format(lines=[]))
    result = run_suite(two, "--convergence-step")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*walks through one test, but 2 tests with the marker are selected*"])
    pytester.makeconftest("")
    result = pytester.run(
        sys.executable, "-m", "pytest", "-p", "convergence", "--convergence-step", "test_suite.py::test_more",
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*at a terminal, and standard input is none*"])


def test_it_reads_from_a_real_terminal_while_pytest_captures(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_suite=AGENTS + _SUITE.replace("OPTIONS", ""))
    here, there = pty.openpty()
    os.write(here, b"violation\nq\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "convergence", "-p", "no:cacheprovider", "--convergence-step"],
        stdin=there, capture_output=True, text=True, check=False, cwd=pytester.path, timeout=300,
    )  # fmt: skip
    os.close(here)
    os.close(there)
    assert "two is done: this must never hold" in run.stdout.partition("the test goes on")[0]
    assert "1 failed" in run.stdout


def test_a_step_shows_what_it_changed_and_where_its_agent_waits_now(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    shown = _walk(run_suite, pytester, "n", "t 0.0005", "s boss")
    assert any(line.strip() == "boss: waits/line = await asyncio.sleep(1)" for line in shown)
    assert "  locals/number = 1" in _after(shown, "s boss")


def test_after_a_reduction_it_is_the_smallest_run(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    shown = _walk(run_suite, pytester, "a bank", "s bank", suite=LATE)
    assert "calm but for 2 deviations" in shown[1]
    assert any(line.startswith("  waits/line = async for message") for line in _after(shown, "s bank"))
