"""The watchdog ends runs that take too long in reality, and nothing else."""

import gc
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator

import pytest

from pytest_convergence._engine.sim import watchdog
from pytest_convergence._engine.sim.shims import asking
from pytest_convergence._engine.sim.watchdog import Overrun, format_stack, guard
from pytest_convergence.errors import BudgetExceeded

SHORT = 0.05


def spins() -> None:
    while True:
        pass


def waits_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def sleeps_in_c() -> None:
    time.sleep(60)


def reads_from_a_pipe() -> None:
    read, write = os.pipe()
    try:
        os.read(read, 1)
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("blocks", [spins, waits_for_a_lock, sleeps_in_c, reads_from_a_pipe])
def test_code_that_blocks_the_main_thread_is_interrupted_and_named(blocks: Callable[[], None]) -> None:
    with pytest.raises(BudgetExceeded) as caught, guard(SHORT, "the run of test_x"):
        blocks()
    text = str(caught.value)
    assert "the run of test_x took more than 0.05 seconds of real time" in text
    assert f"in {blocks.__name__}" in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_whoever_catches_the_interrupt_inside_may_say_it_in_its_own_words() -> None:
    with guard(SHORT) as budget:
        with pytest.raises(Overrun):
            spins()
        assert budget.expired
        assert "in spins" in budget.stack


def test_another_thread_is_interrupted_as_well() -> None:
    seen: list[BaseException] = []

    def work() -> None:
        try:
            with guard(SHORT):
                spins()
        except BudgetExceeded as error:
            seen.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert "in spins" in str(seen[0])


def test_code_that_swallows_the_interrupt_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_RETRY_SECONDS", SHORT)
    swallowed = 0

    def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                spins()
            except BaseException:
                swallowed += 1
                if swallowed > 3:
                    raise

    with pytest.raises(BudgetExceeded), guard(SHORT):
        stubborn()
    assert swallowed == 4


def test_code_that_cannot_be_interrupted_is_named_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watchdog, "_RETRY_SECONDS", SHORT)
    times = 0

    def stubborn() -> None:
        nonlocal times
        while times < 3:
            try:
                spins()
            except Overrun:
                times += 1

    with guard(SHORT, "this run"):
        stubborn()
    assert "this run took more than" in capfd.readouterr().err


def test_a_run_within_its_budget_is_left_alone() -> None:
    with guard(60) as budget:
        pass
    assert not budget.expired
    assert budget.stack == ""


def test_no_bound_means_no_guard() -> None:
    handler = signal.getsignal(signal.SIGINT)
    for seconds in (None, float("inf")):
        with guard(seconds) as budget:
            assert signal.getsignal(signal.SIGINT) is handler
            budget.suspend()
            budget.resume()
        assert not budget.expired


