"""What the loop refuses or answers itself: threads, signals, descriptors; and how it begins, runs and closes."""

import asyncio
import copy
import gc
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_convergence._engine.run.hosting import make_loop
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.sim.loop import WorldLoop
from pytest_convergence._engine.sim.selector import WorldSelector
from pytest_convergence.errors import ConvergenceUsageError, SimulationEscapeError
from tests.unit.sim.harness import running_loop, simulate


def bare_loop() -> WorldLoop:
    return make_loop(0, SessionOptions())


def test_a_value_that_leads_to_the_loop_cannot_be_copied_and_leaves_no_half_a_loop_behind():
    async def main() -> None:
        with pytest.raises(TypeError, match="cannot be copied"):
            copy.deepcopy({"loop": running_loop()})

    simulate(main)
    gc.collect()  # half a loop would complain here that it has no attributes


def test_signals_are_refused():
    async def main() -> None:
        running_loop().add_signal_handler(signal.SIGTERM, print)

    with pytest.raises(SimulationEscapeError, match="Signals arrive from outside the schedule"):
        simulate(main)


def test_a_named_executor_is_refused():
    async def main(executor: ThreadPoolExecutor) -> None:
        await running_loop().run_in_executor(executor, print)

    with (
        ThreadPoolExecutor() as executor,
        pytest.raises(SimulationEscapeError, match="Its threads would run outside the schedule"),
    ):
        simulate(lambda: main(executor))


def test_an_executor_call_runs_at_once_on_the_worlds_own_thread():
    async def main() -> list[Any]:
        threads = [threading.get_ident()]
        future = running_loop().run_in_executor(None, lambda: threads.append(threading.get_ident()))
        assert future.done()
        await future
        await asyncio.to_thread(lambda: threads.append(threading.get_ident()))
        return [len(threads), len(set(threads))]

    assert simulate(main) == [3, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_executor_call_that_wants_to_stop_the_process_does(error: type[BaseException]):
    def stop() -> None:
        raise error

    async def main() -> None:
        await running_loop().run_in_executor(None, stop)

    with pytest.raises(error):
        simulate(main)


def test_a_default_executor_is_shut_down_without_a_thread():
    async def main() -> str:
        loop = running_loop()
        loop.set_default_executor(ThreadPoolExecutor())
        result: str = await loop.run_in_executor(None, str.upper, "inline")
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown"):
            await loop.run_in_executor(None, print)
        return result

    assert simulate(main) == "INLINE"


def test_a_real_descriptor_is_refused():
    one, other = socket.socketpair()

    async def main() -> None:
        running_loop().add_reader(one, print)

    with one, other, pytest.raises(SimulationEscapeError, match="a real file descriptor"):
        simulate(main)


def test_the_selector_has_nothing_and_waits_for_nothing():
    selector = WorldSelector()
    assert selector.select(10) == []
    assert selector.get_map() == {}
    with pytest.raises(KeyError):
        selector.unregister(0)
    selector.close()


def test_a_call_from_another_thread_is_refused():
    errors: list[str] = []

    async def main() -> None:
        loop = running_loop()

        def intrude() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except SimulationEscapeError as error:
                errors.append(str(error))

        thread.append(threading.Thread(target=lambda: (started.wait(), intrude(), intruded.set())))
        started.set()

    thread: list[threading.Thread] = []
    started, intruded = threading.Event(), threading.Event()

    async def program() -> None:
        await main()
        outside.release()
        while not intruded.is_set():
            await asyncio.sleep(0)

    outside = threading.Lock()
    outside.acquire()

    def starter() -> None:
        with outside:
            thread[0].start()

    helper = threading.Thread(target=starter)
    helper.start()
    simulate(program)
    helper.join()
    thread[0].join()
    assert len(errors) == 1
    assert "another thread called loop.call_soon_threadsafe" in errors[0]


def test_a_threadsafe_call_from_the_worlds_own_thread_is_an_ordinary_call():
    async def main() -> list[int]:
        log: list[int] = []
        running_loop().call_soon_threadsafe(log.append, 1)
        running_loop().call_soon(log.append, 2)
        await asyncio.sleep(0)
        return log

    assert simulate(main) == [1, 2]


def test_a_loop_can_be_run_several_times():
    loop = bare_loop()
    assert loop.run_until_complete(asyncio.sleep(1, "one")) == "one"
    assert loop.run_until_complete(asyncio.sleep(1, "two")) == "two"
    assert loop.world.now_ns == 2 * 10**9
    loop.close()
    loop.close()


def test_a_runner_drives_the_loop_and_clears_it_away():
    log: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            log.append("cancelled")

    async def main() -> float:
        asyncio.create_task(left())  # noqa: RUF006
        await asyncio.sleep(2)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=bare_loop) as runner:
        assert runner.run(main()) == 2
        assert runner.run(main()) == 4
        loop = runner.get_loop()
        assert isinstance(loop, WorldLoop)
    assert log == ["cancelled"] * 2
    assert loop.is_closed()


