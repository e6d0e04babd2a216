"""SIGINT and other signals in a process: its main thread handles them where it waits, as with a real interpreter."""

import _thread
import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence import Session
from tests.unit.sim.harness import make_session

SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM


def interrupt(program: Callable[[], Any], *numbers: int, process: bool = True) -> tuple[Any, bool]:
    """Send a program signals two seconds apart; return what it returned, and whether it lives."""
    session = make_session()
    host = session.host("p", program, process=process)

    async def scenario(session: Session) -> bool:
        for number in numbers:
            await session.sleep(2)
            host.send_signal(number)
        await session.sleep(10)
        return host.is_alive

    outcome = session.run(scenario)
    return outcome.results.get("p"), outcome.output


def sleep() -> None:
    time.sleep(60)


def receive() -> None:
    one, _other = socket.socketpair()
    one.recv(10)


def read() -> None:
    input()


def join() -> None:
    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    thread.join()


def lock() -> None:
    taken = threading.Lock()
    taken.acquire()
    taken.acquire()


@pytest.mark.parametrize("block", [sleep, receive, read, join, lock])
def test_what_blocks_is_interrupted(block: Callable[[], None]) -> None:
    def program() -> object:
        assert signal.getsignal(SIGINT) is signal.default_int_handler
        try:
            block()
        except KeyboardInterrupt:
            return time.monotonic()
        return "not interrupted"

    assert interrupt(program, SIGINT) == (2.0, True)


def test_asyncio_run_cancels_its_main_task_which_may_clear_up() -> None:
    said: list[object] = []

    async def main() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            said.append(time.monotonic())
            raise

    def program() -> object:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
        return signal.getsignal(SIGINT) is signal.default_int_handler

    assert interrupt(program, SIGINT) == (True, True)
    assert said == [3.0]


def test_a_second_signal_does_not_wait_until_all_is_cleared_up() -> None:
    async def main() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    def program() -> float:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
        return time.monotonic()

    assert interrupt(program, SIGINT, SIGINT) == (4.0, True)


@pytest.mark.parametrize("process", [False, True])
def test_a_main_task_that_is_cancelled_by_it_ends_its_process(process: bool) -> None:
    said: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            said.append("cleared up")
            raise

    assert interrupt(main, SIGINT, process=process) == (None, False)
    assert said == ["cleared up"]


@pytest.mark.parametrize("process", [False, True])
def test_a_main_task_that_does_not_let_itself_be_cancelled_goes_on(process: bool) -> None:
    async def main() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"
        return "late"

    assert interrupt(main, SIGINT, process=process) == ("done", True)


def test_of_a_program_on_the_loop_of_the_world_the_second_signal_takes_no_further_step() -> None:
    said: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            said.append("cancelled")
            await asyncio.sleep(60)
            said.append("went on")

    assert interrupt(main, SIGINT, SIGINT, process=False) == (None, False)
    assert said == ["cancelled"]


def test_who_lets_it_out_ends_its_process_and_its_connections_are_reset() -> None:
    cleared: list[str] = []

    def serve() -> None:
        with socket.create_server(("0.0.0.0", 80)) as listener:
            connection, _ = listener.accept()
            try:
                connection.recv(10)
            finally:
                cleared.append("cleared up")
                sleep()

    def ask() -> object:
        with socket.create_connection(("server", 80)) as connection:
            try:
                return connection.recv(10)
            except ConnectionResetError:
                return time.monotonic() >= 4

    async def scenario(session: Session) -> bool:
        for _ in range(2):
            await session.sleep(2)
            server.send_signal(SIGINT)
        await session.finished()
        return server.is_alive

    session = make_session()
    server = session.host("server", serve, process=True)
    session.host("client", ask, process=True)
    outcome = session.run(scenario)
    assert (outcome.output, outcome.results) == (False, {"client": True})
    assert cleared == ["cleared up"]


def test_a_handler_runs_in_the_main_thread_with_its_frame_and_what_it_interrupts_goes_on() -> None:
    def program() -> object:
        def handle(number: int, frame: Any) -> None:
            seen.append((number, frame.f_code.co_name, threading.current_thread() is threading.main_thread()))
            time.sleep(1)

        seen: list[object] = []
        signal.signal(SIGTERM, handle)
        time.sleep(5)
        return seen, time.monotonic()

    assert interrupt(program, SIGTERM)[0] == ([(SIGTERM, "program", True)], 5.0)


