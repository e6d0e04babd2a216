"""Threads inside a process: they take turns, and everything that is built on locks works."""

import asyncio
import contextvars
import http.client
import http.server
import os
import queue
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence.errors import AgentError, DeadlockError, SimulationEscapeError
from tests.unit.sim.harness import make_session, threads_left


def run(main: Any, **options: Any) -> Any:
    """Run one program in a process of its own, and return what it returns."""
    session = make_session(**options)
    session.host("p", main, process=True)
    return session.run().results["p"]


def test_threads_sleep_side_by_side_in_virtual_time() -> None:
    def main() -> list[tuple[int, float]]:
        log: list[tuple[int, float]] = []

        def nap(seconds: int) -> None:
            time.sleep(seconds)
            log.append((seconds, time.monotonic()))

        threads = [threading.Thread(target=nap, args=(seconds,)) for seconds in (3, 1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any(thread.is_alive() for thread in threads)
        return log

    assert run(main) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_lock_lets_one_in_at_a_time() -> None:
    def main() -> tuple[int, int]:
        lock, both = threading.Lock(), [0, 0]

        def count(guarded: bool) -> None:
            place = int(guarded)
            for _ in range(3):
                if guarded:
                    lock.acquire()
                value = both[place]
                time.sleep(0.1)
                both[place] = value + 1
                if guarded:
                    lock.release()

        threads = [
            threading.Thread(target=count, args=(guarded,)) for guarded in (True, False) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return both[1], both[0]

    assert run(main) == (9, 3)


def test_locks_keep_to_the_rules() -> None:
    def main() -> list[Any]:
        lock = threading.Lock()
        assert lock.acquire()
        seen: list[Any] = [
            lock.locked(),
            lock.acquire(blocking=False),
            lock.acquire(timeout=2),
            time.monotonic(),
            repr(lock),
        ]
        lock.release()
        for bad in (lock.release, lambda: lock.acquire(False, 1), lambda: lock.acquire(timeout=-2)):
            with pytest.raises((RuntimeError, ValueError)):
                bad()
        again = threading.RLock()
        with again, again, lock:
            seen.append("twice")
        return seen

    assert run(main) == [True, False, False, 2.0, "<StrandLock locked>", "twice"]


def test_locks_and_queues_keep_their_kinds_outside_of_a_process() -> None:
    run(lambda: None)  # by now they are covered
    lock, again, items = threading.Lock(), threading.RLock(), queue.SimpleQueue[int]()
    with lock, again:
        items.put(1)
    assert items.get(timeout=1) == 1
    assert isinstance(items, queue.SimpleQueue)
    if isinstance(threading.Lock, type):
        assert isinstance(lock, threading.Lock)
        assert (threading.Lock | None) is not None
        assert not isinstance(items, threading.Lock)

    class Own(queue.SimpleQueue[int]):
        pass

    assert type(Own()) is Own


def test_a_lock_with_a_timeout_is_had_as_soon_as_it_is_free() -> None:
    def main() -> tuple[bool, float]:
        lock = threading.Lock()

        def hold() -> None:
            with lock:
                time.sleep(1)

        threading.Thread(target=hold).start()
        time.sleep(0.5)
        return lock.acquire(timeout=5), time.monotonic()

    assert run(main) == (True, 1.0)


def test_queues_events_conditions_and_semaphores_work() -> None:
    def main() -> list[Any]:
        seen: list[Any] = []
        items: queue.Queue[int] = queue.Queue(1)
        simple: queue.SimpleQueue[str] = queue.SimpleQueue()
        event, slots = threading.Event(), threading.Semaphore(2)

        def produce() -> None:
            for number in range(3):
                items.put(number)
            with slots:
                simple.put("simple")
            time.sleep(1)
            event.set()

        threading.Thread(target=produce, daemon=True).start()
        seen.extend(items.get(timeout=5) for _ in range(3))
        seen.append(simple.get())
        with pytest.raises(queue.Empty):
            items.get(timeout=0.25)
        seen.extend((event.wait(0.25), event.wait(), time.monotonic()))
        return seen

    assert run(main) == [0, 1, 2, "simple", False, True, 1.0]


def test_executors_and_to_thread_run_their_work_on_threads() -> None:
    def pool() -> tuple[list[int], float]:
        def nap(seconds: int) -> int:
            time.sleep(seconds)
            return seconds

        with ThreadPoolExecutor(2) as executor:
            return list(executor.map(nap, [2, 1, 1])), time.monotonic()

    async def loop() -> float:
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 1) for _ in range(3)))
        return asyncio.get_running_loop().time()

    assert run(pool) == ([2, 1, 1], 2.0)
    assert 1.0 <= run(loop) < 1.001


def test_a_server_with_a_thread_for_each_request_serves_them_side_by_side() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(1)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    def web() -> None:
        http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler).serve_forever()

    def fetch() -> float:
        connection = http.client.HTTPConnection("web")
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        connection.close()
        return time.monotonic()

    session = make_session()
    session.host("web", web, process=True)
    for name in "abc":
        session.host(name, fetch, process=True)
    assert all(1 < at < 1.1 for at in session.run().results.values())


