"""``--convergence-isolate``: each run begins where the first one did, and what is found stays what it is without."""

import gc
import os
import re

import pytest

from tests.plugin.conftest import RunSuite

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="isolated runs are forked")

_LEAKING = """
SEEN = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=2)
def test_leaking(convergence_session):
    convergence_session.run()
    SEEN.append(convergence_session.schedule.noise)
    assert len(SEEN) == 1

def test_afterwards():
    assert SEEN == []
"""
# A lock with no token: whoever was told last holds it, so two agents may hold it at once if messages overtake each other.
_RACE = """
async def owner(agent):
    for round in range(3):
        await agent.send("other", round)

async def other(agent):
    known = [(await agent.receive()).payload for _ in range(3)]
    agent.observe("known", rounds=known)
    assert known == sorted(known), known

@pytest.mark.convergence(agents={"owner": owner, "other": other}, network="lan", faults=["reorder"], schedules=40)
def test_rounds_come_in_order(convergence_session):
    convergence_session.run()
"""
_ISOLATED = "--convergence-isolate"
_ANEW = "--convergence-database=none"


def _told(result: pytest.RunResult) -> str:
    """Return the report without what differs from run to run: real time."""
    lines = result.outlines
    begin = next(
        number for number, line in enumerate(lines) if "= FAILURES =" in line or "= convergence =" in line
    )
    kept = [line for line in lines[begin:] if not re.search(r"of real time|(passed|failed) in ", line)]
    return re.sub(r", [0-9.e+-]+ s\.$", "", "\n".join(kept), flags=re.MULTILINE)


def test_a_run_does_not_see_what_another_has_left_in_a_module(run_suite: RunSuite) -> None:
    run_suite(_LEAKING).assert_outcomes(failed=2)
    run_suite(_LEAKING, _ISOLATED).assert_outcomes(passed=2)


def test_the_ini_file_may_ask_for_it(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_isolate = true")
    run_suite(_LEAKING).assert_outcomes(passed=2)
    run_suite(_LEAKING, "-o", "convergence_isolate=false").assert_outcomes(failed=2)


def test_async_bodies_and_their_fixtures_are_isolated_as_well(run_suite: RunSuite) -> None:
    source = """
SEEN = []

@pytest.fixture
async def noted(convergence_session):
    SEEN.append("set up")
    yield
    SEEN.append("torn down")

@pytest.mark.convergence(agents=PAIR, schedules=2)
async def test_leaking(convergence_session, noted):
    await convergence_session.execute()
    assert SEEN == ["set up"]

def test_afterwards():
    assert SEEN == []
"""
    run_suite(source, _ISOLATED).assert_outcomes(passed=2)


def test_a_failure_is_found_reduced_told_and_replayed_as_without(run_suite: RunSuite) -> None:
    without, isolated = run_suite(_RACE, _ANEW), run_suite(_RACE, _ISOLATED)
    isolated.assert_outcomes(failed=1)
    found = isolated.stdout.str()
    assert "shrunk from" in found
    assert _told(isolated) == _told(without)
    # What is known to fail is tried first, and the printed schedule is replayed.
    token = found.split("--convergence-replay=")[1].split()[0]
    run_suite(_RACE, _ISOLATED, f"--convergence-replay={token}").stdout.fnmatch_lines(["*1 failed*"])
    run_suite(_RACE, _ISOLATED).stdout.fnmatch_lines(["Found by a known failure: *"])
    harmless = _RACE.replace("assert known", "assert True or known")
    passing = run_suite(harmless, _ISOLATED, f"--convergence-replay={token}")
    passing.stdout.fnmatch_lines(
        ["*replayed test_suite.py::test_rounds_come_in_order: it does not fail any more under this schedule*"]
    )
    # Where nothing is reduced, the error has its traceback.
    seed = [word for word in found.split("unreduced: ")[1].splitlines()[0].split() if word.startswith("--")]
    as_found = [*seed, _ANEW, "--convergence-shrink-seconds=0"]
    result = run_suite(_RACE, _ISOLATED, *as_found)
    result.stdout.fnmatch_lines(
        ["*assert known == sorted(known), known", "run it again: *--convergence-seed=*"]
    )
    assert _told(result) == _told(run_suite(_RACE, *as_found))


_PASSING = """
async def talker(agent):
    for round in range(3):
        await agent.send("hearer", round)
    agent.observe("round", number=round)

async def hearer(agent):
    known = []
    for round in range(3):
        known.append((await agent.receive(timeout=90)).payload)
        agent.observe("heard", number=known[-1])

@pytest.mark.convergence(agents={"talker": talker, "hearer": hearer}, network="lan", faults=["reorder"], schedules=3)
def test_many(convergence_session):
    convergence_session.sometimes("late", lambda trace: False)
    convergence_session.run()

@pytest.mark.convergence(agents={"talker": talker, "hearer": hearer}, explore="exhaustive", faults=["reorder"])
def test_all(convergence_session):
    convergence_session.run()
"""


def test_the_summary_counts_what_it_counts_without(run_suite: RunSuite) -> None:
    without, isolated = run_suite(_PASSING), run_suite(_PASSING, _ISOLATED)
    isolated.assert_outcomes(passed=2)
    assert "exhausted: " in isolated.stdout.str()
    assert _told(isolated) == _told(without)


def test_a_run_that_ends_its_process_is_a_failure_and_is_reduced(run_suite: RunSuite) -> None:
    deadly = "import os\n" + _RACE.replace(
        "assert known == sorted(known), known", "known == sorted(known) or os._exit(7)"
    )
    line = "the process of the run ended before the run did: it left with exit status 7, as by os._exit()"
    result = run_suite(deadly + "\ndef test_afterwards(): pass", _ISOLATED)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            line,
            "It takes 1 deviation from the calm schedule:",
            "  - message owner→other #* overtaken *",
            "      without it: the test passes (converged)",
            "Found by schedule * of 40: seed *; shrunk from * to 1 deviation in *",
            "run it again: pytest test_suite.py::test_rounds_come_in_order --convergence-replay=* --convergence-isolate",
            "*unreduced: * --convergence-seed=* --convergence-isolate",
        ]
    )
    assert "under schedule" not in result.stdout.str()
    again = next(line for line in result.outlines if line.startswith("run it again: ")).split()[5:]
    run_suite(deadly, *again).stdout.fnmatch_lines([line, "* 1 failed in *"])
    run_suite(deadly, _ISOLATED).stdout.fnmatch_lines([line, "Found by a known failure: *"])


