"""Inside a run every clock shows virtual time; outside, and on other threads, the real one."""

# ruff: noqa: PLW0108 - a lambda looks the function up when it is called, as programs do

import datetime
import os
import pickle
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC
from functools import partial
from time import monotonic as captured_monotonic
from typing import Any

import pytest

from pytest_convergence._engine.sim.shims import InsideRun, install, outside_world
from pytest_convergence._engine.sim.shims.patching import Home
from tests.determinism.shim_harness import EPOCH_NS, POLL_COST_NS, SmallWorld, run

EPOCH = EPOCH_NS // 10**9
CLOCKS: dict[str, Callable[[], Any]] = {
    "time": lambda: time.time(),
    "time_ns": lambda: time.time_ns(),
    "monotonic": lambda: time.monotonic(),
    "monotonic_ns": lambda: time.monotonic_ns(),
    "perf_counter": lambda: time.perf_counter(),
    "perf_counter_ns": lambda: time.perf_counter_ns(),
    "process_time": lambda: time.process_time(),
    "process_time_ns": lambda: time.process_time_ns(),
    "thread_time": lambda: time.thread_time(),
    "thread_time_ns": lambda: time.thread_time_ns(),
    "localtime": lambda: time.localtime(),
    "localtime(None)": lambda: time.localtime(None),
    "gmtime": lambda: time.gmtime(),
    "ctime": lambda: time.ctime(),
    "asctime": lambda: time.asctime(),
    "strftime": lambda: time.strftime("%Y-%m-%d %H:%M:%S"),
    "datetime.now": lambda: datetime.datetime.now(),
    "datetime.now(UTC)": lambda: datetime.datetime.now(tz=UTC),
    "datetime.today": lambda: datetime.datetime.today(),
    "date.today": lambda: datetime.date.today(),
    "os.times": lambda: os.times(),
    "clock_gettime": lambda: time.clock_gettime(time.CLOCK_REALTIME),
    "clock_gettime_ns": lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC),
}


@pytest.mark.parametrize("read", CLOCKS.values(), ids=CLOCKS.keys())
def test_a_clock_reads_the_same_in_two_runs(read: Callable[[], Any]) -> None:
    assert run(lambda: [read(), read()]) == run(lambda: [read(), read()])


def test_the_wall_clock_starts_at_the_epoch_of_the_world() -> None:
    assert run(time.time_ns) == EPOCH_NS + POLL_COST_NS
    assert run(lambda: time.time()) == (EPOCH_NS + POLL_COST_NS) / 10**9
    assert run(lambda: time.clock_gettime_ns(time.CLOCK_REALTIME)) == EPOCH_NS + POLL_COST_NS


def test_monotonic_clocks_start_at_the_start_of_the_run() -> None:
    assert run(lambda: time.monotonic_ns()) == POLL_COST_NS
    assert run(lambda: time.clock_gettime(time.CLOCK_MONOTONIC)) == POLL_COST_NS / 10**9


def test_calendars_agree_with_the_clock() -> None:
    assert run(lambda: time.gmtime()) == time.gmtime(EPOCH)
    assert run(lambda: time.localtime()) == time.localtime(EPOCH)
    assert run(lambda: time.strftime("%c")) == time.strftime("%c", time.localtime(EPOCH))
    assert run(lambda: datetime.date.today()) == datetime.date.fromtimestamp(EPOCH)


def test_an_explicit_instant_is_converted_as_ever() -> None:
    instant = time.gmtime(0)
    assert run(lambda: (time.gmtime(0), time.asctime(instant), time.strftime("%Y", instant))) == (
        instant,
        "Thu Jan  1 00:00:00 1970",
        "1970",
    )


def test_datetime_now_shows_every_microsecond() -> None:
    world = SmallWorld()
    world.now_ns = 123_456_000
    assert run(lambda: datetime.datetime.now(UTC), world) == datetime.datetime(
        2000, 1, 1, 0, 0, 0, 123_457, UTC
    )


def test_datetime_now_of_a_subclass_is_of_the_subclass() -> None:
    class Instant(datetime.datetime):
        pass

    assert type(run(lambda: Instant.now())) is Instant
    assert type(Instant.now()) is Instant
    assert type(Instant.today()) is Instant


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="utcnow() is deprecated since 3.12")
def test_utcnow_is_virtual() -> None:
    assert run(lambda: datetime.datetime.utcnow()).year == 2000


@pytest.mark.skipif(sys.version_info < (3, 12), reason="utcnow() is deprecated since 3.12")
def test_utcnow_is_virtual_and_still_deprecated_at_the_callers_line() -> None:
    install()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inside = run(lambda: datetime.datetime.utcnow())
        outside = datetime.datetime.utcnow()
    assert inside.year == 2000
    assert inside.tzinfo is None
    assert outside.year > 2000
    assert [warning.filename for warning in caught] == [__file__, __file__]
    assert {warning.category for warning in caught} == {DeprecationWarning}


def test_sleep_moves_virtual_time_only() -> None:
    def program() -> float:
        before = time.monotonic()
        time.sleep(86_400)
        return time.monotonic() - before

    assert run(program) == pytest.approx(86_400)


@pytest.mark.parametrize(
    ("argument", "error"), [(-1, ValueError), (float("nan"), ValueError), ("soon", TypeError)]
)
def test_sleep_refuses_what_it_always_refuses(argument: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(lambda: time.sleep(argument))


def test_sleep_accepts_integers_of_other_types() -> None:
    class Index:
        def __index__(self) -> int:
            return 3

    world = SmallWorld()
    run(lambda: time.sleep(Index()), world)
    assert world.now_ns == 3 * 10**9


# -- what was captured before the run ----------------------------------------------------------------------------------


def in_fresh_process(text: str) -> str:
    """Run a program whose first run is the first of its process."""
    return subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True, timeout=300
    ).stdout.strip()