def test_the_signal_handler_is_as_before_after_a_run() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(BudgetExceeded), guard(SHORT):
        spins()
    with guard(60):
        pass
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.fixture
def default_handler() -> Iterator[None]:
    """As an interactive run has it; what is started in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_handler")
def test_a_real_interrupt_stays_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, guard(60):
        signal.raise_signal(signal.SIGINT)
    assert type(caught.value) is KeyboardInterrupt


@pytest.fixture
def own_handler() -> Iterator[list[int]]:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGINT, before)


def test_a_handler_of_the_test_still_gets_real_interrupts(own_handler: list[int]) -> None:
    with guard(60):
        signal.raise_signal(signal.SIGINT)
    assert own_handler == [signal.SIGINT]


def test_ignored_interrupts_stay_ignored(own_handler: list[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with guard(60):
        signal.raise_signal(signal.SIGINT)
    assert own_handler == []


def test_a_run_under_a_handler_of_the_test_is_interrupted_too(own_handler: list[int]) -> None:
    with pytest.raises(BudgetExceeded), guard(SHORT):
        spins()
    assert own_handler == []


def test_the_time_at_the_debuggers_prompt_does_not_count() -> None:
    with guard(10 * SHORT) as budget:  # a busy machine may take a while from here to the next line
        budget.suspend()
        budget.suspend()
        budget.resume()
        finish = time.monotonic() + 15 * SHORT
        while time.monotonic() < finish:
            pass
        budget.resume()
    assert not budget.expired


def test_the_budget_goes_on_after_the_prompt() -> None:
    def pauses_and_spins() -> None:
        budget.suspend()
        budget.resume()
        spins()

    budget = guard(SHORT)
    with pytest.raises(BudgetExceeded), budget:
        pauses_and_spins()


def burn(seconds: float) -> None:
    finish = time.perf_counter() + seconds
    while time.perf_counter() < finish:
        pass


def test_an_interrupt_never_arrives_after_the_run_it_was_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_TICK_SECONDS", 0.001)
    for attempt in range(300):
        seconds = 0.0005 + attempt % 7 * 0.0002
        budget = guard(seconds)
        try:
            with budget:
                burn(seconds + attempt % 5 * 0.00004)
        except BudgetExceeded:
            assert budget.expired
        else:
            assert not budget.expired
        burn(0.0001)  # an interrupt that came too late would leave the test here


def test_a_signal_at_the_very_end_of_a_run_is_absorbed() -> None:
    with guard(60) as budget:
        pass
    budget.expired = budget._sent = True
    budget._on_signal(signal.SIGINT, None)
    assert not budget._sent


def test_a_signal_in_the_middle_of_a_tracer_is_sent_again() -> None:
    tracer = types.ModuleType("coverage.collector")
    exec("def trace(finish, clock):\n    while clock() < finish:\n        pass\n", vars(tracer))

    def traced() -> None:
        tracer.trace(time.monotonic() + 4 * SHORT, time.monotonic)
        spins()

    with pytest.raises(BudgetExceeded) as caught, guard(SHORT):
        traced()
    assert "in traced" in str(caught.value)
    assert caught.value.__context__ is not None
    # Where exactly it lands outside the tracer is chance: in spins(), or on the way there.
    assert "trace" not in {
        frame.name for frame in traceback.extract_tb(caught.value.__context__.__traceback__)
    }


def test_a_signal_in_a_shim_that_a_tracer_has_called_is_sent_again() -> None:
    shim = types.ModuleType(asking.__name__)
    exec("def monotonic(clock):\n    return clock()\n", vars(shim))
    tracer = types.ModuleType("coverage.collector")
    exec("def trace(finish, shim, clock):\n    while shim(clock) < finish:\n        pass\n", vars(tracer))

    def traced() -> None:
        tracer.trace(time.monotonic() + 4 * SHORT, shim.monotonic, time.monotonic)
        spins()

    with pytest.raises(BudgetExceeded) as caught, guard(SHORT):
        traced()
    assert caught.value.__context__ is not None
    where = {frame.name for frame in traceback.extract_tb(caught.value.__context__.__traceback__)}
    assert "trace" not in where


def test_one_thread_serves_all_runs() -> None:
    for _ in range(3):
        with guard(60):
            pass
    assert [thread.name for thread in threading.enumerate()].count("pytest-convergence watchdog") == 1


def test_nested_guards_each_watch_their_own_run() -> None:
    with guard(60) as outer:
        with pytest.raises(BudgetExceeded), guard(SHORT):
            spins()
        assert not outer.expired


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_a_watchdog_of_its_own() -> None:
    with guard(60):
        pass
    child = os.fork()
    if child == 0:  # pragma: no cover - measured in the parent only
        code = 1
        try:
            with guard(SHORT):
                spins()
        except BudgetExceeded:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_idle_watchdog_blocks_and_wakes_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_TICK_SECONDS", 0.001)
    with guard(60):
        pass
    finish = time.monotonic() + 120
    while not watchdog._WATCHDOG._asleep and time.monotonic() < finish:
        pass
    assert watchdog._WATCHDOG._asleep
    with pytest.raises(BudgetExceeded), guard(SHORT):
        spins()


def test_frames_of_the_framework_are_one_line() -> None:
    text = format_stack(sys._getframe())
    assert "test_frames_of_the_framework_are_one_line" in text
    assert "frames of" in text
    assert "_pytest" in text
    assert format_stack(None) == "  (the thread has ended)"


def test_a_description_can_be_made_when_it_is_needed() -> None:
    with pytest.raises(BudgetExceeded, match="run 7 took"), guard(SHORT, lambda: f"run {3 + 4}"):
        spins()


def test_a_guard_leaves_no_cycle_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        with guard(60):
            pass
        assert gc.collect() == 0
    finally:
        gc.enable()