def test_an_order_of_threads_that_breaks_them_is_found_and_replayed() -> None:
    def main() -> list[str]:
        seen: list[str] = []
        begin = threading.Event()

        def note(name: str) -> None:
            begin.wait()
            seen.append(name)

        threads = [threading.Thread(target=note, args=(each,)) for each in "abc"]
        for thread in threads:
            thread.start()
        begin.set()
        for thread in threads:
            thread.join()
        return seen

    orders = {"".join(run(main, seed=seed)) for seed in range(60)}
    assert "abc" in orders
    assert len(orders) >= 3
    assert run(main, seed=5) == run(main, seed=5)


def test_threads_that_wait_for_each_other_are_a_deadlock() -> None:
    def main() -> None:
        one, other = threading.Lock(), threading.Lock()

        def take(first: Any, second: Any) -> None:
            with first:
                time.sleep(1)
                with second:
                    pass

        threads = [
            threading.Thread(target=take, args=locks, daemon=True) for locks in ((one, other), (other, one))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    session = make_session()
    session.host("p", main, process=True)
    with pytest.raises(DeadlockError, match=r"p waits: .*thread\.join\(\)"):
        session.run()


def test_a_join_with_a_timeout_gives_up() -> None:
    def main() -> tuple[bool, float]:
        thread = threading.Thread(target=time.sleep, args=(10,))
        thread.start()
        thread.join(2)
        return thread.is_alive(), time.monotonic()

    assert run(main) == (True, 2.0)


def test_a_crash_stops_all_threads_of_its_process() -> None:
    beats: list[float] = []
    known = set(threading.enumerate())

    def beat() -> None:
        while True:
            time.sleep(1)
            beats.append(time.monotonic())

    def main() -> None:
        threading.Thread(target=beat, daemon=True).start()
        time.sleep(100)

    async def scenario(session: Session) -> None:
        await session.sleep(3.5)
        session.hosts["p"].crash()
        await session.sleep(60)

    session = make_session()
    session.host("p", main, process=True)
    session.run(scenario)
    assert beats == [1.0, 2.0, 3.0]
    assert threads_left(known) == []


def test_a_host_on_the_worlds_own_thread_may_have_worker_threads(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> tuple[list[str], str, float]:
        def work(seconds: float) -> str:
            time.sleep(seconds)
            return socket.gethostname()

        names = await asyncio.gather(*(asyncio.to_thread(work, 1) for _ in range(3)))
        loop, own = asyncio.get_running_loop(), ThreadPoolExecutor(1)
        name = await loop.run_in_executor(own, work, 2)
        own.shutdown(wait=False)
        return names, name, loop.time()

    session = make_session()
    for name in ("a", "b"):
        session.host(name, main)
    results = session.run().results
    assert results == {"a": (["a"] * 3, "a", 3.0), "b": (["b"] * 3, "b", 3.0)}
    assert not caplog.records


def test_a_thread_of_such_a_host_tells_its_loop_by_call_soon_threadsafe() -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        seen: list[str] = []

        def work() -> None:
            time.sleep(1)
            loop.call_soon_threadsafe(seen.append, "told")
            loop.call_soon_threadsafe(told.set)

        threading.Thread(target=work).start()
        await told.wait()
        return [*seen, f"{loop.time():g}"]

    session = make_session()
    session.host("a", main)
    assert session.run().results["a"] == ["told", "1"]


def test_threads_of_such_a_host_wait_for_each_other() -> None:
    async def main() -> float:
        first = threading.Thread(target=time.sleep, args=(3,))
        first.start()
        await asyncio.to_thread(first.join)
        return asyncio.get_running_loop().time()

    session = make_session(real_timeout=10)
    session.host("a", main)
    assert session.run().results["a"] == 3.0


def test_such_a_host_must_not_wait_for_its_threads_itself() -> None:
    async def join() -> None:
        thread = threading.Thread(target=time.sleep, args=(1,))
        thread.start()
        thread.join()

    async def lock() -> None:
        taken = threading.Lock()

        def hold() -> None:
            with taken:
                time.sleep(1)

        threading.Thread(target=hold).start()
        taken.acquire()

    for main, words in ((join, "threading.Thread.join"), (lock, "must not block")):
        session = make_session()
        session.host("a", main)
        with pytest.raises(AgentError, match=words):
            session.run()


def test_threads_of_agents_are_refused_and_told_where_they_would_run() -> None:
    async def main(_: Any) -> None:
        threading.Thread(target=print).start()

    session = make_session(agents={"p": main})
    with pytest.raises(AgentError, match="process=True") as caught:
        session.run()
    assert isinstance(caught.value.__cause__, SimulationEscapeError)


def test_a_context_from_outside_the_run_does_not_hide_whose_threads_they_are() -> None:
    # As that of a test case of the standard library, made with the test case.
    outside = contextvars.copy_context()

    def main() -> list[object]:
        thread = threading.Thread(target=time.sleep, args=(1,))
        outside.run(thread.start)
        thread.join()
        return [
            thread.is_alive(),
            time.monotonic(),
            outside.run(asyncio.run, asyncio.to_thread(sum, [40, 2])),
            outside.run(socket.gethostname),
            outside.run(os.getpid) == os.getpid(),
            outside.run(signal.signal, signal.SIGTERM, signal.SIG_IGN),
        ]

    assert run(main) == [False, 1.0, 42, "p", True, signal.SIG_DFL]