@pytest.mark.parametrize("process", [False, True])
def test_a_handler_that_exits_ends_the_program_in_good_order(process: bool) -> None:
    cleared: list[float] = []

    def block() -> None:
        signal.signal(SIGTERM, lambda *_: sys.exit(0))
        try:
            time.sleep(60)
        finally:
            cleared.append(time.monotonic())

    async def wait() -> None:
        signal.signal(SIGTERM, lambda *_: sys.exit(0))
        try:
            await asyncio.sleep(60)
        finally:
            cleared.append(time.monotonic())

    assert interrupt(block if process else wait, SIGTERM, process=process) == (None, True)
    assert cleared == [2.0]


def test_a_handler_on_the_loop_of_the_world_that_raises_keyboard_interrupt_ends_its_own_process() -> None:
    def handle(*_: object) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        signal.signal(SIGINT, handle)
        await asyncio.sleep(60)

    assert interrupt(main, SIGINT, process=False) == (None, False)


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("in_a_task", [False, True])
def test_a_task_or_callback_that_exits_ends_the_program_and_nobody_else(
    process: bool, in_a_task: bool
) -> None:
    cleared: list[str] = []

    async def leave() -> None:
        sys.exit()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = loop.create_task(leave()) if in_a_task else loop.call_later(1, sys.exit)
        try:
            await asyncio.sleep(60)
        finally:
            del kept
            cleared.append("cleared up")

    assert interrupt(main, process=process) == (None, True)
    assert cleared == ["cleared up"]


def test_a_program_that_exits_twice_clears_up_no_further() -> None:
    cleared: list[str] = []

    async def main() -> None:
        for at in (1, 2):
            asyncio.get_running_loop().call_later(at, sys.exit)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)
            cleared.append("cleared up")

    assert interrupt(main, process=False) == (None, False)
    assert not cleared


def test_the_main_thread_handles_what_another_one_raises() -> None:
    def program() -> object:
        def raise_them() -> None:
            with pytest.raises(ValueError, match="signal only works in main thread"):
                signal.signal(SIGTERM, signal.SIG_IGN)
            for send in (lambda: signal.raise_signal(SIGINT), _thread.interrupt_main):
                time.sleep(1)
                send()
                said.append("went on")

        said: list[object] = []
        other = threading.Thread(target=raise_them)
        other.start()
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                time.sleep(60)
            said.append(time.monotonic())
        other.join()
        return said

    assert interrupt(program)[0] == ["went on", 1.0, "went on", 2.0]


def test_a_lock_that_becomes_free_just_when_its_waiter_is_interrupted_goes_to_the_next() -> None:
    def program() -> object:
        def take() -> None:
            time.sleep(1)
            with lock:
                taken.append(time.monotonic())

        def hold() -> None:
            lock.acquire()
            time.sleep(2)
            signal.raise_signal(SIGINT)
            lock.release()

        taken: list[float] = []
        lock = threading.Lock()
        threads = [threading.Thread(target=each) for each in (hold, take)]
        for each in threads:
            each.start()
        time.sleep(0.5)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
        threads[1].join()
        return taken

    assert interrupt(program)[0] == [2.0]


def test_threads_are_named_and_known_as_if_each_process_had_its_own_interpreter() -> None:
    def program() -> list[str]:
        names = []
        go = threading.Event()
        thread = threading.Thread(target=lambda: go.wait() and names.append(threading.current_thread().name))
        thread.start()
        names += [each.name for each in threading.enumerate()]
        go.set()
        thread.join()
        assert threading.active_count() == 1
        assert not threading.main_thread().daemon
        return [*names, threading.main_thread().name]

    for _ in range(2):
        session = make_session()
        for name in ("one", "other"):
            session.host(name, program, process=True)
        expected = ["MainThread", "Thread-1 (<lambda>)", "Thread-1 (<lambda>)", "MainThread"]
        assert session.run().results == {"one": expected, "other": expected}


@pytest.mark.parametrize("process", [False, True])
def test_executors_of_several_programs_start_threads_at_the_same_time(process: bool) -> None:
    async def main() -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    session = make_session(real_timeout=10)
    for number in range(3):
        session.host(f"p{number}", main, process=process)
    assert len(set(session.run().results.values())) == 1