def test_names_captured_before_the_first_run_are_covered() -> None:
    printed = in_fresh_process(
        """
import sys, types
import dataclasses
from datetime import datetime
source = '''
import dataclasses, random, os
from datetime import datetime
from time import time, monotonic
from random import randint
now = datetime.now

class Service:
    clock = monotonic
    static = staticmethod(monotonic)
    class Inner:
        clock = time

def default(clock=monotonic):
    return clock()

def keyword(*, clock=monotonic):
    return clock()

def closed_over(clock):
    def inner():
        return clock()
    return inner

closure = closed_over(monotonic)

@dataclasses.dataclass
class Record:
    at: float = dataclasses.field(default_factory=monotonic)
'''
app = types.ModuleType("app")
sys.modules["app"] = app
exec(source, vars(app))

from tests.determinism.shim_harness import run

def program():
    return [
        app.time() // 1, app.monotonic(), app.now().year, app.Service.clock(), app.Service().clock(),
        app.Service.static(), app.Service.Inner().clock() // 1, app.default(), app.keyword(), app.closure(),
        app.Record().at, app.randint(0, 10**9),
    ]

assert run(program) == run(program), (run(program), run(program))
values = run(program)
print(values[0], values[2], max(values[1], *values[3:6], *values[7:11]) < 1)
import time
assert app.time() > 1.7e9 and time.time() > 1.7e9
"""
    )
    assert printed == "946684800.0 2000 True"


def test_a_clock_captured_by_this_module_is_covered() -> None:
    assert run(lambda: captured_monotonic()) == POLL_COST_NS / 10**9


def test_a_clock_in_a_class_does_not_turn_into_a_method() -> None:
    install()

    class Service:
        clock = time.monotonic

    assert isinstance(Service().clock(), float)  # type: ignore[misc]
    assert isinstance(run(lambda: Service().clock()), float)  # type: ignore[misc]


# -- outside -----------------------------------------------------------------------------------------------------------


def test_outside_a_run_clocks_are_real() -> None:
    run(time.time)
    assert time.time() > 1_700_000_000
    assert datetime.datetime.now().year > 2020
    assert datetime.date.today().year > 2020
    assert time.localtime().tm_year > 2020


def test_another_thread_sees_real_time_during_a_run() -> None:
    asked, answered = threading.Event(), threading.Event()
    seen: list[float] = []

    def observe() -> None:
        asked.wait(10)
        seen.append(time.time())
        seen.append(datetime.datetime.now().timestamp())
        answered.set()

    thread = threading.Thread(target=observe)
    thread.start()

    def program() -> float:
        asked.set()
        with outside_world():
            assert answered.wait(10)
        return time.time()

    assert run(program) < 1_000_000_000
    thread.join()
    assert min(seen) > 1_700_000_000


def test_code_taken_outside_the_world_sees_real_time() -> None:
    def program() -> tuple[float, float]:
        with outside_world():
            real = time.time()
        return real, time.time()

    real, virtual = run(program)
    assert real > 1_700_000_000 > virtual


@pytest.mark.parametrize("flag", ["closed", "suspended"])
def test_a_closed_or_suspended_world_does_not_answer(flag: str) -> None:
    world = SmallWorld()
    setattr(world, flag, True)
    assert run(lambda: time.time(), world) > 1_700_000_000


def test_a_test_tool_on_the_worlds_thread_sees_real_time() -> None:
    tool = types.ModuleType("hypothesis.some_module")
    exec("import time\ndef measure():\n    return time.perf_counter(), time.time()", vars(tool))
    elapsed, now = run(tool.measure)
    assert now > 1_700_000_000
    assert elapsed != run(lambda: time.perf_counter())


def test_a_replaced_clock_looks_like_the_original() -> None:
    install()
    assert time.time.__name__ == "time"
    assert time.time.__module__ == "time"
    assert "seconds since the Epoch" in (time.time.__doc__ or "")
    assert "time" in repr(time.time)
    with pytest.raises(TypeError, match="time"):
        time.time(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        time.sleep()  # type: ignore[call-arg]


def test_a_replaced_clock_pickles_by_name_and_copies_as_itself() -> None:
    install()
    assert pickle.loads(pickle.dumps(time.time)) == time.time
    assert deepcopy(time.monotonic) == time.monotonic
    assert pickle.loads(pickle.dumps(datetime.datetime.now)) == datetime.datetime.now
    assert pickle.loads(pickle.dumps(partial(time.sleep, 0))).func == time.sleep
    assert repr(deepcopy(Home("time"))) == "module 'time', simulated inside a run"


def test_a_clock_that_the_test_has_replaced_stays_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 42.0)
        assert run(lambda: time.time()) == 42.0
    assert run(lambda: time.time()) < 1_000_000_000


def test_a_replacement_that_somebody_undid_is_put_back() -> None:
    install()
    shim = time.time
    genuine = next(
        cell.cell_contents
        for cell in shim.__func__.__closure__  # type: ignore[attr-defined]
        if isinstance(cell.cell_contents, types.BuiltinFunctionType) and cell.cell_contents.__name__ == "time"
    )
    time.time = genuine
    for _ in range(100):
        with InsideRun():
            pass
    assert time.time == shim
