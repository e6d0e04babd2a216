"""Replacements are installed once, kept in place, cheap, and listed."""

import datetime
import importlib
import os
import random
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_convergence._engine.sim.shims import InsideRun, coverage, install, patching, prompts_outside_world
from pytest_convergence._engine.sim.shims import installation as installation_module
from pytest_convergence._engine.sim.shims.installation import Installation, all_rows
from pytest_convergence._engine.sim.shims.patching import (
    Row,
    delegate,
    is_genuine,
    locate,
    namespace_of,
    sweep,
)
from pytest_convergence.errors import ConvergenceWarning, SimulationEscapeError
from tests.determinism.shim_harness import run

PROGRAM = """
import asyncio, os, random, secrets, socket, tempfile, time, uuid, weakref
from datetime import datetime, timezone
from random import choice
from time import monotonic

from tests.determinism.shim_harness import run

def program():
    finalized = []
    class Node:
        pass
    node = Node()
    node.me = node
    weakref.finalize(node, finalized.append, "collected")
    del node
    clutter = [[] for _ in range(2_000)]
    return [
        time.time(), time.monotonic(), monotonic(), time.perf_counter_ns(), time.process_time(), time.gmtime(),
        datetime.now(timezone.utc), random.random(), random.Random().random(), choice(range(10**6)), secrets.token_hex(),
        os.urandom(8), uuid.uuid1(), uuid.uuid4(), next(tempfile._get_candidate_names()), os.getpid(), socket.gethostname(),
        list(finalized), time.sleep(5), time.monotonic(),
    ]

first, second = run(program), run(program)
assert first == second, (first, second)
print(first)
"""


def in_fresh_process(text: str, hash_seed: str = "0") -> str:
    """Run a program whose first run is the first of its process."""
    path = os.pathsep.join(part or "." for part in sys.path)
    return subprocess.run(
        [sys.executable, "-c", text],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path, "TZ": "UTC"},
    ).stdout


def test_fresh_processes_with_other_hash_seeds_see_the_same_values() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
            env={
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": ":".join(path or "." for path in sys.path),
                "TZ": "UTC",
            },
        ).stdout
        for seed in ("0", "1")
    }
    assert len(printed) == 1
    assert "2000" in printed.pop()


def test_installing_again_changes_nothing() -> None:
    install()
    before = {target: id(vars(datetime)[target]) for target in ("datetime", "date")}
    shims = _everything_in_place()
    install()
    assert _everything_in_place() == shims
    assert {target: id(vars(datetime)[target]) for target in ("datetime", "date")} == before


def _everything_in_place() -> dict[str, Any]:
    return {row.target: _current(row) for row in all_rows() if not row.when_loaded and locate(row.target)}


def _current(row: Row) -> Any:
    found = locate(row.target)
    assert found is not None
    owner, name = found
    return namespace_of(owner)[name]


def test_every_row_that_this_platform_has_is_installed() -> None:
    install()
    missing = [
        row.target
        for row in all_rows()
        if not row.when_loaded and (found := locate(row.target)) and is_genuine(*found)
    ]
    assert not missing


def test_no_function_has_two_replacements() -> None:
    targets = [row.target for row in all_rows()]
    assert sorted(set(targets)) == sorted(targets)