def test_a_run_that_a_signal_ends_is_told_with_its_schedule(run_suite: RunSuite) -> None:
    source = """
import os, signal

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=2, seed=1)
def test_deadly(convergence_session_factory):
    convergence_session_factory().run()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    result = run_suite(source, _ISOLATED, "--convergence-shrink-seconds=0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the process of the run ended before the run did: signal SIGKILL killed it",
            "under schedule 1 of 2: seed 1",
            "run it again: pytest test_suite.py::test_deadly --convergence-seed=1 --convergence-schedules=1 "
            "--convergence-isolate",
        ]
    )


def test_a_failure_that_only_the_child_has_is_told_as_the_child_tells_it(run_suite: RunSuite) -> None:
    source = """
import os
HERE = os.getpid()

@pytest.mark.convergence(agents=PAIR)
def test_elsewhere(convergence_session):
    convergence_session.run()
    elsewhere = os.getpid() != HERE
    assert not elsewhere
"""
    result = run_suite(source, _ISOLATED)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert not elsewhere",
            "E*assert not True",
            "The run failed in a process of its own, and not in pytest's *",
        ]
    )


def test_what_a_run_prints_warns_of_and_records_is_kept(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    source = """
import sys, warnings

class OwnWarning(UserWarning): pass

@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_telling(convergence_session, record_property):
    convergence_session.run()
    print("a printed line")
    print("an error line", file=sys.stderr)
    record_property("schedule", str(convergence_session.schedule))
    warnings.warn("mind the gap", OwnWarning)

@pytest.mark.convergence(agents=PAIR)
def test_reading(convergence_session, capsys):
    print("read")
    assert capsys.readouterr().out == "read\\n"
    print("unread")
