"""How fast a search goes: tests as users write them, run by pytest in this process; the body's own CPU time is taken."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from benchmarks.measuring import Row

_RACE = """
import pytest

async def bank(agent):
    balance = 100
    async for message in agent.inbox:
        if message.type == "withdraw" and balance >= message.payload:
            balance -= message.payload
        await agent.reply(message, balance)

async def teller(agent):
    await agent.request("bank", 10, type="withdraw")
    return await agent.request("bank", 0, type="ask")

@pytest.mark.convergence(
    agents={"bank": bank, "teller-1": teller, "teller-2": teller}, network="lan", faults=["delay", "reorder"],
    schedules=SCHEDULES,
)
def test_no_money_is_lost(convergence_session):
    outcome = convergence_session.run()
    assert min(outcome.results[name] for name in ("teller-1", "teller-2")) == 80
"""
"""A race of two tellers for one account: right, so that every schedule is run."""

_RAFT = """
import pytest

@pytest.mark.convergence(
    pattern="leader-follower", agents=5, network="lan", faults=["crash"], schedules=SCHEDULES,
)
def test_a_leader_is_found(convergence_session):
    async def scenario(session):
        await session.sleep(10)

    convergence_session.run(scenario)
"""
"""Five agents of Raft whom the schedule crashes, for ten virtual seconds."""

_FAILURE = """
import pytest

async def ledger(agent):
    total = 0
    async for message in agent.inbox:
        if message.type == "deposit":
            total += message.payload  # a deposit that arrives twice counts twice
            await agent.reply(message, total)
        else:
            await agent.reply(message, total)

async def customer(agent):
    for _ in range(50):
        try:
            await agent.request("ledger", 1, type="deposit", timeout=2)
        except TimeoutError:
            pass
    return 50

@pytest.mark.convergence(
    agents={"ledger": ledger, "one": customer, "two": customer, "three": customer},
    network="lan", faults=["duplicate", "delay"], schedules=50,
)
def test_deposits_count_once(convergence_session):
    async def scenario(session):
        await session.finished()
        return await session.agents["one"].request("ledger", None, type="ask")

    assert convergence_session.run(scenario).output == 150
"""
"""A bug that one duplicate shows, in a run of three hundred messages."""


_WITHOUT = (
    "cacheprovider",
    "terminal",
    "randomly",
    "xdist",
    "asyncio",
    "looptime_plugin",
    "looptime_chronometers",
    "looptime_timeproxies",
    "anyio",
    "hypothesispytest",
)
_OPTIONS = ["--import-mode=importlib", *(f"-pno:{name}" for name in _WITHOUT)]


class _Stopwatch:
    """Takes the CPU time of test bodies, searching and shrinking included."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.text = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds += time.process_time() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.text += "".join(f"{name}\n{text}\n" for name, text in report.sections) + report.longreprtext


def _run(name: str, text: str, *, fails: bool = False) -> float:
    """Run a file of tests; return the CPU seconds that their bodies took. The seeds derive from its name."""
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"test_{name}.py"
        path.write_text(text, encoding="utf-8")
        code = pytest.main([*_OPTIONS, f"--rootdir={folder}", str(path)], plugins=[watch])
    if code != pytest.ExitCode.TESTS_FAILED if fails else code:
        raise RuntimeError(
            f"pytest ended with {code}: the benchmark's test should {'fail' if fails else 'pass'}:\n{watch.text}"
        )
    return watch.seconds


def _row(name: str, costs: list[float], per: float, bar: float) -> Row:
    """A row of so many ``per`` CPU second."""
    return Row(name, tuple(per / cost for cost in costs), bar, statistics.median(costs) / per * 1e6, 0.0)


def _search(name: str, text: str, schedules: int, bar: float, rounds: int) -> Row:
    text = text.replace("SCHEDULES", str(schedules))
    file = name.rpartition(" ")[2].lower()
    _run(file, text)
    return _row(name, [_run(file, text) for _ in range(rounds)], schedules, bar)


def _shrinking(rounds: int) -> Row:
    costs = [_run("deposits", _FAILURE, fails=True) for _ in range(rounds)]
    name = "CPU seconds to find and shrink a failure of 300 messages"
    return Row(name, tuple(costs), 2, statistics.median(costs) * 1e6, 0.0, at_most=True)


def _in_a_process(folder: str, *options: str) -> float:
    """Run the tests of a folder by a pytest of its own, on every processor; return the real seconds that it took."""
    everywhere = set(range(os.cpu_count() or 1))
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", *options, f"--rootdir={folder}", folder],
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, everywhere) if hasattr(os, "sched_setaffinity") else None,
    )
    return time.perf_counter() - began


def _spread(rounds: int) -> Row:
    """How much quicker two workers of pytest-xdist are with one search, on two free processors; starting is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_raft.py").write_text(_RAFT.replace("SCHEDULES", "1000"), encoding="utf-8")
        alone, both = [], []
        for _ in range(rounds):
            alone.append(_in_a_process(folder))
            both.append(_in_a_process(folder, "-n2", "--convergence-spread"))
    ratios = tuple(one / two for one, two in zip(alone, both, strict=True))
    name = "real time of one process to -n 2 --convergence-spread"
    return Row(name, ratios, 1.6, statistics.median(both) / 1000 * 1e6, statistics.median(alone) / 1000 * 1e6)


def search_rows(rounds: int) -> dict[str, Callable[[], Row]]:
    """The rows of searching and shrinking, by short name."""
    return {
        "search-race": lambda: _search(
            "schedules per second, three agents racing", _RACE, 1000, 1000, rounds
        ),
        "search-raft": lambda: _search("schedules per second, five agents of Raft", _RAFT, 50, 100, rounds),
        "search-spread": lambda: _spread(max(1, rounds // 3)),
        "shrink": lambda: _shrinking(rounds),
    }