def test_threads_may_install_at_the_same_time() -> None:
    threads = [threading.Thread(target=install) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run(lambda: True)


def test_the_coverage_names_what_is_closed_and_what_is_not() -> None:
    rows = coverage()
    assert {"time.time", "datetime.datetime.now", "os.urandom", "random.random"} <= {
        row.source for row in rows
    }
    assert "not covered" in {row.kind for row in rows}
    assert all(row.closed for row in rows)


# -- one installation of its own, on a module of its own -----------------------------------------------------------------


def answer_five(_world: Any, _original: Any) -> int:
    return 5


CLOCK = """
def read():
    return 0

class Clock:
    def read(self):
        return 0
"""


@pytest.fixture
def clock() -> Iterator[Any]:
    """A module with a function of its own that rows can name."""
    module = types.ModuleType("clock_of_test")
    exec(CLOCK, vars(module))
    sys.modules["clock_of_test"] = module
    yield module
    sys.modules.pop("clock_of_test", None)


def _some_world() -> object:
    return object()


def row_for(target: str) -> Row:
    return Row(target, "always 5", delegate(answer_five, ["a run"], _some_world), "clocks")


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(installation_module, "all_rows", lambda: iter([row_for("clock_of_test:read")]))
    return Installation()


def test_a_replacement_goes_where_the_original_was_captured(clock: Any, installation: Installation) -> None:
    user: Any = types.ModuleType("user_of_test")
    user.captured = clock.read
    sys.modules["user_of_test"] = user
    try:
        installation.install()
        assert user.captured() == clock.read() == 5
        assert installation.places == 1
    finally:
        del sys.modules["user_of_test"]


def test_what_a_test_put_in_place_stays_and_is_replaced_once_it_is_gone(
    clock: Any, installation: Installation
) -> None:
    original = clock.read
    clock.read = lambda: 42
    installation.install()
    assert clock.read() == 42
    installation.install()
    assert clock.read() == 42
    clock.read = original
    installation.install()
    assert clock.read() == 5


def test_what_was_undone_is_put_back_and_what_was_faked_is_not(
    clock: Any, installation: Installation
) -> None:
    original = clock.read
    installation.install()
    clock.read = original
    installation.install()
    assert clock.read() == 5
    clock.read = lambda: 42
    installation.install()
    assert clock.read() == 42
    del clock.read
    installation.install()
    assert not hasattr(clock, "read")


def test_a_function_is_replaced_when_its_module_is_loaded(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    row = row_for("clock_of_test:read")._replace(when_loaded=True)
    monkeypatch.setattr(installation_module, "all_rows", lambda: iter([row]))
    installation = Installation()
    module = sys.modules.pop("clock_of_test")
    installation.install()
    assert module.read() == 0
    sys.modules["clock_of_test"] = module
    installation.install()
    assert module.read() == 5


def test_what_only_says_that_it_is_a_module_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:  # as cffi makes them
        __slots__ = ()

        @property
        def __class__(self) -> type:
            return types.ModuleType

    monkeypatch.setitem(sys.modules, "library_of_test", Library())  # type: ignore[arg-type]
    assert patching.sweep({}) == 0


METHOD = "clock_of_test:Clock.read"


@pytest.mark.parametrize("when_loaded", [False, True])
def test_a_module_that_was_forgotten_and_imported_again_gets_replacements_of_its_own(
    monkeypatch: pytest.MonkeyPatch, clock: Any, when_loaded: bool
) -> None:
    rows = [row_for(target)._replace(when_loaded=when_loaded) for target in ("clock_of_test:read", METHOD)]
    monkeypatch.setattr(installation_module, "all_rows", lambda: iter(rows))
    installation = Installation()
    installation.install()
    del sys.modules["clock_of_test"]
    installation.install()
    again = sys.modules["clock_of_test"] = types.ModuleType("clock_of_test")
    exec(CLOCK, vars(again))
    installation.install()
    assert again.read() == again.Clock().read() == 5
    assert clock.read() == clock.Clock().read() == 5  # who imported it before still has the other one


def test_a_module_that_was_executed_again_gets_replacements_within_some_runs(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    monkeypatch.setattr(installation_module, "all_rows", lambda: map(row_for, ["clock_of_test:read", METHOD]))
    installation = Installation()
    installation.install()
    exec(CLOCK, vars(clock))  # as importlib.reload() does
    for _ in range(2):  # one namespace is compared each time: here the module, and the class
        installation.install()
    assert clock.read() == clock.Clock().read() == 5


def test_executors_are_refused_although_a_pytest_run_was_the_first_to_import_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delitem(sys.modules, "concurrent.futures.thread", raising=False)
    test = "from pytest_convergence._engine.sim.shims import install\ndef test_install(): install()\n"
    pytester.makepyfile(test)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    pools = importlib.import_module("concurrent.futures.thread")  # pytester has forgotten the other one
    with pools.ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: 5).result() == 5
        with pytest.raises(SimulationEscapeError, match=r"ThreadPoolExecutor\.submit"):
            run(lambda: pool.submit(len, ""))


def test_another_generator_that_a_test_puts_in_place_of_the_hidden_one_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install()
    own = random.Random(5)
    monkeypatch.setattr(random, "random", own.random)
    monkeypatch.setattr(random, "choice", own.choice)
    for _ in all_rows():
        install()
    assert run(lambda: (random.random(), random.choice(range(10**6)))) == (
        (again := random.Random(5)).random(),
        again.choice(range(10**6)),
    )


def test_what_this_platform_does_not_have_is_passed_over(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    targets = ["no_such_module:f", "clock_of_test:no_such_function", "clock_of_test:NoSuchClass.f"]
    monkeypatch.setattr(installation_module, "all_rows", lambda: map(row_for, targets))
    installation = Installation()
    installation.install()
    assert not installation.patches


def test_an_interpreter_that_keeps_types_closed_is_reported(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("the dictionary was not found")

    monkeypatch.setattr("pytest_convergence._engine.sim.shims.patching._set_on_static_type", refuse)
    row = row_for("datetime:timedelta.total_seconds")
    monkeypatch.setattr(installation_module, "all_rows", lambda: iter([row]))
    with pytest.warns(
        ConvergenceWarning, match=r"datetime\.timedelta\.total_seconds shows the real world .*agent\.now"
    ):
        Installation().install()


def test_a_dictionary_that_attribute_lookup_does_not_use_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied: dict[str, Any] = dict(vars(datetime.timedelta))
    monkeypatch.setattr("pytest_convergence._engine.sim.shims.patching.gc.get_referents", lambda _: [copied])
    with pytest.raises(RuntimeError, match="not the one that attribute lookup uses"):
        patching._set_on_static_type(datetime.timedelta, "total_seconds", len)
    assert copied["total_seconds"] is vars(datetime.timedelta)["total_seconds"]
    copied.clear()
    with pytest.raises(RuntimeError, match="was not found"):
        patching._set_on_static_type(datetime.timedelta, "total_seconds", len)


def test_time_machine_gets_its_pointers_first() -> None:
    printed = in_fresh_process(
        """
import sys, types, time
extension = types.ModuleType("_time_machine")
extension.patch_if_needed = lambda: print(type(time.time).__name__)
sys.modules["_time_machine"] = extension
from pytest_convergence._engine.sim.shims import install
install()
install()
print(type(time.time).__name__)
"""
    )
    assert printed.split() == ["builtin_function_or_method", "method"]


def test_time_machine_is_not_shown_what_is_no_c_function(
    monkeypatch: pytest.MonkeyPatch, installation: Installation, clock: Any
) -> None:
    extension: Any = types.ModuleType("_time_machine")
    extension.patch = lambda: pytest.fail("it would take a Python function for one of C")
    monkeypatch.setitem(sys.modules, "_time_machine", extension)
    install()  # the clocks are replaced now
    installation.install()


def test_the_sweep_leaves_alone_what_it_cannot_or_should_not_change(clock: Any) -> None:
    def outer() -> Any:
        def inner() -> Any:
            return late

        clock.inner = inner  # its cell is empty while the sweep looks
        sweep({clock.read: len})
        late = inner
        return late

    clock.keep = [clock.read]
    clock.closed = datetime.timedelta  # an immutable class
    outer()
    assert clock.keep[0].__name__ == "read"
    assert clock.read is len


# -- the debugger's prompt -----------------------------------------------------------------------------------------------


class FakeBudget:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def suspend(self) -> None:
        self.calls.append("suspend")

    def resume(self) -> None:
        self.calls.append("resume")


@pytest.mark.parametrize("with_budget", [True, False])
def test_the_prompt_of_a_debugger_is_outside_the_world_and_off_the_budget(with_budget: bool) -> None:
    import time

    class Debugger:
        def interaction(self, frame: Any, trace: Any = None) -> None:
            self.saw = time.time()

    debugger, budget = Debugger(), FakeBudget()

    def program() -> float:
        prompts_outside_world(debugger, budget=budget if with_budget else None)
        debugger.interaction(None, trace=None)
        return time.time()

    virtual = run(program)
    assert virtual < 1_000_000_000 < debugger.saw
    assert budget.calls == (["suspend", "resume"] if with_budget else [])


def test_a_run_can_be_entered_again_and_again() -> None:
    for _ in range(3):
        with InsideRun() as inside:
            inside.collection.point(1)