"""
    for capture in ("fd", "sys"):
        result = run_suite(
            source,
            _ISOLATED,
            f"--capture={capture}",
            "-rP",
            "--junitxml=junit.xml",
            "-ojunit_family=xunit1",
            "-Wdefault",
        )
        result.assert_outcomes(passed=2, warnings=3)
        lines = result.outlines
        assert lines.count("a printed line") == 3
        assert lines.count("an error line") == 3
        assert lines.count("unread") == 1
        assert "read" not in lines
        assert "OwnWarning: mind the gap" in result.stdout.str()
        assert (pytester.path / "junit.xml").read_text().count('name="schedule"') == 3


def test_a_test_that_skips_itself_is_skipped_where_it_says(run_suite: RunSuite) -> None:
    source = """
@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_skipping(convergence_session):
    convergence_session.run()
    pytest.skip("not today")
"""
    result = run_suite(source, _ISOLATED, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * test_suite.py:*: not today", "* 1 skipped in *"])


@pytest.mark.parametrize("moment", ["gc.unfreeze", "open"])
def test_nobody_waits_for_a_run_that_the_user_interrupts(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C right after the fork, and while pytest waits for what the run tells."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    run_suite(_LEAKING, _ISOLATED).assert_outcomes(passed=2)  # and what it takes is loaded
    source = """
import signal

@pytest.mark.convergence(agents=PAIR)
def test_long(convergence_session):
    signal.pause()
"""
    with monkeypatch.context() as patch:
        patch.setattr(f"pytest_convergence._pytest.isolation.{moment}", interrupted, raising=False)
        result = run_suite(source, _ISOLATED)
    gc.unfreeze()
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])
    with pytest.raises(ChildProcessError):  # there is none left
        os.waitpid(-1, os.WNOHANG)


def test_the_check_of_determinism_compares_runs_of_two_processes(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    leaking = """
CALLS = []

async def caller(agent):
    CALLS.append(agent.name)
    agent.observe("calls", number=len(CALLS))

@pytest.mark.convergence(agents={"caller": caller}, schedules=2)
def test_calls(convergence_session):
    convergence_session.run()
"""
    check = "--convergence-check-determinism"
    run_suite(leaking, check).stdout.fnmatch_lines(["*CALLS was *"])
    run_suite(leaking, check, _ISOLATED).assert_outcomes(passed=1)
    by_pid = leaking.replace("number=len(CALLS)", "number=PID").replace("CALLS = []", "PID = 0; CALLS = []")
    by_pid = by_pid.replace(
        "    convergence_session.run()", "    global PID; PID = os.getpid(); convergence_session.run()"
    )
    result = run_suite("import os\n" + by_pid, check, _ISOLATED)
    result.stdout.fnmatch_lines(
        ["the same schedule was run twice, and the two runs differ.", "session * at virtual time *"]
    )


# -- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--pdb", "--trace", "--convergence-step"])
def test_it_is_refused_with_what_needs_this_process(run_suite: RunSuite, option: str) -> None:
    result = run_suite(_RACE, _ISOLATED, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*--convergence-isolate (or its ini twin) * and {option} *convergence_isolate=false*"]
    )


def test_it_is_refused_where_nothing_forks(run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    result = run_suite(_RACE, _ISOLATED)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot fork. Run it on Linux or macOS, or without the option.*"])


def test_a_thread_that_is_alive_is_named(run_suite: RunSuite) -> None:
    source = """
import threading

@pytest.fixture(scope="module", autouse=True)
def server():
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="the server")
    thread.start()
    yield
    over.set()
    thread.join()

@pytest.mark.convergence(agents=PAIR, schedules=3)
def test_pair(convergence_session):
    convergence_session.run()
"""
    run_suite(source).assert_outcomes(passed=1)
    result = run_suite(source, _ISOLATED)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*cannot isolate test_suite.py::test_pair: a thread is alive * ('the server')*"]
    )


def test_examples_of_hypothesis_and_methods_of_unittest_are_refused(run_suite: RunSuite) -> None:
    source = """
import unittest
from hypothesis import given, settings, strategies as st

@pytest.mark.convergence(agents=PAIR)
@settings(max_examples=2)
@given(number=st.integers())
def test_given(convergence_session_factory, number):
    convergence_session_factory().run()

@pytest.mark.convergence(agents=PAIR)
class TestOld(unittest.TestCase):
    def test_old(self): pass
"""
    result = run_suite(source, _ISOLATED)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "*cannot isolate test_suite.py::test_given: Hypothesis draws *",
            "*TestOld::test_old: only test functions *",
        ]
    )