def test_a_closed_loop_takes_nothing_more():
    loop = bare_loop()
    loop.close()
    coroutine = asyncio.sleep(0)
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.create_task(coroutine),
        lambda: loop.run_in_executor(None, print),
        loop.run_forever,
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    coroutine.close()


def test_a_loop_cannot_be_closed_or_run_while_it_runs():
    async def main() -> None:
        loop = running_loop()
        for call in (loop.close, loop.run_forever):
            with pytest.raises(RuntimeError):
                call()

    simulate(main)


def test_an_unhandled_exception_of_a_callback_is_logged_with_its_handle(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    simulate(main)
    assert "Exception in callback <StepHandle" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_handles_say_what_they_are():
    async def main() -> list[str]:
        loop = running_loop()
        soon, later = loop.call_soon(print), loop.call_later(1.5, print)
        texts = [repr(soon), repr(later)]
        soon.cancel()
        later.cancel()
        later.cancel()
        return [*texts, repr(soon), repr(later)]

    assert simulate(main) == [
        "<StepHandle <built-in function print>>",
        "<TimerStep at 1.5 <built-in function print>>",
        "<StepHandle cancelled>",
        "<TimerStep at 1.5 cancelled>",
    ]


def test_debug_mode_works():
    async def main() -> bool:
        running_loop().set_debug(True)
        await asyncio.gather(asyncio.sleep(1), asyncio.to_thread(print))
        return running_loop().get_debug()

    assert simulate(main) is True


@pytest.mark.filterwarnings("error")
def test_a_loop_leaves_no_resources_open():
    async def main() -> None:
        await asyncio.sleep(1)

    for _ in range(3):
        simulate(main)
    gc.collect()


def test_blocking_sleeps_move_the_whole_world():
    async def main() -> list[float]:
        loop, log = running_loop(), []
        loop.call_later(1, lambda: log.append(loop.time()))
        time.sleep(5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [*log, loop.time()]

    assert simulate(main) == [5, 5]


def test_another_loop_inside_a_run_is_refused():
    async def main() -> None:
        asyncio.new_event_loop()

    with pytest.raises(SimulationEscapeError):
        simulate(main)


def test_clocks_reject_a_drift_that_stands_still_or_goes_back():
    from pytest_convergence._engine.sim.clock import NodeClock

    for drift in (-1, -2, 1000, float("nan")):
        with pytest.raises(ConvergenceUsageError, match="drift must be"):
            NodeClock().skew(0, offset_seconds=0, drift=drift)


def test_a_clock_stays_continuous_when_its_drift_changes():
    from pytest_convergence._engine.sim.clock import NodeClock

    clock = NodeClock()
    clock.skew(10**9, offset_seconds=5, drift=0.5)
    assert clock.monotonic_ns(10**9) == 10**9
    assert clock.monotonic_ns(3 * 10**9) == 4 * 10**9
    clock.skew(3 * 10**9, offset_seconds=-1, drift=-0.5)
    assert clock.monotonic_ns(5 * 10**9) == 5 * 10**9
    assert clock.wall_ns(5 * 10**9) == 4 * 10**9
    assert clock.true_ns(6 * 10**9) == 7 * 10**9
    assert clock.true_delay_ns(10**9) == 2 * 10**9
    assert NodeClock().true_delay_ns(7) == 7
